"""Purging: whatever happens on the way, in the end no store holds a trace; all else is there."""

from functools import cache

import pytest

from function_app.handlers import ingest
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.cohorts.store import Cohorts
from indexer_core.errors import IndexerError
from indexer_core.events import look_message
from indexer_core.index.commit import Manifests
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.verify import verify
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady
from indexer_core.purge import PurgePolicy
from indexer_core.purge_receipts import Purges, State, receipt_hash
from indexer_core.purge_targets import series_of_patient, series_with_uid
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WriteFault
from indexer_core.thumbnails import thumbnail_prefix
from indexer_core.uids import patient_key
from tests.support.clinic import KEPT, PLANTED, WORD, Clinic, planted
from tests.support.dicom import uid
from tests.support.house import PREFIX
from tests.support.pipeline import HashTextEncoder

ONE = frozenset({PLANTED})
IDENTIFIERS = (
    WORD,
    uid("study", "planted"),
    *(uid(("study", "planted", number)) for number in (1, 2, 3)),
    f"{PREFIX}p/1.dcm",
    f"{PREFIX}p/2.dcm",
    "p/1.dcm",
)
GRACE = PurgePolicy(grace_s=3600.0, clock_margin_s=60.0)


@cache
def prepared() -> Clinic:
    return planted()


@pytest.fixture
def clinic() -> Clinic:
    return prepared().copy()


def texts_of(clinic: Clinic) -> list[str]:
    """Texts of the planted series that no other has."""
    manifests = Manifests(clinic.index)
    found: set[str] = set()
    for manifest in manifests.history():
        for segment, index in open_at(clinic.index, FlatFp16Vectors(), manifest.number).rows():
            record = segment.loaded.rows.texts.record(index)
            if record["seriesInstanceUid"] == uid("study", "planted"):
                found.update(text for text in record["texts"] if WORD in text)
    return sorted(found)


def vectors_of(texts: list[str]) -> list[str]:
    """How their vectors are stored, in the cache and in segments."""
    vectors = HashTextEncoder().encode(texts)
    return [
        vector.astype(kind).tobytes().decode("latin-1")
        for vector in vectors
        for kind in ("<f4", "<f2")
    ]


def test_a_saved_cohort_lacks_the_series_and_says_so(clinic):
    cohorts = Cohorts(clinic.index, clinic.clock, clinic.ids)
    before = cohorts.load("paper")
    assert {member.series_key for member in before.members} == {KEPT, PLANTED}
    clinic.system().purger.request(ONE, "series")
    (receipt,) = clinic.system().purger.carry_on()
    after = cohorts.load("paper")
    assert receipt.erased["cohorts"] == 1
    assert [member.series_key for member in after.members] == [KEPT]
    assert (after.n_erased, after.digest, after.is_as_saved) == (1, before.digest, False)
    assert after.question.text == "erased, and others"
    either = (("seriesInstanceUid=erased",), ("seriesInstanceUid!=erased",))
    assert after.question.alternatives == either
    assert [step.n_left for step in after.attrition] == [2, 2]


def searchable(clinic: Clinic) -> dict[str, tuple]:
    reader = Reader(clinic.index, FlatFp16Vectors())
    reader.refresh()
    found = {}
    for segment, index in reader.snapshot.rows():
        key = segment.loaded.orders[index][0]
        found[key] = (reader.row(reader.winner(key)).record, segment.loaded.orders[index][1])
    return found


def assert_purged(clinic: Clinic) -> None:
    assert clinic.traces(*IDENTIFIERS) == []
    assert set(searchable(clinic)) == {KEPT}
    assert not list(clinic.index.list(thumbnail_prefix(PLANTED)))
    assert list(clinic.index.list(thumbnail_prefix(KEPT)))
    seen = verify(clinic.index, FlatFp16Vectors())
    assert (seen.problems, seen.orphans) == ([], [])
    receipts = list(Purges(clinic.index).all())
    assert {receipt.state for receipt in receipts} == {State.DONE}


