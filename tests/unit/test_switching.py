"""A second encoder is filled beside the live one, and switched to in one commit."""

import numpy as np
import pytest

from indexer_core.errors import ConflictError, CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.index.commit import Manifests
from indexer_core.index.filling import PARTS_PREFIX, text_vectors
from indexer_core.index.reader import Reader
from indexer_core.index.segment import (
    IMAGE_SPACE,
    TEXT_SPACE,
    SegmentWriter,
    SpaceVectors,
)
from indexer_core.index.switching import SpaceSwitch, state_of
from indexer_core.index.updates import AddSegment, BuildSpace, Restore, Suppress, with_files
from indexer_core.index.upkeep import Upkeep
from indexer_core.index.verify import verify
from indexer_core.projector import bootstrap_projector
from indexer_core.testing.memory import MemoryBlobs
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache, text_hash
from tests.support.encoders import (
    FILES,
    NEW,
    OLD,
    NamedEncoder,
    SwitchingIndex,
    assert_search_is_exact,
    text_row,
    texts_of,
    write_rows,
)
from tests.support.segments import IMAGE, unit_vectors

TO_NEW = (TEXT_SPACE, NEW.encoder_id, text_vectors(NEW))


@pytest.fixture
def index() -> SwitchingIndex:
    """Two segments: one that is filled in parts, and a small one."""
    made = SwitchingIndex()
    made.add({f"s{number}": 1 for number in range(6)}, gone=["s5"])
    made.add({"s0": 2, "t": 1})
    return made


ALIVE = {"s0": 2, "s1": 1, "s2": 1, "s3": 1, "s4": 1, "t": 1}


def parts(index: SwitchingIndex) -> list[str]:
    return [entry.name for entry in index.blobs.list(PARTS_PREFIX)]


def test_a_built_encoder_takes_the_place_of_the_live_one(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    assert_search_is_exact(index.snapshot(), OLD, ALIVE)
    switcher.fill(*TO_NEW)
    # Filled, not yet switched: searches are the old encoder's.
    assert_search_is_exact(index.snapshot(), OLD, ALIVE)
    after = switcher.switch(*TO_NEW)
    assert after.space(TEXT_SPACE).live == NEW.encoder_id
    assert after.lineage.reason == "switch"
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)
    assert verify(index.blobs, FILES).problems == []
    assert parts(index) == []


def test_a_switch_fills_by_itself_what_is_missing(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    switcher.switch(*TO_NEW)
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)


def test_deltas_with_one_encoder_or_both_arrive_while_another_is_built(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    index.add({"u": 1}, [OLD, NEW])
    texts_before = NEW.texts["a of u at 1"]
    index.add({"v": 1}, [OLD])
    state = state_of(index.manifest, index.manifest.space(TEXT_SPACE))
    assert (state.n_filled_segments, state.n_segments) == (1, 4)
    switcher.fill(*TO_NEW)
    assert NEW.texts["a of u at 1"] == texts_before  # it came with its vectors
    index.add({"w": 1}, [OLD])
    switcher.switch(*TO_NEW)
    assert_search_is_exact(index.snapshot(), NEW, {**ALIVE, "u": 1, "v": 1, "w": 1})


def test_what_arrives_during_the_switch_is_filled_within_it(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    switcher.fill(*TO_NEW)
    late = iter(["late1", "late2"])

    def vectors_of(rows):
        # Another delta lands while that of the last one is made.
        if (key := next(late, None)) is not None:
            index.add({key: 1}, [OLD])
        return text_vectors(NEW)(rows)

    index.add({"first": 1}, [OLD])
    switcher.switch(TEXT_SPACE, NEW.encoder_id, vectors_of)
    more = {"first": 1, "late1": 1, "late2": 1}
    assert_search_is_exact(index.snapshot(), NEW, {**ALIVE, **more})


def test_an_interrupted_fill_keeps_every_finished_part(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    made: list[int] = []

    def dying(rows):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(len(rows))
        return text_vectors(NEW)(rows)

    with pytest.raises(KeyboardInterrupt):
        switcher.fill(TEXT_SPACE, NEW.encoder_id, dying)
    assert len(parts(index)) == 2
    asked: list[str] = []

    def counting(rows):
        asked.extend(row.series_key for row in rows)
        return text_vectors(NEW)(rows)

    index.switcher().fill(TEXT_SPACE, NEW.encoder_id, counting)
    # The larger segment came first, in parts of at most twelve vectors: two series each.
    assert asked == ["s4", "s5", "s0", "t"]
    assert parts(index) == []
    index.switcher().switch(*TO_NEW)
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)


def test_a_damaged_part_is_made_again(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    calls = 0

    def dying(rows):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return text_vectors(NEW)(rows)

    with pytest.raises(KeyboardInterrupt):
        switcher.fill(TEXT_SPACE, NEW.encoder_id, dying)
    first, second = parts(index)
    index.blobs.overwrite(first, b"damaged")
    index.blobs.overwrite(second, FILES.build(np.ones((1, 3), np.float32)))
    index.switcher().switch(*TO_NEW)
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)


def test_an_abandoned_build_leaves_the_index_as_it_was(index):
    before = index.manifest
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    switcher.fill(*TO_NEW)
    index.blobs.put_if_absent(f"{PARTS_PREFIX}0/segment/0-1", b"left over")
    after = switcher.abandon(TEXT_SPACE, NEW.encoder_id)
    assert (after.segments, after.spaces) == (before.segments, before.spaces)
    assert parts(index) == []
    assert_search_is_exact(index.snapshot(), OLD, ALIVE)
    assert switcher.abandon(TEXT_SPACE, NEW.encoder_id).number == after.number


def test_a_filler_whose_build_is_abandoned_stops(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)

    def abandoned_meanwhile(rows):
        index.switcher().abandon(TEXT_SPACE, NEW.encoder_id)
        return text_vectors(NEW)(rows)

    with pytest.raises(ConflictError, match="not being built"):
        switcher.fill(TEXT_SPACE, NEW.encoder_id, abandoned_meanwhile)
    assert_search_is_exact(index.snapshot(), OLD, ALIVE)
    switcher.start(TEXT_SPACE, "another", 5)
    assert parts(index) != []  # of the filler that stopped
    switcher.fill(TEXT_SPACE, "another", text_vectors(NamedEncoder("another", 5)))
    assert parts(index) == []


def test_two_fillers_at_once_waste_work_and_no_more(index):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)

    def overtaken(rows):
        index.switcher().fill(*TO_NEW)
        return text_vectors(NEW)(rows)

    index.switcher().fill(TEXT_SPACE, NEW.encoder_id, overtaken)
    index.switcher().switch(*TO_NEW)
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)


