"""Writers while an index changes its encoders: both brought, one left to the build, none mixed."""

from dataclasses import replace

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.encoders import known
from indexer_core.errors import ConflictError, InvalidInputError
from indexer_core.index.commit import Manifests
from indexer_core.index.filling import text_vectors
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.index.switching import SpaceSwitch, state_of
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.projector import bootstrap_projector
from indexer_core.search import search_text
from indexer_core.selection import select
from tests.support.encoders import NEW, NamedEncoder
from tests.support.pipeline import MAX_WAIT_S, Meanwhile, Pipeline, renamed_describer, slice_of
from tests.support.segments import unit_vectors

EYE = "better-image"


class OtherEye:
    """An image encoder; its vectors follow from the pixels."""

    encoder_id = EYE
    dimension = 6
    recipe = PixelRecipe()

    def encode(self, stacks):
        return np.concatenate([unit_vectors(str(float(s.sum())), 1, 6) for s in stacks])


class Broken:
    encoder_id, dimension = NEW.encoder_id, NEW.dimension

    def encode(self, texts):
        raise RuntimeError("out of memory, say")


@pytest.fixture
def pipeline() -> Pipeline:
    made = Pipeline()
    made.upload("ct/1.dcm", slice_of(series="ct"))
    made.upload("sr/1.dcm", slice_of(series="sr", pixels=False))
    made.settle(made.process())
    return made


def switcher(pipeline) -> SpaceSwitch:
    return SpaceSwitch(
        blobs=pipeline.index,
        vector_files=FlatFp16Vectors(),
        clock=pipeline.clock,
        ids=pipeline.ids,
    )


def build(pipeline) -> None:
    switcher(pipeline).start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)


def switch(pipeline) -> None:
    switcher(pipeline).switch(TEXT_SPACE, NEW.encoder_id, text_vectors(NEW))


def newest(pipeline):
    return Manifests(pipeline.index).newest()


def filled(pipeline, space=TEXT_SPACE) -> tuple[int, int]:
    manifest = newest(pipeline)
    state = state_of(manifest, manifest.space(space))
    return state.n_filled_segments, state.n_segments


def assert_found_by(pipeline, encoder) -> None:
    """Every text of every live series finds its series by its own vector."""
    snapshot = pipeline.reader().snapshot
    for row in pipeline.live().values():
        for text in row.record["texts"]:
            query = encoder.encode([text])[0]
            best = search_text(snapshot, query, select(snapshot), top=1)[0]
            assert best.score > 0.999


def test_a_writer_that_has_both_encoders_brings_both(pipeline):
    build(pipeline)
    n_before = filled(pipeline)[1]
    pipeline.find_encoder = known(NEW)
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    pipeline.settle(pipeline.process())
    assert filled(pipeline) == (1, n_before + 1)
    switch(pipeline)
    assert_found_by(pipeline, NEW)
    assert pipeline.problems() == []


def test_a_writer_without_the_new_encoder_leaves_its_segment_to_the_build(pipeline):
    build(pipeline)
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    pipeline.settle(pipeline.process())
    assert filled(pipeline)[0] == 0
    assert_found_by(pipeline, pipeline.text_encoder)
    switch(pipeline)
    assert_found_by(pipeline, NEW)


def test_a_new_encoder_that_fails_holds_up_no_series(pipeline):
    build(pipeline)
    pipeline.find_encoder = known(Broken())
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    pipeline.settle(pipeline.process())
    assert len(pipeline.live()) == 3
    assert filled(pipeline)[0] == 0


def prepared(pipeline) -> None:
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(MAX_WAIT_S + 1)
    process.checks()


def test_a_writer_that_is_overtaken_by_a_switch_completes_its_segment(pipeline):
    build(pipeline)
    prepared(pipeline)
    shelf = {}
    pipeline.find_encoder = shelf.get

    def then():
        switch(pipeline)
        shelf[NEW.encoder_id] = NEW

    # When the segment is written and before its manifest is.
    process = pipeline.process(Meanwhile("blobs.put_if_absent", then, nth=3))
    assert list(process.work().outcomes.values()) == ["indexed"]
    manifest = newest(pipeline)
    assert manifest.space(TEXT_SPACE).live == NEW.encoder_id
    texts = {v.encoder_id for s in manifest.segments for v in s.vectors if v.space == TEXT_SPACE}
    assert texts == {NEW.encoder_id}
    assert_found_by(pipeline, NEW)


def test_a_writer_without_the_encoder_that_is_live_takes_nothing_and_loses_nothing(pipeline):
    build(pipeline)
    prepared(pipeline)
    overtaken = Meanwhile("blobs.put_if_absent", lambda: switch(pipeline), nth=3)
    process = pipeline.process(overtaken)
    with pytest.raises(ConflictError, match="restart it with the encoders"):
        process.work()
    with pytest.raises(InvalidInputError, match="never meet"):
        process.work()
    with pytest.raises(InvalidInputError, match="never meet"):
        pipeline.process().work()
    pipeline.find_encoder = known(NEW)
    pipeline.settle(pipeline.process())
    assert len(pipeline.live()) == 3
    assert_found_by(pipeline, NEW)
    assert pipeline.queues["poison"].length() == 0