def test_no_store_holds_a_trace_of_a_purged_series(clinic):
    needles = vectors_of(texts_of(clinic))
    for needle in (*IDENTIFIERS, *needles):
        assert clinic.traces(needle), "it was never there"
    before = searchable(clinic)
    clinic.system().purger.request(ONE, "series")
    (receipt,) = clinic.system().purger.carry_on()
    assert_purged(clinic)
    assert clinic.traces(*needles) == []
    assert searchable(clinic) == {KEPT: before[KEPT]}
    assert receipt.state is State.DONE
    # What is of others is still there.
    (poison,) = clinic.queues["poison"].receive(32, 60)
    assert "k/1.dcm" in poison.body
    assert [row.key for row in clinic.tables["reject_rows"].scan() if "k/1.dcm" in str(row.values)]
    cursors = {row.key: row.values["cursor"] for row in clinic.tables["jobs"].scan()}
    assert cursors == {"backfill-1": "", "backfill-2": f"{PREFIX}k/1.dcm"}
    urls = {row.values["url"] for row in clinic.tables["blobs"].scan()}
    assert urls == {f"{PREFIX}k/1.dcm", f"{PREFIX}moved.dcm"}


def test_pinned_manifest_shows_what_it_showed_without_the_series(clinic):
    manifests = Manifests(clinic.index)
    (number,) = manifests.newest().pins
    clinic.system().purger.request(ONE, "series")
    clinic.system().purger.carry_on()
    snapshot = open_at(clinic.index, FlatFp16Vectors(), number)
    keys = {segment.loaded.orders[index][0] for segment, index in snapshot.rows()}
    assert keys == {KEPT}
    assert manifests.at(number).lineage.details["purged"]


def test_receipt_names_every_store_and_no_identifier(clinic):
    clinic.system().purger.request(ONE, "series")
    (receipt,) = clinic.system().purger.carry_on()
    assert receipt.series == (receipt_hash(PLANTED),)
    assert {name for name, count in receipt.erased.items() if count} == {
        "messages of blob-events",
        "messages of series-ready",
        "messages of poison",
        "rejects",
        "places of interrupted jobs",
        "files of cached text vectors",
        "thumbnails",
        "cohorts",
        "blob rows",
        "instance rows",
        "instance lists",
        "index rows",
        "manifests expired",
        "pinned manifests rewritten",
        "segment files",
    }
    assert receipt.erased["messages of series-check"] == 0
    assert (receipt.n_files, receipt.n_interrupted, receipt.remaining) == (3, 0, ())
    (stored,) = [text for text in clinic.contents() if text.startswith("purges/")]
    assert PLANTED not in stored


def test_purging_again_finds_nothing_and_says_so(clinic):
    for _ in range(2):
        clinic.system().purger.request(ONE, "series")
        (receipt,) = clinic.system().purger.carry_on()
        clinic.clock.advance(1)
    assert not any(receipt.erased.values())
    assert clinic.system().purger.carry_on() == []
    assert_purged(clinic)


@pytest.mark.parametrize("fault", [WriteFault.CRASH_AFTER, WriteFault.LOST_RESPONSE])
def test_killed_at_any_write_the_next_run_ends_the_work(fault):
    at = 0
    while True:
        at += 1
        clinic = prepared().copy()
        plan = FaultPlan(at, fault)
        purger = clinic.system(plan).purger
        try:
            purger.request(ONE, "series")
            purger.carry_on()
        except (SimulatedCrash, IndexerError):
            pass
        if not plan.has_struck:
            break
        clinic.clock.advance(601)  # what was in hand comes back
        again = clinic.system().purger
        if not again.carry_on() and at == 1:
            again.request(ONE, "series")  # not even the wish was written down
            again.carry_on()
        assert_purged(clinic)
    assert at > 50


def test_nothing_is_erased_before_the_grace_is_over_and_all_is_hidden_at_once(clinic):
    purger = clinic.system(policy=GRACE).purger
    waiting = purger.request(ONE, "series")
    assert waiting.state is State.HIDDEN
    assert waiting.due_s == clinic.clock.now_s() + GRACE.grace_s
    clinic.clock.advance(GRACE.grace_s - 1)
    assert purger.carry_on() == [waiting]
    assert clinic.traces(WORD)
    for manifest in Manifests(clinic.index).history():
        snapshot = open_at(clinic.index, FlatFp16Vectors(), manifest.number)
        assert PLANTED not in {s.loaded.orders[i][0] for s, i in snapshot.rows()}
    clinic.clock.advance(1)
    (done,) = purger.carry_on()
    assert done.state is State.DONE
    assert_purged(clinic)


