"""Which rows count, and what a reader opens to know it."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import CorruptIndexError, NotFoundError, UnavailableError
from indexer_core.index import keys
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.files import StoredFiles
from indexer_core.index.footprint import ROW_BYTES, footprint
from indexer_core.index.loaded import OpenedRows
from indexer_core.index.marks import Suppressed, next_marks
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.rows import IndexRow, rows_to_bytes, table_of
from indexer_core.index.segment import TEXT_SPACE, SegmentWriter
from indexer_core.index.updates import AddSegment, MergeSegments, Restore, Suppress
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import LINEAGE, OPEN, row, write_segment

KEYS = [f"s{number}" for number in range(6)]
index_rows = st.builds(
    lambda key, revision, alive: row(key, revision, "w", alive=alive),
    st.sampled_from(KEYS),
    st.integers(1, 4),
    st.booleans(),
)


def opened(rows: list[IndexRow]) -> OpenedRows:
    return OpenedRows(table_of(rows_to_bytes(rows), "rows"))


def best_of(segments: dict[str, list[IndexRow]]) -> dict[str, tuple[str, int]]:
    """Series -> (segment, row) of its highest row; of equal ones the later."""
    best: dict[str, tuple[tuple, str, int]] = {}
    for name, rows in segments.items():
        for number, each in enumerate(rows):
            if each.series_key not in best or each.order >= best[each.series_key][0]:
                best[each.series_key] = (each.order, name, number)
    return {key: (name, number) for key, (_, name, number) in best.items()}


def expect_marked(marks, segments, suppressed) -> None:
    best = best_of(segments)
    assert marks.keys() == segments.keys()
    for name, rows in segments.items():
        winning = [best[each.series_key] == (name, number) for number, each in enumerate(rows)]
        live = [
            wins and each.alive and each.series_key not in suppressed
            for wins, each in zip(winning, rows, strict=True)
        ]
        assert marks[name].winning.tolist() == winning
        assert marks[name].live.tolist() == live


steps = st.lists(
    st.tuples(
        st.lists(st.lists(index_rows, max_size=5), max_size=3),  # segments that come
        st.integers(0, 3),  # how many of the oldest go
        st.frozensets(st.sampled_from(KEYS)),  # what is suppressed then
    ),
    max_size=5,
)


@pytest.mark.parametrize("hash_bits", [64, 1])
@given(steps=steps)
@settings(deadline=None)
def test_rows_that_count_follow_every_change_as_if_computed_anew(hash_bits, steps):
    with pytest.MonkeyPatch.context() as patch:
        # One bit: keys that share a hash are told apart.
        honest = keys.hashes_of
        patch.setattr(keys, "hashes_of", lambda k: honest(k) >> np.uint64(64 - hash_bits))
        patch.setattr("indexer_core.index.marks.hashes_of", keys.hashes_of)
        segments, tables, marks = {}, {}, {}
        suppressed = Suppressed(frozenset())
        for number, (come, n_gone, hidden) in enumerate(steps):
            before = dict(segments)
            for name in list(segments)[:n_gone]:
                del segments[name]
            segments |= {f"{number}.{index}": rows for index, rows in enumerate(come)}
            tables |= {name: opened(rows) for name, rows in segments.items() if name not in tables}
            now = Suppressed(hidden) if hidden != suppressed.keys else suppressed
            marks = next_marks(
                {name: tables[name] for name in segments},
                {name: held for name, held in marks.items() if name in segments},
                [(tables[name].key_index, marks[name]) for name in before if name not in segments],
                now,
                other_suppression=now is not suppressed,
            )
            suppressed = now
            expect_marked(marks, segments, hidden)


def test_marks_of_segments_that_nothing_touched_are_the_same_objects():
    first, second = opened([row("a", 1, "w")]), opened([row("b", 1, "w")])
    nothing = Suppressed(frozenset())
    before = next_marks({"1": first}, {}, [], nothing, other_suppression=False)
    after = next_marks({"1": first, "2": second}, before, [], nothing, other_suppression=False)
    assert after["1"] is before["1"]


class CountingFiles(StoredFiles):
    """Remembers what was opened and forgotten."""

    def __init__(self, blobs):
        super().__init__(blobs)
        self.opened, self.fetched, self.retained = [], [], []

    def prefetch(self, refs):
        self.fetched += [ref.name for ref in refs]

    def open(self, ref):
        self.opened.append(ref.name)
        return super().open(ref)

    def retain(self, refs):
        self.retained.append({ref.name for ref in refs})


class Index:
    def __init__(self):
        self.blobs = MemoryBlobs(ManualClock())
        self.manifests = Manifests(self.blobs)
        self.writer = SegmentWriter(self.blobs, FlatFp16Vectors())
        self.n_commits = 0
        self.commit(OPEN)

    def commit(self, update):
        self.n_commits += 1
        name = f"c{self.n_commits}"
        return commit(self.manifests, update, commit_id=name, lineage=LINEAGE).manifest

    def write(self, name, *rows):
        return write_segment(self.writer, name, list(rows))

    def add(self, name, *rows):
        return self.commit(AddSegment(segment=self.write(name, *rows)))

    def reader(self, **options):
        return Reader(self.blobs, FlatFp16Vectors(), **options)


@pytest.fixture
def index():
    made = Index()
    made.add("w1", row("a", 1, "w1"), row("b", 1, "w1"))
    made.add("w2", row("b", 2, "w2"), row("c", 1, "w2", alive=False))
    return made


def test_refreshing_opens_files_of_new_segments_only(index):
    files = CountingFiles(index.blobs)
    reader = index.reader(files=files, searched=[TEXT_SPACE])
    reader.refresh()
    before = list(files.opened)
    assert len(before) == len(set(before)) == 4
    assert set(files.fetched) == set(before)
    added = index.add("w3", row("d", 1, "w3")).segments[-1]
    reader.refresh()
    new = files.opened[len(before) :]
    assert set(new) == {added.rows.name, added.vectors[0].file.name}
    reader.refresh()
    assert len(files.opened) == len(before) + 2


def test_a_reader_that_searches_nothing_opens_no_vectors(index):
    files = CountingFiles(index.blobs)
    index.reader(files=files).refresh()
    assert all(name.endswith(".rows.arrow") for name in files.opened)


def test_only_what_the_manifest_in_use_names_is_retained(index):
    files = CountingFiles(index.blobs)
    reader = index.reader(files=files)
    old = reader.refresh()
    inputs = tuple(segment.id for segment in old.manifest.segments)
    output = index.write("w3", row("a", 1, "w1"), row("b", 2, "w2"))
    index.commit(MergeSegments(inputs=inputs, output=output))
    merged = reader.refresh()
    reader.at(old.manifest.number)  # to look back is not to follow
    assert files.retained == [
        {file.name for file in snapshot.manifest.files()} for snapshot in (old, merged)
    ]
    # A request in flight still has what it opened.
    assert old.segments[0].loaded.rows.texts.record(0)["seriesInstanceUid"] == "a"


def test_an_unchanged_segment_is_the_same_object_in_the_next_snapshot(index):
    reader = index.reader()
    before = reader.refresh()
    index.add("w3", row("a", 2, "w3"))
    after = reader.refresh()
    assert after.segments[0] is not before.segments[0]  # a row of it was replaced
    assert after.segments[0].loaded is before.segments[0].loaded
    assert after.segments[1] is before.segments[1]
    assert before.segments[0].live.tolist() == [True, False]
    assert after.segments[0].live.tolist() == [False, False]


def test_the_winner_of_a_series_is_found_whatever_its_state(index):
    reader = index.reader()
    reader.refresh()
    index.commit(Suppress(series_keys=frozenset("a")))
    reader.refresh()
    winners = dict(reader.winners())
    assert {key: (place.order[0], place.alive) for key, place in winners.items()} == {
        "a": (1, True), "b": (2, True), "c": (1, False),
    }  # fmt: skip
    assert sorted(reader.series_keys()) == ["a", "b", "c"]
    for key, place in winners.items():
        assert reader.winner(key) == place
        assert reader.row(place).series_key == key
    assert reader.winner("nothing") is None
    assert reader.snapshot.n_series == 1


def test_a_past_manifest_shares_what_is_open_and_hides_what_is_suppressed_now(index):
    files = CountingFiles(index.blobs)
    reader = index.reader(files=files)
    number = reader.refresh().manifest.number
    index.add("w3", row("a", 2, "w3"))
    index.commit(Suppress(series_keys=frozenset("b")))
    reader.refresh()
    n_opened = len(files.opened)
    past = reader.at(number)
    assert len(files.opened) == n_opened
    assert past.segments[0].loaded is reader.snapshot.segments[0].loaded
    shown = [segment.loaded.orders[place][:2] for segment, place in past.rows()]
    assert [(key, order[0]) for key, order in shown] == [("a", 1)]
    index.commit(Restore(series_keys=frozenset("b")))
    assert open_at(index.blobs, FlatFp16Vectors(), number).n_series == 2
    with pytest.raises(NotFoundError):
        reader.at(99)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_index_that_does_not_fit_is_refused_before_anything_is_opened(index, in_memory):
    manifest = index.manifests.newest()
    vectors = sum(segment.vectors[0].file.size_bytes for segment in manifest.segments)
    files = CountingFiles(index.blobs)
    files.in_memory = in_memory
    rows = 4 * ROW_BYTES
    if in_memory:
        rows += sum(segment.rows.size_bytes for segment in manifest.segments)
    needed = footprint(manifest, [TEXT_SPACE], in_memory=in_memory)
    assert needed.total_bytes == vectors + rows
    tight = index.reader(files=files, searched=[TEXT_SPACE], limit_bytes=vectors + rows - 1)
    with pytest.raises(UnavailableError, match="GiB of memory"):
        tight.refresh()
    assert files.opened == files.fetched == []
    assert tight.snapshot.manifest.number == 0
    enough = index.reader(files=files, searched=[TEXT_SPACE], limit_bytes=vectors + rows)
    assert enough.refresh().n_series == 2


@pytest.mark.parametrize("suffix", ["rows.arrow", "text.faiss"])
def test_a_damaged_file_is_named_and_leaves_the_snapshot_in_use(index, suffix):
    reader = index.reader(searched=[TEXT_SPACE])
    before = reader.refresh()
    segment = index.add("w3", row("d", 1, "w3")).segments[-1]
    name = next(file.name for file in segment.files() if file.name.endswith(suffix))
    stored = index.blobs.get(name)
    index.blobs.put_if_match(name, stored.data[:-1] + b"?", stored.etag)
    with pytest.raises(CorruptIndexError, match=name):
        reader.refresh()
    assert reader.snapshot is before
    index.blobs.put_if_match(name, stored.data, index.blobs.properties(name).etag)
    assert reader.refresh().n_series == 3