def test_every_step_may_be_repeated(index):
    switcher = index.switcher()
    for _ in range(2):
        started = switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    assert started.number == 4
    assert switcher.fill(*TO_NEW).number == switcher.fill(*TO_NEW).number
    assert switcher.switch(*TO_NEW).number == switcher.switch(*TO_NEW).number


def test_what_cannot_be_is_said_in_one_line(index):
    switcher = index.switcher()
    with pytest.raises(InvalidInputError, match="searched with old-text already"):
        switcher.start(TEXT_SPACE, OLD.encoder_id, OLD.dimension)
    with pytest.raises(ConflictError, match="not being built"):
        switcher.switch(*TO_NEW)
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    with pytest.raises(ConflictError, match="new-text is being built already"):
        switcher.start(TEXT_SPACE, "other", 4)
    with pytest.raises(ConflictError):
        switcher.abandon(TEXT_SPACE, OLD.encoder_id)
    nowhere = SpaceSwitch(blobs=MemoryBlobs(), vector_files=FILES, clock=index.clock, ids=index.ids)
    with pytest.raises(NotFoundError, match="nothing is indexed"):
        nowhere.start(TEXT_SPACE, "x", 1)


@pytest.mark.parametrize("shape", [(4, 8), (5, 9)])
def test_an_encoder_that_gives_other_vectors_than_it_should_is_refused(index, shape):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    with pytest.raises(InvalidInputError, match="gave vectors of shape"):
        index.switcher().fill(
            TEXT_SPACE, NEW.encoder_id, lambda rows: np.zeros(shape, dtype=np.float32)
        )


def test_damaged_rows_stop_a_fill(index):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    name = index.manifest.segments[0].rows.name
    index.blobs.overwrite(name, b"damaged")
    with pytest.raises(CorruptIndexError, match=name):
        index.switcher().fill(*TO_NEW)


def test_a_segment_whose_rows_and_live_vectors_differ_in_number_stops_a_fill(index):
    bare = write_rows(index.blobs, index.ids.new_id(), [text_row("v", 1, "w")], [])
    few = SpaceVectors(space=TEXT_SPACE, encoder_id=OLD.encoder_id, vectors=OLD.encode(["one"]))
    file = SegmentWriter(index.blobs, FILES).write_vectors(index.ids.new_id(), few)
    index.commit(AddSegment(segment=with_files(bare, vectors=(file,))))
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    with pytest.raises(CorruptIndexError, match="do not fit"):
        index.switcher().fill(*TO_NEW)


def test_progress_is_told_in_vectors(index):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    told: list[tuple[int, int]] = []
    index.switcher().fill(
        *TO_NEW, progress=lambda state, n: told.append((state.n_filled_vectors + n, n))
    )
    done = [n_done for n_done, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 35)
    assert [n for _, n in told] == [0, 10, 20, 25, 0, 10, 0]


def test_the_cached_texts_of_an_encoder_go_with_it(index):
    for encoder in (OLD, NEW):
        cache = TextVectorCache(
            index.blobs, index.ids, encoder_id=encoder.encoder_id, dimension=encoder.dimension
        )
        cached = CachedTextEncoder(encoder, cache)
        cached.encode(["a text"])

    def files() -> int:
        return len(list(index.blobs.list("text-cache/")))

    assert files() == 2
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    index.switcher().fill(TEXT_SPACE, NEW.encoder_id, text_vectors(cached))
    n_filled = files()
    assert n_filled > 2
    index.switcher().switch(*TO_NEW)
    assert files() == n_filled - 1
    index.switcher().start(TEXT_SPACE, OLD.encoder_id, OLD.dimension)
    index.switcher().switch(TEXT_SPACE, OLD.encoder_id, text_vectors(OLD))
    assert files() == 0


