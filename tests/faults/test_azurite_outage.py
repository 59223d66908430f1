"""The whole pipeline over a real Azurite in trouble: whatever fails, the index comes out the same.

Looks, checks, the worker and its commits run in this process, every request of theirs through a
proxy that spoils some. What they leave is compared with what an undisturbed run leaves.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from function_app.handlers import sweep
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.announcements import AnnouncementType
from indexer_core.errors import IndexerError
from indexer_core.events import look_message
from tests.support.azure_pipeline import (
    INBOX,
    VISIBILITY_S,
    AzurePipeline,
    empty,
    key_of,
    written_rows,
)
from tests.support.azurite import Fault, FaultyAccount, missing, running_azurite
from tests.support.dicom import dicom_object

pytestmark = [pytest.mark.azurite, pytest.mark.timeout(300)]

MR = "pydicom__pydicom/src/pydicom/data/test_files/dicomdirtests/98892003/MR700"
N_SLICES = 3
MAX_TRIES = 5
"""What the Functions host allows a message, by our host.json."""


@dataclass(frozen=True)
class Site:
    """A place in the pipeline, told by one of its requests."""

    service: str
    method: str
    path: str
    nth: int = 1

    def spoilt(self, **how: Any) -> Fault:
        return Fault(self.method, self.path, nth=self.nth, **how)

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path.strip('/')} {self.nth}"


WRITES = (
    # A look: claim, slice, open series, check, marker, blobs row; then the message.
    Site("table", "POST", "/indexerblobs"),
    Site("table", "POST", "/indexerinstances", 2),
    Site("table", "POST", "/indexeropenseries", 2),
    Site("queue", "POST", "/series-check/messages", 2),
    Site("table", "POST", "/indexerinstances", 6),
    Site("table", "PATCH", "/indexerblobs", 4),
    Site("table", "POST", "/indexerrejects"),
    Site("queue", "DELETE", "/blob-events/messages", 3),
    # A check: idle, list, marker, hand-over, marker, open series; then the message.
    Site("queue", "GET", "/series-check/messages"),
    Site("table", "PATCH", "/indexerinstances"),
    Site("blob", "PUT", "/assembly/"),
    Site("table", "PATCH", "/indexerinstances", 4),
    Site("queue", "POST", "/series-ready/messages"),
    Site("table", "PATCH", "/indexerinstances", 7),
    Site("table", "DELETE", "/indexeropenseries"),
    Site("queue", "DELETE", "/series-check/messages"),
    # The worker: files of a segment, manifest; then the message.
    Site("queue", "GET", "/series-ready/messages"),
    Site("blob", "PUT", "/text-cache/"),
    Site("blob", "PUT", ".rows.arrow"),
    Site("blob", "PUT", ".text.faiss", 2),
    Site("blob", "PUT", ".image.faiss", 2),
    Site("blob", "PUT", ".points.npy", 2),
    Site("blob", "PUT", "/manifests/"),
    Site("blob", "PUT", "/manifests/", 3),
    Site("queue", "DELETE", "/series-ready/messages"),
    # The look at a blob that has gone.
    Site("table", "DELETE", "/indexerinstances"),
)

BUSY = {"Retry-After": "1"}
KINDS: dict[str, dict[str, Any]] = {
    "lost answer": {"lose_answer": True},
    "cut answer": {"cut_body": True},
    "silence": {"hang": True},
    "500": {"status": 500, "code": "InternalError"},
    "500 although it took place": {"status": 500, "code": "InternalError", "takes_place": True},
    "429": {"status": 429, "code": "TooManyRequests", "headers": BUSY},
    "409": {"status": 409, "code": "ContainerBeingDeleted"},
    "409 of one's own write": {"status": 409, "takes_place": True},
    "412": {"status": 412, "code": "ConditionNotMet"},
    "412 of one's own write": {"status": 412, "code": "ConditionNotMet", "takes_place": True},
}


OUTAGES: dict[str, tuple[tuple[str, Site], ...]] = {
    "looks and checks": (
        ("after", Site("table", "POST", "/indexerinstances", 2)),
        ("after", Site("blob", "PUT", "/assembly/")),
        ("after", Site("queue", "POST", "/series-ready/messages")),
    ),
    "worker": (
        ("before", Site("blob", "GET", f"/{INBOX}/", 9)),
        ("after", Site("blob", "PUT", ".text.faiss", 2)),
    ),
    "commit": (
        ("before", Site("blob", "PUT", "/manifests/")),
        ("after", Site("blob", "PUT", "/manifests/", 3)),
        ("after", Site("queue", "DELETE", "/series-ready/messages")),
    ),
}
"""Where Azurite is killed, before or after a request takes place; several times in a run."""


TURNS = (0, 5)


def mixed(turn: int) -> list[tuple[Site, str]]:
    """A kind of trouble for every place; each turn another one."""
    kinds = list(KINDS)
    # By sevens: 7 and 10 have no common divisor, and neighbours get kinds that are unlike.
    return [(site, kinds[(7 * place + turn) % len(kinds)]) for place, site in enumerate(WRITES)]


TROUBLE = {"lost answers": [(site, "lost answer") for site in WRITES]} | {
    f"mixture {turn}": mixed(turn)
    for turn in (range(len(KINDS)) if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else TURNS)
}


class House:
    """An account behind proxies, what users do in it, and what came of that."""

    def __init__(self, azurite, account, samples):
        self.azurite = azurite
        self.account = account
        # Users are spared the trouble.
        self.storage = AzureStorage(azurite.connection_string)
        slices = sorted((samples / MR).iterdir())[:N_SLICES]
        self.slices = [path.read_bytes() for path in slices]
        self.pipeline: AzurePipeline | None = None
        self.n_outages = 0

    def close(self):
        self.end()
        self.storage.close()

    def end(self):
        if self.pipeline is not None:
            self.pipeline.close()
            self.pipeline = None

    def begin(self, read_timeout_s=60.0):
        """Users' first uploads; nothing has been looked at."""
        self.end()
        self.account.forget()
        self.n_outages = 0
        empty(self.storage)
        AzurePipeline(self.azurite.connection_string).create().close()
        self.pipeline = AzurePipeline(self.account.connection_string, read_timeout_s=read_timeout_s)
        for number, data in enumerate(self.slices):
            self.put(f"mr/{number}.dcm", data)
        self.put("ct.dcm", dicom_object(series="ct"))
        self.put("sr.dcm", dicom_object(series="sr", pixels=False))
        self.put("brief.dcm", dicom_object(series="brief", pixels=False))
        self.put("notes.txt", b"not an image")
        _ = self.pipeline.indexer

    def put(self, name, data):
        self.storage.container(INBOX).upload_blob(name, data, overwrite=True)
        self.tell(name)

    def tell(self, name):
        body = look_message(self.pipeline.source.url_of(name))
        self.storage.queue("blob-events").send_message(body, time_to_live=-1)

    def change(self):
        """One is overwritten, one moves to another series, one is deleted."""
        self.put("ct.dcm", dicom_object(series="ct", value=7))
        self.put("mr/0.dcm", dicom_object(series="moved"))
        self.storage.container(INBOX).delete_blob("brief.dcm")
        self.tell("brief.dcm")

    def run(self):
        self.settle()
        self.change()
        self.settle()

    def settle(self):
        """Let functions and worker work, and time pass, until nothing is left to do."""
        for _ in range(200):
            if self.azurite.is_down:
                self.sit_through_outage()
            if self.step():
                continue
            if self.is_idle():
                return
            # What a failed step had in hand comes back, and the timer of the sweep goes off.
            self.azurite.advance(VISIBILITY_S + 1.0)
            self.attempt(lambda: sweep(self.pipeline.services, older_than_s=0.0))
        raise AssertionError(f"it never settles: {self.pipeline.lengths}")

    def sit_through_outage(self):
        """Nothing can be done, and nobody falls over."""
        self.n_outages += 1
        for part in self.parts:
            assert isinstance(self.attempt(part), IndexerError)
        self.azurite.start()

    @property
    def parts(self) -> tuple[Callable[[], object], ...]:
        return (self.pipeline.ingest_all, self.pipeline.check_all, self.pipeline.work)

    def step(self) -> bool:
        """Whether there was anything to do, done or not."""
        done = [self.attempt(part) for part in self.parts]
        return any(outcome not in (False, None) for outcome in done)

    def attempt(self, call):
        try:
            return call()
        except IndexerError as error:
            return error

    def is_idle(self):
        return self.attempt(lambda: self.pipeline.is_idle) is True

    def left(self) -> Mapping[str, object]:
        """All that is left in the account, but for what a repetition may change."""
        stores = self.pipeline.stores
        live = {
            key: (row.digest, row.recipe, row.blobs, {**row.record, "revision": 0}, row.facts)
            for key, row in self.pipeline.live().items()
        }
        instances = {
            (row.partition, row.values["url"]): (row.values["content"], row.values["facts"])
            for row in stores.instances.scan()
            if "url" in row.values
        }
        blobs = {
            row.values["url"]: tuple(row.values[k] for k in ("state", "series", "content"))
            for row in stores.blobs.scan()
        }
        rejects = [(row.values["code"], row.values["url"]) for row in stores.rejects.all()]
        return {"live": live, "instances": instances, "blobs": blobs, "rejects": rejects}

    def check(self, undisturbed: Mapping[str, object]):
        assert self.left() == undisturbed
        assert set(self.pipeline.lengths.values()) == {0}
        assert self.pipeline.most_tries <= MAX_TRIES
        assert list(self.pipeline.services.assembly.open_keys()) == []
        assert self.pipeline.problems() == []
        written = written_rows(self.pipeline)
        assert set(written.values()) == {1}, "a revision was written twice"
        told = {
            (one.data["seriesKey"], one.data["revision"])
            for one in self.pipeline.announcer.all
            if one.type in (AnnouncementType.SERIES_INDEXED, AnnouncementType.SERIES_REMOVED)
        }
        assert told == set(written)


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def house(azurite, samples):
    # One for all tests: a digest is made of URLs, too, and these name the proxy.
    account = FaultyAccount(azurite)
    house = House(azurite, account, samples)
    yield house
    house.close()
    account.close()


