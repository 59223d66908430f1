"""Differences of manifests equal those of the dictionaries that they stand for."""

from dataclasses import replace
from hashlib import sha256

import hypothesis.strategies as st
from hypothesis import given, settings

from indexer_core.index.files import read_file
from indexer_core.index.history import ADDED, CHANGED, REMOVED, Difference, Version, compare
from indexer_core.index.manifest import EMPTY, FileRef, Manifest, Segment
from indexer_core.index.rows import IndexRow, row_at, rows_to_bytes, table_of
from indexer_core.testing.faults import RequestCounts, WrappedBlobs
from indexer_core.testing.memory import MemoryBlobs, SequentialIds
from tests.support.segments import PROJECTION, row

KEYS = ["s1", "s2", "s3", "s4"]
# Revision and whether it is alive, by series.
ROWS = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(1, 4), st.booleans()), min_size=1
)


class Index:
    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.ids = SequentialIds()

    def segment(self, rows: dict[str, tuple[int, bool]]) -> Segment:
        write_id = self.ids.new_id()
        return self.written(
            write_id, [row(key, number, write_id, alive=a) for key, (number, a) in rows.items()]
        )

    def written(self, write_id: str, rows: list[IndexRow]) -> Segment:
        """Rows alone: nothing else is compared."""
        data = rows_to_bytes(rows)
        file = FileRef(name=write_id, sha256=sha256(data).hexdigest(), size_bytes=len(data))
        self.blobs.put_if_absent(file.name, data)
        n_alive = sum(r.alive for r in rows)
        return Segment(id=write_id, rows=file, n_rows=len(rows), n_alive=n_alive, n_points=0)

    def read(self, file: FileRef):
        return table_of(read_file(self.blobs, file), file.name)

    def compare(self, before: Manifest, after: Manifest, *hidden: str) -> Difference:
        return compare(before, after, read=self.read, hidden=frozenset(hidden))


def manifest(number: int, *segments: Segment) -> Manifest:
    return replace(EMPTY, number=number, segments=segments)


def winners(segments: list[dict]) -> dict[str, tuple[int, int]]:
    """Series -> (revision, place of the segment) of what is alive."""
    best: dict[str, tuple[int, int, bool]] = {}
    for place, rows in enumerate(segments):
        for key, (revision, alive) in rows.items():
            best[key] = max(best.get(key, (0, 0, False)), (revision, place, alive))
    return {key: found[:2] for key, found in best.items() if found[2]}


@settings(max_examples=40)
@given(st.lists(ROWS, max_size=4), st.lists(ROWS, max_size=3), st.lists(ROWS, max_size=3))
def test_a_difference_is_that_of_what_is_alive_on_either_side(both, gone, come):
    index = Index()
    # Written in this order, so that the model's places order the write ids as well.
    shared, left, right = ([index.segment(rows) for rows in group] for group in (both, gone, come))
    found = index.compare(manifest(1, *shared, *left), manifest(2, *shared, *right))
    n_shared = len(both)
    before = winners([*both, *gone])
    after = winners([*both, *[{}] * len(gone), *come])
    expected = {}
    for key in {**before, **after}:
        then, now = before.get(key), after.get(key)
        if then is None or now is None or then[0] != now[0]:
            expected[key] = (then and then[0], now and now[0])
    told = {
        c.series_key: (c.before and c.before.revision, c.after and c.after.revision)
        for c in found.series
    }
    assert n_shared == len(shared)
    assert told == expected
    for change in found.series:
        kinds = {(False, True): ADDED, (True, False): REMOVED, (True, True): CHANGED}
        assert change.kind == kinds[change.before is not None, change.after is not None]
    assert [c.series_key for c in found.series] == sorted(told)
    assert sum(found.counts().values()) == len(told)


def test_a_merge_changes_nothing():
    index = Index()
    parts = [{"s1": (1, True), "s2": (1, True)}, {"s2": (2, True), "s3": (1, False)}]
    inputs = [index.segment(rows) for rows in parts]
    kept = [index.read(inputs[0].rows), index.read(inputs[1].rows)]
    rows = [row_at(kept[0], 0), row_at(kept[1], 0), row_at(kept[1], 1)]
    output = index.written(index.ids.new_id(), rows)
    assert index.compare(manifest(1, *inputs), manifest(2, output)).series == ()


def test_a_new_recipe_of_the_same_content_is_a_change():
    index = Index()
    old = index.segment({"s1": (1, True)})
    write_id = index.ids.new_id()
    described = replace(row("s1", 1, write_id), recipe=2)
    new = index.written(write_id, [described])
    (change,) = index.compare(manifest(1, old), manifest(2, old, new)).series
    assert (change.kind, change.before, change.after) == (
        CHANGED,
        Version(revision=1, recipe=1),
        Version(revision=1, recipe=2),
    )


def test_a_deleted_series_is_counted_and_not_told():
    index = Index()
    new = index.segment({"s1": (1, True), "s2": (1, True)})
    found = index.compare(manifest(1), manifest(2, new), "s1", "unrelated")
    assert [c.series_key for c in found.series] == ["s2"]
    assert found.n_hidden == 1


def test_files_of_both_sides_are_not_read_when_nothing_else_differs():
    index = Index()
    shared = index.segment({"s1": (1, True)})
    counts = RequestCounts()
    index.blobs = WrappedBlobs(index.blobs, counts)
    assert index.compare(manifest(1, shared), manifest(9, shared)).series == ()
    assert counts.n_requests == 0


def test_another_encoder_and_another_map_are_told():
    index = Index()
    mapped = replace(manifest(2), projection=replace(PROJECTION, version="1.0"))
    found = index.compare(manifest(1), mapped)
    assert found.settings == {"map": ("", "1.0")}
