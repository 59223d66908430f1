"""Slices by more than one recipe: each who looks gets its own, and no object is fetched twice."""

from collections import Counter

import numpy as np
import pytest

from gpu_worker.halving import Halving
from gpu_worker.loop import WorkerSettings, batches
from gpu_worker.seeing_again import slices_by
from indexer_core.anatomy import Anatomy
from indexer_core.descriptor import ImageDescriptor
from indexer_core.facts import InstanceFacts
from indexer_core.pixels import (
    PixelError,
    PixelProblem,
    PixelRecipe,
    PixelSource,
    PixelsUnavailable,
    stack_of,
    stacks_of,
)
from indexer_core.thumbnails import Thumbnails
from tests.support.convinced import Convinced, convinced_classifier
from tests.support.pipeline import VISIBILITY_S, Pipeline, slice_of

DEFAULT = PixelRecipe()
LARGE = PixelRecipe(rows=480, columns=480)
MR = "1.2.840.10008.5.1.4.1.1.4"


# --- The stacks of a series ----------------------------------------------------------------------


def source(number, fetch):
    facts = InstanceFacts(
        sop_instance_uid=str(number),
        series_instance_uid="1",
        study_instance_uid="1",
        sop_class_uid="1",
        transfer_syntax_uid="1",
        patient_key="",
        frames=1,
        has_pixels=True,
        attributes={},
        position_mm=float(number),
    )
    return PixelSource(facts=facts, fetch=lambda: fetch(number))


def sources(n, fetched):
    def fetch(number):
        fetched.append(number)
        return slice_of(RescaleIntercept=-1000 + 90 * number, RescaleSlope=4)

    return [source(number, fetch) for number in range(n)]


@pytest.mark.parametrize(
    ("recipes", "chosen"),
    [
        ((DEFAULT, LARGE), [2, 4, 6]),
        ((DEFAULT, PixelRecipe(n_slices=5, central_share=1.0, rows=32)), [0, 2, 4, 6, 8]),
        ((LARGE,), [2, 4, 6]),
    ],
)
def test_each_recipe_has_the_stack_it_has_alone_and_each_object_is_fetched_once(recipes, chosen):
    fetched = []
    anatomy = Anatomy(region="chest")
    found = stacks_of(sources(9, fetched), recipes, anatomy=anatomy)
    assert sorted(fetched) == chosen
    assert tuple(found) == recipes
    for recipe in recipes:
        alone = stack_of(sources(9, []), recipe, anatomy=anatomy)
        np.testing.assert_array_equal(found[recipe].slices, alone.slices)
        assert found[recipe].slices.shape == (recipe.n_slices, recipe.rows, recipe.columns)
        assert found[recipe].slices.nbytes == recipe.stack_bytes
    other = stacks_of(sources(9, []), recipes)  # through the window for soft tissue
    assert not np.array_equal(other[recipes[-1]].slices, found[recipes[-1]].slices)


def test_an_object_is_done_with_before_the_next_one_is_fetched():
    order = []

    def fetch(number):
        order.append(number)
        return b"an object"

    def decode(data, frames, recipe, limits):
        order.append(f"{recipe.rows}")
        return [np.zeros((recipe.rows, recipe.columns), np.float32)] * len(frames)

    stacks_of([source(n, fetch) for n in range(2)], (DEFAULT, LARGE), decode=decode)
    assert order == [0, "256", "480", 1, "256", "480"]


def test_an_object_that_cannot_be_had_is_missing_from_every_stack():
    def refuse(_number):
        raise PixelError(PixelProblem.TOO_LARGE)

    bad = source(2, refuse)
    for stack in stacks_of([*sources(2, []), bad], (DEFAULT, LARGE)).values():
        assert len(stack.slices) == 2
        assert stack.problems == (PixelProblem.TOO_LARGE,)
    unavailable = PixelsUnavailable(PixelProblem.TOO_LARGE)
    assert stacks_of([bad], (DEFAULT, LARGE)) == {DEFAULT: unavailable, LARGE: unavailable}


# --- The worker ----------------------------------------------------------------------------------


class LargeEye(Convinced):
    """Wants large slices, and keeps the shapes of those that it gets."""

    recipe = LARGE

    def __init__(self):
        super().__init__("brain axial")
        self.shapes = Counter()

    def encode_slices(self, slices):
        self.shapes.update(image.shape for image in slices)
        return super().encode_slices(slices)


@pytest.fixture
def eye():
    return LargeEye()


def assembled(*series, **more):
    """A pipeline with series of five slices that wait for the worker."""
    pipeline = Pipeline()
    for name in series:
        for number in range(1, 6):
            words = {"SeriesDescription": "series 7", "value": 40 * number, **more}
            data = slice_of(series=name, instance=number, **words)
            pipeline.upload(f"{name}/{number}.dcm", data)
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    return pipeline


def worked(pipeline, **changes):
    [report] = batches(pipeline.process(**changes).worker())
    return sorted(report.outcomes.values())