def test_series_restored_within_the_grace_is_not_erased(clinic):
    system = clinic.system(policy=GRACE)
    system.purger.request(ONE, "series")
    before = searchable(clinic)
    system.indexer.restore(ONE)
    assert system.services.assembly.reopen(PLANTED)
    clinic.clock.advance(GRACE.grace_s)
    (done,) = system.purger.carry_on()
    assert (done.n_restored, dict(done.erased)) == (1, {})
    clinic.settle()
    assert set(searchable(clinic)) == {KEPT, PLANTED}
    assert before.keys() == {KEPT}


def test_files_that_are_still_there_leave_nothing_when_they_are_looked_at(clinic):
    clinic.system().purger.request(ONE, "series")
    clinic.system().purger.carry_on()
    for name in ("p/1.dcm", "p/2.dcm"):
        clinic.put(name, series="planted", instance=1, value=9, SeriesDescription=WORD)
    clinic.settle()
    assert_purged(clinic)


def test_restored_series_is_indexed_from_its_files_and_outranks_what_was_purged(clinic):
    before = clinic.tables["instances"].get(PLANTED, "_series").values["revision"]
    clinic.system().purger.request(ONE, "series")
    clinic.system().purger.carry_on()
    system = clinic.system()
    system.indexer.restore(ONE)
    assert system.services.assembly.reopen(PLANTED)
    clinic.settle()
    clinic.queues["blob_events"].send(look_message(f"{PREFIX}p/1.dcm"))
    clinic.settle()
    record, order = searchable(clinic)[PLANTED]
    assert WORD in str(record)
    assert order[0] > before


def test_writer_that_began_before_does_not_bring_it_back(clinic):
    """A worker reads and describes a series, then sleeps through the purge."""
    sleeping = clinic.system()
    ready = SeriesReady(series=PLANTED, revision=9, digest="9" * 64)
    (listed,) = [e.name for e in clinic.index.list(f"assembly/{PLANTED}/")][-1:]
    digest = listed.rpartition("/")[2].removesuffix(".json")
    assembled = sleeping.services.assembly.load(
        SeriesReady(series=PLANTED, revision=1, digest=digest)
    )
    assert isinstance(assembled, AssembledSeries)
    entry = sleeping.indexer.entry(ready, assembled, {})
    clinic.system().purger.request(ONE, "series")
    clinic.system().purger.carry_on()
    clinic.clock.advance(1)
    sleeping.indexer.write([entry], "index")
    assert_purged(clinic)


def test_series_is_found_by_uid_by_key_and_by_patient(clinic):
    stores = clinic.system().stores
    assert series_with_uid(stores, uid("study", "planted")) == ONE
    assert series_with_uid(stores, PLANTED) == ONE
    assert series_with_uid(stores, "1.2.3") == frozenset()
    theirs, other = (
        patient_key(b"secret", "", name) for name in ("planted-patient-id-4711", "somebody-else")
    )
    # A file of the first patient was moved into the second one's series.
    assert series_of_patient(stores, theirs) == {PLANTED, KEPT}
    assert series_of_patient(stores, other) == {KEPT}
    assert series_of_patient(stores, theirs, "inbox") == {PLANTED, KEPT}
    assert series_of_patient(stores, theirs, "elsewhere") == frozenset()


def test_series_that_is_not_indexed_yet_is_found_and_purged():
    clinic = Clinic()
    clinic.put("k/1.dcm", series="kept", SeriesDescription="Chest")
    clinic.settle()
    clinic.put("p/1.dcm", series="planted", SeriesDescription=WORD)
    system = clinic.system()
    for message in clinic.queues["blob_events"].receive(9, 60):
        ingest(message.body, system.services)
        clinic.queues["blob_events"].delete(message)
    assert series_with_uid(system.stores, uid("study", "planted")) == ONE
    system.purger.request(ONE, "series")
    system.purger.carry_on()
    clinic.settle()
    assert_purged(clinic)