@pytest.fixture(scope="module")
def undisturbed(house):
    house.begin()
    house.run()
    left = house.left()
    house.check(left)
    assert len(left["live"]) == 4
    assert key_of("brief") not in left["live"]
    assert [code for code, _ in left["rejects"]] == ["notDicom"]
    return left


def test_every_kind_of_trouble_comes_to_every_service():
    for turns in (TURNS, range(len(KINDS))):
        met = {(kind, site.service) for turn in turns for site, kind in mixed(turn)}
        assert met == {(kind, site.service) for kind in KINDS for site in WRITES}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_whatever_is_answered_to_a_write_of_any_service_the_index_is_the_same(
    house, undisturbed, trouble
):
    house.begin(read_timeout_s=60.0 if trouble == "lost answers" else 2.0)
    for site, kind in TROUBLE[trouble]:
        house.account.add(site.service, site.spoilt(**KINDS[kind]))
    house.run()
    assert house.account.waiting == []
    house.check(undisturbed)


@pytest.mark.parametrize("during", OUTAGES)
def test_azurite_is_killed_in_the_middle_of_any_stage_and_the_work_resumes_by_itself(
    house, undisturbed, during
):
    house.begin()
    for moment, site in OUTAGES[during]:
        kill = {moment: house.azurite.kill, "lose_answer": True}
        house.account.add(site.service, site.spoilt(**kill))
    house.run()
    assert house.account.waiting == []
    assert house.n_outages == len(OUTAGES[during])
    house.check(undisturbed)


def test_ranges_that_arrive_cut_off_are_asked_for_again(house, undisturbed):
    house.begin()
    # Every other answer that holds bytes of a user's file: of headers, and then of pixels.
    cut = Fault("GET", f"/{INBOX}/", cut_body=True)
    for nth in range(1, 16, 2):
        house.account.add("blob", replace(cut, nth=nth))
    house.run()
    assert house.account.waiting == []
    house.check(undisturbed)
