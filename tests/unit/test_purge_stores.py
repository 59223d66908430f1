"""What a purge takes out of queues, tables and caches, and what it leaves there."""

import base64
import json

import pytest

from indexer_core.assembly import MARKER
from indexer_core.events import look_message
from indexer_core.messages import SeriesCheck, SeriesReady, dump_check, dump_ready
from indexer_core.purge import Subject
from indexer_core.purge_stores import (
    BlobRows,
    InstanceRows,
    JobRows,
    Messages,
    Pictures,
    Quarantine,
    RejectRows,
    TextVectors,
)
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources
from indexer_core.testing.memory import (
    ManualClock,
    MemoryBlobs,
    MemoryQueue,
    MemoryRows,
    SequentialIds,
)
from indexer_core.text_cache import TextVectorCache, text_hash
from indexer_core.thumbnails import thumbnail_name
from tests.support.house import PREFIX, MemorySource
from tests.support.segments import unit_vectors

KEY, OTHER = "a" * 64, "b" * 64
URL, ELSE = f"{PREFIX}p/1.dcm", f"{PREFIX}k/1.dcm"
SUBJECT = Subject(series=frozenset({KEY}), urls=frozenset({URL}), uids=frozenset({"1.2.3.4"}))
SOURCES = Sources([MemorySource(MemoryBlobs())])


def event(*urls: str) -> str:
    return json.dumps([json.loads(look_message(url)) for url in urls])


def bodies(queue: MemoryQueue) -> list[str]:
    return [message.body for message in queue.receive(100, 60.0)]


def erase(store, subject=SUBJECT) -> int:
    """What was erased; a second time there is nothing."""
    counts = store.erase(subject).counts
    assert not any(store.erase(subject).counts.values())
    return sum(counts.values())


NAMED = [
    look_message(URL),
    event(ELSE, URL),
    base64.b64encode(look_message(URL).encode()).decode(),
    dump_ready(SeriesReady(series=KEY, revision=1, digest=OTHER)),
    dump_check(SeriesCheck(series=KEY, token="t")),
    f"not an event, about {URL}",
    "not an event, about 1.2.3.4",
]
NOT_NAMED = [
    look_message(ELSE),
    # A blob is not of a series because its name holds the UID: its own header decides.
    look_message(f"{PREFIX}1.2.3.4/2.dcm"),
    dump_ready(SeriesReady(series=OTHER, revision=1, digest=KEY)),
    dump_check(SeriesCheck(series=OTHER, token=KEY)),
    "junk",
    "",
]


def test_messages_that_name_it_go_and_others_are_visible_again_at_once():
    queue = MemoryQueue(ManualClock(), SequentialIds())
    for body in [*NAMED, *NOT_NAMED]:
        queue.send(body)
    assert erase(Messages("q", queue, SOURCES)) == len(NAMED)
    assert bodies(queue) == NOT_NAMED


def test_what_an_event_asks_for_is_done_before_it_goes():
    queue = MemoryQueue(ManualClock(), SequentialIds())
    for body in (look_message(URL), event(ELSE, URL), look_message(ELSE)):
        queue.send(body)
    handled = []
    assert erase(Messages("q", queue, SOURCES, handled.append)) == 2
    assert handled == [look_message(URL), event(ELSE, URL)]


def test_a_queue_that_is_fed_meanwhile_does_not_keep_a_purge_busy_for_ever():
    class Fed(MemoryQueue):
        def delete(self, message):
            self.send(look_message(URL))
            return super().delete(message)

    queue = Fed(ManualClock(), SequentialIds())
    queue.send(look_message(URL))
    assert Messages("q", queue, SOURCES).erase(SUBJECT).counts == {"messages of q": 1}


def test_rejects_that_name_it_go():
    rows = MemoryRows()
    rejects = Rejects(rows, ManualClock())
    rejects.blob("inbox", "1", URL, "code", "reason")
    rejects.blob("inbox", "2", ELSE, "code", "reason")
    rejects.series(SeriesReady(series=KEY, revision=1, digest=OTHER), "reason")
    rejects.series(SeriesReady(series=OTHER, revision=1, digest=KEY), "reason")
    for body in (*NAMED, *NOT_NAMED):
        rejects.message("q", body, "reason")
    assert erase(RejectRows(rows, SOURCES)) == 2 + len(NAMED)
    assert len(list(rows.scan())) == 2 + len(NOT_NAMED)


def token(name: str) -> str:
    """A continuation token as the blob service makes them."""
    inner = f"{len(name):06d}!{name}!000028!9999-12-31T23:59:59.9999999Z!"
    encoded = base64.b64encode(inner.encode()).decode().replace("=", "-")
    return f"2!{len(encoded)}!{encoded}"