def test_an_abandoned_build_changes_nothing_for_a_writer_that_brought_both(pipeline):
    build(pipeline)
    pipeline.find_encoder = known(NEW)
    prepared(pipeline)
    abandoned = Meanwhile(
        "blobs.put_if_absent",
        lambda: switcher(pipeline).abandon(TEXT_SPACE, NEW.encoder_id),
        nth=3,
    )
    assert list(pipeline.process(abandoned).work().outcomes.values()) == ["indexed"]
    assert NEW.encoder_id not in {
        v.encoder_id for s in newest(pipeline).segments for v in s.vectors
    }
    assert_found_by(pipeline, pipeline.text_encoder)


# --- Image encoders -----------------------------------------------------------------------------


def from_pixels(rows):
    """The caller's function for the image space: the pixels, encoded once more."""
    seen = [unit_vectors(row.series_key, 1, 6) for row in rows if row.image_count]
    return np.concatenate([np.empty((0, 6), np.float32), *seen])


def see(pipeline) -> None:
    switcher(pipeline).start(IMAGE_SPACE, EYE, OtherEye.dimension)


def see_better(pipeline) -> None:
    projector = replace(bootstrap_projector(OtherEye.dimension, EYE), version="1.0")
    switcher(pipeline).switch(IMAGE_SPACE, EYE, from_pixels, projector=projector)


def test_a_worker_that_has_both_image_encoders_brings_both(pipeline):
    see(pipeline)
    pipeline.further_image_encoders = (OtherEye(),)
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    pipeline.settle(pipeline.process())
    assert filled(pipeline, IMAGE_SPACE)[0] == 1
    see_better(pipeline)
    pipeline.upload("xa/1.dcm", slice_of(series="xa"))
    pipeline.settle(pipeline.process())
    manifest = newest(pipeline)
    assert {v.encoder_id for s in manifest.segments for v in s.vectors if v.space == "image"} == {
        EYE
    }
    assert manifest.projection.version == "1.0"
    assert pipeline.problems() == []
    assert len(pipeline.live()) == 4


def test_an_image_encoder_that_fails_holds_up_no_series(pipeline):
    see(pipeline)
    eye = OtherEye()
    eye.encode = None
    pipeline.further_image_encoders = (eye,)
    pipeline.upload("mr/1.dcm", slice_of(series="mr"))
    pipeline.settle(pipeline.process())
    assert filled(pipeline, IMAGE_SPACE)[0] == 0
    assert len(pipeline.live()) == 3


def test_a_worker_without_the_live_image_encoder_indexes_no_series_without_its_pixels(pipeline):
    see(pipeline)
    prepared(pipeline)
    # The index is switched after the worker has looked whether it is fit.
    process = pipeline.process(Meanwhile("queue.receive", lambda: see_better(pipeline)))
    assert list(process.work().outcomes.values()) == ["unavailable"]
    with pytest.raises(InvalidInputError, match="never meet"):
        process.work()
    pipeline.further_image_encoders = (OtherEye(),)
    pipeline.settle(pipeline.process())
    assert sorted(row.image_count for row in pipeline.live().values()) == [0, 1, 1]


def test_who_sees_no_pixels_writes_whatever_image_encoder_is_live(pipeline):
    see(pipeline)
    see_better(pipeline)
    pipeline.upload("sr/2.dcm", slice_of(series="sr2", pixels=False))
    process = pipeline.process()
    process.indexer._image_encoder_ids = ()
    process.events()
    pipeline.clock.advance(MAX_WAIT_S + 1)
    process.checks()
    assert len(pipeline.live()) == 3
    assert pipeline.problems() == []


def test_reprocessing_copies_the_image_vectors_of_both_encoders(pipeline):
    see(pipeline)
    switcher(pipeline).fill(IMAGE_SPACE, EYE, from_pixels)
    before = image_vectors(pipeline)
    pipeline.describer = renamed_describer("other rules")
    process = pipeline.process()
    indexer = process.opened()
    indexer.reprocess(list(indexer.outdated()))
    assert image_vectors(pipeline) == before
    assert len(before) == 2


def image_vectors(pipeline) -> dict[str, bytes]:
    reader = pipeline.reader()
    ids = (pipeline.image_encoder.encoder_id, EYE)
    (key,) = [key for key, row in pipeline.live().items() if row.image_count]
    place = reader.winner(key)
    return {encoder: reader.image_of(place, encoder)[0].tobytes() for encoder in ids}


def test_any_number_of_writers_embed_with_the_encoder_that_was_switched_to_first(pipeline):
    """A -> B -> C while one writer keeps going."""
    third = NamedEncoder("third-text", 5)
    pipeline.find_encoder = known(NEW, third)
    process = pipeline.process()
    for number, encoder in enumerate((NEW, third)):
        work = switcher(pipeline)
        work.start(TEXT_SPACE, encoder.encoder_id, encoder.dimension)
        pipeline.upload(f"{number}/1.dcm", slice_of(series=f"m{number}"))
        pipeline.settle(process)
        work.switch(TEXT_SPACE, encoder.encoder_id, text_vectors(encoder))
        pipeline.upload(f"{number}/2.dcm", slice_of(series=f"n{number}"))
        pipeline.settle(process)
        assert_found_by(pipeline, encoder)
    assert len(pipeline.live()) == 6
    assert pipeline.problems() == []