def test_texts_of_hidden_series_are_not_cached(index):
    index.commit(Suppress(series_keys=frozenset({"s1", "t"})))
    cache = TextVectorCache(
        index.blobs, index.ids, encoder_id=NEW.encoder_id, dimension=NEW.dimension
    )
    made_of = text_vectors(
        CachedTextEncoder(NEW, cache), uncached=NEW, hidden=lambda: index.manifest.suppressed
    )
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    index.switcher().fill(TEXT_SPACE, NEW.encoder_id, made_of)
    for key, revision in ALIVE.items():
        hashes = [text_hash(text) for text in texts_of(key, revision)]
        assert len(cache.get(hashes)) == (0 if key in ("s1", "t") else 5), key
    index.switcher().switch(*TO_NEW)
    index.commit(Restore(series_keys=frozenset({"s1", "t"})))
    assert_search_is_exact(index.snapshot(), NEW, ALIVE)


EYE = "better-image"


def seen(rows) -> np.ndarray:
    """What a caller supplies for the image space: pixels, as it were."""
    keys = [f"{EYE}{row.series_key}/{row.revision}" for row in rows if row.image_count]
    return np.concatenate([np.empty((0, 6), np.float32), *(unit_vectors(k, 1, 6) for k in keys)])


def test_an_image_encoder_is_switched_with_its_map_by_a_function_of_the_caller(index):
    from dataclasses import replace

    switcher = index.switcher()
    switcher.start(IMAGE_SPACE, EYE, 6)
    switcher.fill(IMAGE_SPACE, EYE, seen)
    with pytest.raises(ConflictError, match="bring another"):
        switcher.switch(IMAGE_SPACE, EYE, seen)
    projector = replace(bootstrap_projector(6, EYE), version="1.0")
    index.add({"late": 1}, [OLD])
    after = switcher.switch(IMAGE_SPACE, EYE, seen, projector=projector)
    assert after.space(IMAGE_SPACE).live == EYE
    assert (after.projection.version, after.projection.encoder_id) == ("1.0", EYE)
    assert verify(index.blobs, FILES).problems == []
    reader = Reader(index.blobs, FILES)
    reader.refresh()
    vector, xy = reader.image_of(reader.winner("late"), EYE)
    expected = unit_vectors(f"{EYE}late/1", 1, 6)
    assert np.abs(vector - expected[0]).max() < 1e-3
    np.testing.assert_array_equal(np.float32(xy[:2]), projector.project(vector[None, :])[0])
    # The places under the map before are still there.
    assert all(s.coordinate_file("0.1") is not None for s in after.segments)
    with pytest.raises(CorruptIndexError):
        reader.image_of(reader.winner("late"), IMAGE)


def test_no_manifest_ever_lacks_a_live_encoder(index):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    index.add({"u": 1}, [OLD])
    index.switcher().switch(*TO_NEW)
    index.commit(BuildSpace(space=TEXT_SPACE, encoder_id="third", dimension=3))
    for manifest in Manifests(index.blobs).history():
        for space in manifest.spaces:
            for segment in manifest.segments:
                assert segment.vector_file(space.name, space.live) is not None


def test_verify_looks_at_the_encoder_that_is_being_built_too(index):
    index.switcher().start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    index.add({"u": 1}, [OLD, NEW])
    assert verify(index.blobs, FILES).problems == []
    bare = write_rows(index.blobs, index.ids.new_id(), [text_row("v", 1, "w")], [OLD])
    few = SpaceVectors(space=TEXT_SPACE, encoder_id=NEW.encoder_id, vectors=NEW.encode(["one"]))
    file = SegmentWriter(index.blobs, FILES).write_vectors(index.ids.new_id(), few)
    index.commit(AddSegment(segment=with_files(bare, vectors=(file,))))
    (problem,) = verify(index.blobs, FILES).problems
    assert "vectors of new-text differ in number" in problem


def test_the_collector_takes_parts_that_a_killed_filler_has_left(index):
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)

    def dying(rows):
        if parts(index):
            raise KeyboardInterrupt
        return text_vectors(NEW)(rows)

    with pytest.raises(KeyboardInterrupt):
        switcher.fill(TEXT_SPACE, NEW.encoder_id, dying)
    upkeep = Upkeep(index.blobs, FILES, clock=index.clock, ids=index.ids)
    upkeep.collect()
    assert len(parts(index)) == 1  # still of use
    left = parts(index)[0], index.blobs.get(parts(index)[0]).data
    switcher.abandon(TEXT_SPACE, NEW.encoder_id)
    index.blobs.put_if_absent(*left)  # by one that was at it when the build was given up
    upkeep.collect()
    assert parts(index) == []
