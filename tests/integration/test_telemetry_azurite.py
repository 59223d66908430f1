"""What a receiver gets of a run over Azurite, by the real Functions runtime and worker process."""

import base64
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from gpu_worker.__main__ import JsonLines
from gpu_worker.loop import work_once
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.stores import create_stores
from indexer_core.adapters.system import SystemClock
from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.sources import Sources
from indexer_core.telemetry import FUNCTIONS_ROLE, METRICS, SPANS, WORKER_ROLE, trace_id
from indexer_core.telemetry_settings import TelemetrySettings
from indexer_core.telling import Telling
from tests.support import azurite as azurites
from tests.support.command_line import exported_encoder
from tests.support.dicom import dicom_object, uid
from tests.support.functions_host import ROOT, FunctionsHost, missing
from tests.support.functions_house import SCOPE, House, key_of
from tests.support.otlp import receiving, tree

pytestmark = [
    pytest.mark.azurite,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(azurites.missing() is not None, reason=str(azurites.missing())),
]

PRICE = 3.6  # a tenth of a cent per second
N_SLICES = 40
WAITED_S = 90
# Of file names, of headers, and of the account: none of it may be in anything that is sent.
PLANTED = ("Planted", "Gundula", "4711", "Abdomen", "devstoreaccount", SCOPE, "127.0.0.1:1")
HEAD, REPORT, OTHERS = "head", "report", ("second", "third")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pytestconfig):
    """Everything that happens, and the receiver that was told of it."""
    folder = tmp_path_factory.mktemp("telemetry")
    with azurites.running_azurite(folder / "azurite") as azurite, receiving() as receiver:
        storage = AzureStorage(azurite.connection_string)
        create_stores(storage)
        account = azurite.connection_string
        settings = {
            "IndexerStorage": account,
            "INDEXER_SOURCES": json.dumps(
                [{"scope": SCOPE, "account": account, "container": "dicom"}]
            ),
            "INDEXER_PATIENT_KEY": base64.b64encode(b"0123456789abcdef").decode(),
            "INDEXER_QUIET_S": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address,
        }
        host = FunctionsHost(ROOT, settings, folder / "log")
        try:
            house = House(azurite, storage, host, settings, exported_encoder(pytestconfig))
            run = Run(house, receiver, settings)
            run.happen()
            yield run
            house.close()
        finally:
            host.close()
            storage.close()