@pytest.mark.parametrize(
    ("cursor", "is_reset"),
    [
        (URL, True),
        (URL.replace("/1", "/%31"), True),
        (token("p/1.dcm"), True),
        (token("inbox/p/1.dcm"), True),
        (ELSE, False),
        (token("k/1.dcm"), False),
        (token("1.dcm"), True),  # any blob of that name: beginning anew does no harm
        (f"{URL}.bak", False),
        ("", False),
        ("!!!", False),
    ],
)
def test_an_interrupted_job_begins_anew_where_its_place_is_the_name_of_a_blob(cursor, is_reset):
    rows = MemoryRows()
    rows.insert("jobs", "backfill", {"cursor": cursor, "n_enqueued": 7})
    assert erase(JobRows(rows)) == is_reset
    assert rows.get("jobs", "backfill").values["n_enqueued"] == (0 if is_reset else 7)


def blob_row(series: str, claims: list[str], url: str = URL) -> dict:
    return {"series": series, "claims": json.dumps(claims), "url": url, "state": "seen"}


def test_rows_of_blobs_go_and_of_those_that_moved_on_only_the_mention():
    rows = MemoryRows()
    for name, series, claims in (
        ("its", KEY, [KEY]),
        ("came to it", KEY, [OTHER, KEY]),
        ("set aside since", "", [OTHER, KEY]),
        ("moved on", OTHER, [KEY, OTHER]),
        ("another's", OTHER, [OTHER]),
        ("never read", "", []),
    ):
        rows.insert("p", name, blob_row(series, claims, f"{PREFIX}{name}"))
    store = BlobRows(rows)
    assert store.find(frozenset({KEY})).urls == {
        f"{PREFIX}{name}" for name in ("its", "came to it", "set aside since")
    }
    assert erase(store) == 4
    left = {row.key: json.loads(row.values["claims"]) for row in rows.scan()}
    assert left == {"moved on": [OTHER], "another's": [OTHER], "never read": []}


def test_rows_of_instances_go_and_the_marker_stays():
    rows, opened = MemoryRows(), MemoryRows()
    facts = {"series_instance_uid": "1.2.3.4", "sop_instance_uid": "1.2.3.4.5"}
    values = {"facts": json.dumps(facts), "url": URL, "sop": "1.2.3.4.5", "gone": False}
    for series in (KEY, OTHER):
        rows.insert(series, "1", values)
        rows.insert(series, MARKER, {"revision": 3})
        opened.insert("open", series, {"noted_s": 0.0})
    store = InstanceRows(rows, opened)
    found = store.find(frozenset({KEY}))
    assert (found.urls, found.uids) == ({URL}, {"1.2.3.4", "1.2.3.4.5"})
    assert erase(store) == 2
    assert [(row.partition, row.key) for row in rows.scan()] == [
        (KEY, MARKER),
        (OTHER, "1"),
        (OTHER, MARKER),
    ]
    assert [row.key for row in opened.scan()] == [OTHER]


def test_texts_are_forgotten_under_every_encoder():
    blobs, ids = MemoryBlobs(), SequentialIds()
    vectors = {text_hash(text): unit_vectors(text, 1, 8)[0] for text in ("its own", "another")}
    for encoder_id in ("one", "two"):
        cache = TextVectorCache(blobs, ids, encoder_id=encoder_id, dimension=8)
        cache.put(vectors)
    blobs.put_if_absent("text-cache/damaged/1", b"junk")
    subject = Subject(texts=frozenset({text_hash("its own")}))
    assert erase(TextVectors(blobs, ids), subject) == 3
    for encoder_id in ("one", "two"):
        cache = TextVectorCache(blobs, ids, encoder_id=encoder_id, dimension=8)
        assert set(cache.get(vectors)) == {text_hash("another")}
    assert not any(text_hash("its own") in blobs.get(entry.name).data for entry in blobs.list())


def test_without_texts_no_file_is_read():
    blobs = MemoryBlobs()
    blobs.put_if_absent("text-cache/damaged/1", b"junk")
    assert erase(TextVectors(blobs, SequentialIds())) == 0
    assert blobs.get("text-cache/damaged/1") is not None


def test_damaged_files_that_a_repair_kept_go_unless_they_are_surely_of_others():
    blobs = MemoryBlobs()
    kept = {
        "manifests/000000000003.json": False,
        f"assembly/{OTHER}/{KEY}.json": False,
        f"assembly/{KEY}/{OTHER}.json": True,
        f"assembly/odd/{KEY}": True,
        f"segments/{KEY[:32]}-{OTHER}.rows.arrow": True,
        f"segments/{KEY[:32]}-{OTHER}.text.faiss": True,
    }
    for name in kept:
        blobs.put_if_absent(f"quarantine/1/{name}", b"damaged")
        blobs.put_if_absent(name, b"in use")
    assert erase(Quarantine(blobs)) == sum(kept.values())
    left = {entry.name for entry in blobs.list()}
    assert left == {*kept, *(f"quarantine/1/{name}" for name, goes in kept.items() if not goes)}


def test_thumbnails_of_every_revision_go_and_those_of_others_stay():
    blobs = MemoryBlobs()
    for series, revision in ((KEY, 1), (KEY, 2), (OTHER, 1)):
        blobs.put_if_absent(thumbnail_name(series, revision, "d" * 64), b"picture")
    assert erase(Pictures(blobs)) == 2
    assert [entry.name for entry in blobs.list()] == [thumbnail_name(OTHER, 1, "d" * 64)]
