"""Azure's own exporter, posting to an ingestion endpoint on loopback."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.functions_host import ROOT
from tests.support.otlp import receiving

pytest.importorskip("azure.monitor.opentelemetry.exporter")

KEY = "00000000-0000-0000-0000-0000000000ab"
SERIES = "c" * 64
# In a process of its own: the exporter reads variables, and others must not be left with them.
PROGRAM = """
import os
from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.telemetry import *
from indexer_core.telemetry_settings import read_telemetry

telemetry = telemetry_of(read_telemetry(os.environ), WORKER_ROLE)
trace = trace_id("c" * 64)
sender = sender_of_ready("c" * 64, 1, "d" * 64)
telemetry.tell(Span(name="series", trace=trace, id=span_id("try", 1), parent=sender,
    start_s=1000.0, end_s=1002.5, attributes={"outcome": "failed", "tries": 2}, failed=True))
telemetry.tell(Span(name="commit", trace=trace, parent=span_id("try", 1),
    start_s=1001.0, end_s=1002.0, attributes={"lag_s": 75.5, "outcome": "Planted^Name"}))
telemetry.measure(SERIES_LAG, 75.5)
telemetry.measure(SERIES_LAG, 12.0)
telemetry.measure(REJECTS, 2, {"code": "notDicom"})
telemetry.measure(QUEUE_DEPTH, 7, {"queue": "series-ready"})
telemetry.flush(60)
"""


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Envelopes by the kind of what they hold, and whatever the program wrote to disks."""
    folder = tmp_path_factory.mktemp("insights")
    with receiving() as receiver:
        connection = f"InstrumentationKey={KEY};IngestionEndpoint={receiver.address}/"
        environment = {
            **os.environ,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": connection,
            "TMPDIR": str(folder),
            "HOME": str(folder),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stderr == ""
        envelopes = [one for _, _, body in receiver.bodies for one in json.loads(body)]
        assert {path for path, _, _ in receiver.bodies} == {"/v2.1/track"}
    return {kind: _of(envelopes, kind) for kind in ("RequestData", "RemoteDependencyData")} | {
        "all": envelopes,
        "MetricData": _of(envelopes, "MetricData"),
        "files": [path for path in folder.rglob("*") if path.is_file()],
    }


def _of(envelopes, kind):
    return [one for one in envelopes if one["data"]["baseType"] == kind]


def trace():
    from indexer_core.telemetry import trace_id

    return trace_id(SERIES)


def test_what_a_message_starts_is_a_request_and_its_parts_are_dependencies(sent):
    [series], [commit] = sent["RequestData"], sent["RemoteDependencyData"]
    assert (series["data"]["baseData"]["name"], series["data"]["baseData"]["success"]) == (
        "series",
        False,
    )
    assert series["data"]["baseData"]["duration"] == "0.00:00:02.500"
    assert series["data"]["baseData"]["properties"] == {"outcome": "failed", "tries": "2"}
    assert commit["data"]["baseData"]["name"] == "commit"
    assert commit["data"]["baseData"]["properties"] == {"lag_s": "75.5"}
    assert {one["tags"]["ai.operation.id"] for one in (series, commit)} == {trace()}
    assert commit["tags"]["ai.operation.parentId"] == series["data"]["baseData"]["id"]


def test_metrics_have_names_values_and_properties(sent):
    found = {}
    for envelope in sent["MetricData"]:
        [metric] = envelope["data"]["baseData"]["metrics"]
        found[metric["name"]] = (metric, envelope["data"]["baseData"].get("properties") or {})
    assert set(found) == {
        "dicom_indexer.series.lag",
        "dicom_indexer.rejects",
        "dicom_indexer.queue.depth",
    }
    lag, _ = found["dicom_indexer.series.lag"]
    assert (lag["value"], lag["count"], lag["min"], lag["max"]) == (87.5, 2, 12.0, 75.5)
    rejects, properties = found["dicom_indexer.rejects"]
    assert (rejects["value"], properties["code"]) == (2, "notDicom")
    depth, properties = found["dicom_indexer.queue.depth"]
    assert (depth["value"], properties["queue"]) == (7, "series-ready")


def test_the_role_is_that_of_the_program(sent):
    assert {one["tags"]["ai.cloud.role"] for one in sent["all"]} == {"dicom-indexer-worker"}
    assert {one["iKey"] for one in sent["all"]} == {KEY}


def test_the_exporter_tells_its_makers_nothing_and_keeps_nothing_on_disks(sent):
    kinds = {one["data"]["baseType"] for one in sent["all"]}
    assert kinds == {"RequestData", "RemoteDependencyData", "MetricData"}
    assert sent["files"] == []
    assert "Planted" not in json.dumps(sent["all"])