def reads_of(pipeline):
    """Counts the reads of each blob from now on."""
    read, inner = Counter(), pipeline.inbox.get_range

    def get_range(name, *arguments, **more):
        read[name] += 1
        return inner(name, *arguments, **more)

    pipeline.inbox.get_range = get_range
    return read


def shapes_described(pipeline):
    shapes = Counter()
    pipeline.image_encoder.before = lambda stacks: shapes.update(stack.shape for stack in stacks)
    return shapes


def image_vector(pipeline):
    reader = pipeline.reader()
    [(_, place)] = reader.winners()
    return reader.image_of(place, ImageDescriptor().encoder_id)[0]


def test_the_model_gets_its_size_and_the_vector_of_the_descriptor_is_what_it_was(eye):
    plain, both = assembled("ct"), assembled("ct")
    worked(plain)
    shapes, read = shapes_described(both), reads_of(both)
    assert worked(both, classifier=convinced_classifier(eye)) == ["indexed"]
    assert eye.shapes == {(480, 480): 3}
    assert shapes == {(3, 256, 256): 1}
    assert read == {"ct/2.dcm": 1, "ct/3.dcm": 1, "ct/4.dcm": 1}
    assert image_vector(both).tobytes() == image_vector(plain).tobytes()
    [row] = both.live().values()
    assert row.record["bodyRegion"] == "head"


def test_the_descriptor_is_the_encoder_that_it_was():
    assert ImageDescriptor().encoder_id == "image-descriptor/1/px2-a1b4a2820933"


def test_slices_are_not_prepared_for_a_model_that_is_not_asked(eye):
    pipeline = assembled("mr", SOPClassUID=MR)
    prepared = []
    process = pipeline.process(classifier=convinced_classifier(eye))
    worker = process.worker()

    def decode(data, frames, recipe, limits):
        prepared.append(recipe.rows)
        return worker.decode(data, frames, recipe, limits)

    assert [r.count("indexed") for r in batches(process.worker(decode=decode))] == [1]
    assert prepared == [256] * 3
    assert eye.n_slices == 0


def test_a_thumbnail_is_the_same_with_a_model_and_without(eye):
    kept = []
    for classifier in (None, convinced_classifier(eye)):
        pipeline = assembled("ct")
        thumbnails = Thumbnails(pipeline.index, lambda picture: picture.tobytes())
        worked(pipeline, classifier=classifier, thumbnails=thumbnails)
        [name] = [entry.name for entry in pipeline.index.list("thumbnails/")]
        kept.append(pipeline.index.get(name).data)
    assert kept[0] == kept[1]
    assert len(kept[0]) == 128 * 128


def test_a_series_that_one_of_them_cannot_be_given_is_indexed_without_pixels(eye):
    pipeline = assembled("ct")
    process = pipeline.process(classifier=convinced_classifier(eye))
    worker = process.worker()

    def decode(data, frames, recipe, limits):
        if recipe.rows == LARGE.rows:
            return [PixelsUnavailable(PixelProblem.TOO_SLOW)] * len(frames)
        return worker.decode(data, frames, recipe, limits)

    assert [r.count("indexed") for r in batches(process.worker(decode=decode))] == [1]
    [row] = pipeline.live().values()
    assert "pixelsUnavailable" in row.record["flags"]
    assert eye.n_slices == pipeline.image_encoder.n_series == 0


@pytest.mark.parametrize(("recipe", "n_loaded"), [(DEFAULT, 7), (LARGE, 2 + 2)])
def test_fewer_series_wait_to_be_seen_where_their_slices_are_larger(eye, recipe, n_loaded):
    """As many as the memory holds: ten stacks of the default size, or two series with both."""
    pipeline = assembled(*"abcdefg")
    eye.recipe = recipe
    settings = WorkerSettings(
        batch=7, visibility_s=VISIBILITY_S, loaded_bytes=10 * DEFAULT.stack_bytes
    )
    process = pipeline.process(classifier=convinced_classifier(eye))
    read, waiting = reads_of(pipeline), []
    pipeline.image_encoder.before = lambda stacks: waiting.append(len(read) // 3)
    [report] = batches(process.worker(settings=settings, together=Halving(2)))
    assert report.count("indexed") == 7
    # Two of them were taken by then.
    assert waiting[0] == n_loaded


def test_a_row_is_seen_again_by_the_recipe_of_whoever_looks(eye):
    pipeline = assembled("ct")
    worked(pipeline)
    [row] = pipeline.live().values()
    worker = pipeline.process(classifier=convinced_classifier(eye)).worker()
    small, large = (slices_by(worker, recipe)(row) for recipe in (DEFAULT, LARGE))
    assert (small.shape, large.shape) == ((3, 256, 256), (3, 480, 480))
    pipeline.remove("ct/3.dcm")
    assert slices_by(worker, LARGE)(row) is None