class Run:
    def __init__(self, house, receiver, settings):
        self.house, self.receiver, self.settings = house, receiver, settings
        self.keys, self.lines = {}, []

    def happen(self):
        house, host = self.house, self.house.host
        events = [
            self.put(f"{HEAD}/Planted^Name {n}.dcm", dicom_object(series=HEAD, instance=n))
            for n in range(N_SLICES)
        ]
        events += [self.put(f"{name}.dcm", dicom_object(series=name)) for name in OTHERS]
        events.append(self.put("report.dcm", dicom_object(series=REPORT, pixels=False)))
        events.append(house.event("Planted^nothing.dcm", "BlobCreated", "PutBlob"))
        house.container.get_blob_client("Planted^text.dcm").upload_blob(b"no DICOM at all")
        events.append(house.event("Planted^text.dcm", "BlobCreated", "PutBlob"))
        # Twice, half of them late: when their series have been handed on.
        house.deliver([*events, *events[::2], "Planted^Name is no event"])
        host.run_until_idle(house.azurite.advance)
        self.fail_once()
        assert host.tick("sweep").ok  # the worker's queue is not empty yet
        house.azurite.advance(60)
        self.work()
        again = f"{HEAD}/Planted^Name 0.dcm"
        written_again = self.put(again, dicom_object(series=HEAD, instance=0))
        house.deliver([*events[1::2], written_again])
        host.run_until_idle(house.azurite.advance)
        self.work()
        assert host.tick("sweep").ok

    def put(self, name, data):
        self.keys[name.partition("/")[0].removesuffix(".dcm")] = key_of(data)
        event = self.house.put(name, data)
        event["eventTime"] = (datetime.now(UTC) - timedelta(seconds=WAITED_S)).isoformat()
        return event

    def fail_once(self):
        """A try of every series that comes to nothing: the worker may read none of the files."""
        telemetry = telemetry_of(
            TelemetrySettings(otlp_endpoint=self.receiver.address), WORKER_ROLE
        )
        telling = Telling(clock=SystemClock(), telemetry=telemetry)
        handler = logging.StreamHandler(self)
        handler.setFormatter(JsonLines())
        logging.getLogger("gpu_worker").addHandler(handler)
        failed = work_once(replace(self.house.worker, telling=telling, sources=Sources([])))
        logging.getLogger("gpu_worker").removeHandler(handler)
        assert set(failed.outcomes.values()) == {"failed"}
        telemetry.flush(30)
        telemetry.close()

    def write(self, text):
        self.lines += [json.loads(line) for line in text.splitlines() if line]

    def work(self):
        """The worker as a process of its own, until there is nothing to do."""
        environment = {**os.environ, **self.settings, "INDEXER_HOURLY_PRICE": str(PRICE)}
        done = subprocess.run(
            [sys.executable, "-m", "gpu_worker", "--until-idle"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.lines += [json.loads(line) for line in done.stderr.splitlines()]

    def of(self, series):
        return self.receiver.traces()[trace_id(self.keys[series])]

    def above(self, span):
        """A span, its parent and so on, up to where its trace begins."""
        by_id = {one.id: one for one in self.receiver.traces()[span.trace]}
        chain = [span]
        while chain[-1].parent:
            chain.append(by_id[chain[-1].parent])
        return chain


def test_a_series_is_one_trace_from_the_blob_event_to_the_commit(run):
    names = [span.name for span in run.of(HEAD)]
    assert set(names) == set(SPANS)
    assert set(run.receiver.traces()) == {trace_id(key) for key in run.keys.values()}
    for series in OTHERS:
        assert {"blob event", "read header", "series check", "series", "commit"} <= {
            span.name for span in run.of(series)
        }


def test_parents_are_those_that_sent_the_message(run):
    """The chain from the commit upwards: the try, the check, the earlier ones, the first slice."""
    [commit] = [span for span in run.of(HEAD) if span.name == "commit"]
    chain = run.above(commit)
    names = [span.name for span in chain]
    assert names[:3] == ["commit", "series", "series check"]
    assert names[-1] == "blob event"
    assert set(names[2:-1]) == {"series check"}
    assert {span.name for span in run.of(HEAD) if span.parent == chain[1].id} == {
        "load",
        "embed",
        "classify",
        "commit",
    }
    assert chain[2].attributes["outcome"] == "closed"
    assert [span.role for span in chain[:3]] == [WORKER_ROLE, WORKER_ROLE, FUNCTIONS_ROLE]
    for child, parent in pairwise(chain):
        assert parent.start_s <= child.start_s + 1e-3


def test_a_try_that_failed_and_the_one_that_did_not_are_beside_each_other(run):
    tries = sorted(
        (span for span in run.of(HEAD) if span.name == "series"), key=lambda span: span.start_s
    )
    assert [span.attributes["outcome"] for span in tries] == ["failed", "indexed"]
    assert [span.attributes["tries"] for span in tries] == [1, 2]
    assert [span.failed for span in tries] == [True, False]
    assert tries[0].parent == tries[1].parent
    [load] = [s for s in run.of(HEAD) if s.name == "load" and s.parent == tries[0].id]
    assert (load.failed, load.attributes["error"]) == (True, "notFound")


def test_slices_do_not_make_spans_of_their_own(run):
    """Forty slices, each told of twice; looks that find a check on its way are counted only."""
    assert 1 <= sum(span.name == "blob event" for span in run.of(HEAD)) <= 4
    assert run.receiver.total(FUNCTIONS_ROLE, "dicom_indexer.looks", "changed") >= N_SLICES
    assert run.receiver.total(FUNCTIONS_ROLE, "dicom_indexer.looks", "stale") > 0


def test_what_comes_later_is_part_of_the_same_trace(run):
    """The same bytes, written again: looked at, checked, and found to be what is indexed."""
    later = [span for span in run.of(HEAD) if span.attributes.get("outcome") == "unchanged"]
    [check] = [span for span in later if span.name == "series check"]
    [commit] = [span for span in run.of(HEAD) if span.name == "commit"]
    event, first = run.above(check)[-1], run.above(commit)[-1]
    assert (event.name, event.parent) == ("blob event", "")
    assert event.id != first.id
    assert commit.end_s < event.end_s


def test_a_series_without_pixels_is_committed_by_its_check(run):
    spans = run.of(REPORT)
    [commit] = [span for span in spans if span.name == "commit"]
    [check] = [span for span in spans if span.id == commit.parent]
    assert (check.name, check.role) == ("series check", FUNCTIONS_ROLE)


def test_measurements_are_plausible(run):
    total = run.receiver.total
    assert total(FUNCTIONS_ROLE, "dicom_indexer.rejects", "notDicom") >= 1
    assert total(FUNCTIONS_ROLE, "dicom_indexer.rejects", "message") == 1
    assert total(WORKER_ROLE, "dicom_indexer.series.indexed", "failed") == 3
    assert total(WORKER_ROLE, "dicom_indexer.series.indexed", "indexed") == 3
    assert total(FUNCTIONS_ROLE, "dicom_indexer.series.indexed", "indexed") == 1
    busy_s = [
        point.as_double
        for point in run.receiver.points()[
            WORKER_ROLE, "dicom_indexer.worker.seconds", "cpu"
        ].values()
    ]
    # The worker of the failed try was told no price.
    cost = total(WORKER_ROLE, "dicom_indexer.worker.cost")
    assert 0 < cost < sum(busy_s) * PRICE / 3600 + 1e-9
    points = run.receiver.points()
    for role, n_series in ((WORKER_ROLE, 3), (FUNCTIONS_ROLE, 1)):
        found = points[role, "dicom_indexer.series.lag"].values()
        assert sum(point.count for point in found) == n_series
        assert all(point.min >= WAITED_S for point in found)
        assert all(point.max < WAITED_S + 600 for point in found)
    names = {name for _, name, *_ in points}
    assert names == set(METRICS) - {"dicom_indexer.poison"}


def test_queues_are_measured_while_they_wait(run):
    depths = {
        told[0]
        for role, name, *told in run.receiver.points()
        if (role, name) == (FUNCTIONS_ROLE, "dicom_indexer.queue.depth")
    }
    assert depths == {
        "blob-events",
        "blob-events-poison",
        "series-check",
        "series-check-poison",
        "series-ready",
        "series-ready-poison",
    }


def test_nothing_of_a_patient_a_file_or_an_account_is_sent(run):
    uids = [uid("study"), uid("study", HEAD), uid("study", REPORT), *run.keys.values()]
    assert len(run.receiver.bodies) > 3
    for path, headers, body in run.receiver.bodies:
        for text in (*PLANTED, *uids, ".dcm", "http://"):
            assert text.encode() not in body, (path, text)
            # Of the receiver's own address, the host name is all that may be told.
            assert text == "127.0.0.1:1" or text not in headers, (path, text)


def test_lines_of_the_log_lead_to_the_trace(run):
    about = [line for line in run.lines if "another try" in line["message"]]
    assert {line["traceId"] for line in about} == {
        trace_id(run.keys[series]) for series in (HEAD, *OTHERS)
    }
    spans = {span.id: span for span in run.receiver.spans()}
    for line in about:
        assert spans[line["spanId"]].name == "series"
        assert spans[line["spanId"]].trace == line["traceId"]
    assert not any(text in json.dumps(run.lines) for text in PLANTED)


def test_a_trace_is_a_tree_of_what_followed_from_what(run):
    """As docs/azure.md shows it."""
    lines = [f"{'  ' * depth}{span.name}" for depth, span in tree(run.of(REPORT))]
    assert lines[:2] == ["blob event", "  read header"]
    assert lines[-1].strip() == "commit"
    assert len(lines[-1]) - len("commit") == 2 * (len(lines) - 2)
