"""Pictures of several series are seen together, and a batch tells what that cost."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from gpu_worker.loop import batches
from gpu_worker.timing import STAGES
from indexer_core.errors import UnavailableError
from indexer_core.pixels.stack import stack_of_object
from indexer_core.thumbnails import Thumbnails
from tests.support.pipeline import RETRY_S, Pipeline
from tests.support.worker_batches import (
    LONG_S,
    assemble,
    key_of,
    outcomes,
    revisions,
    worker_of,
)


@pytest.fixture
def pipeline():
    return Pipeline()


# --- What is seen together -----------------------------------------------------------------------


class SmallEye:
    """Sees `fits` series at once, on a GPU; some it refuses."""

    on_gpu = True

    def __init__(self, pipeline, fits, refuses=lambda stack: False):
        self._inner = pipeline.image_encoder
        self.encoder_id, self.dimension = self._inner.encoder_id, self._inner.dimension
        self.recipe = self._inner.recipe
        self.fits = fits
        self.refuses = refuses
        self.sizes = []

    def encode(self, stacks):
        self.sizes.append(len(stacks))
        if len(stacks) > self.fits:
            raise MemoryError
        if any(map(self.refuses, stacks)):
            raise ValueError("cannot see this")
        return self._inner.encode(stacks)


def test_out_of_memory_halves_what_is_seen_together_and_is_remembered(pipeline, caplog):
    caplog.set_level(logging.WARNING)
    assemble(pipeline, *(f"n{number}" for number in range(12)))
    eye = SmallEye(pipeline, fits=3)
    worker = worker_of(pipeline, batch=6, together=6, image_encoders=(eye,))
    found = [outcome for report in batches(worker) for outcome in outcomes(report)]
    assert found == ["indexed"] * 12
    assert eye.sizes[0] == 6
    assert max(eye.sizes[1:]) <= 3
    assert worker.together.limit == 3
    assert "out of memory error=MemoryError next=3" in caplog.text


def test_a_series_that_cannot_be_seen_does_not_sink_those_seen_with_it(pipeline):
    assemble(pipeline, *"abd")
    assemble(pipeline, "c", WindowCenter=9, RescaleIntercept=40)
    bad = stack_of_object(pipeline.inbox.get("c.dcm").data).slices
    eye = SmallEye(pipeline, fits=9, refuses=lambda stack: np.array_equal(stack, bad))
    worker = worker_of(pipeline, batch=4, together=4, image_encoders=(eye,))
    assert outcomes(next(batches(worker))) == ["failed", *["indexed"] * 3]
    assert eye.sizes == [4, 1, 1, 1, 1]
    assert sorted(revisions(pipeline)) == sorted(map(key_of, "abd"))


def test_no_model_waits_for_what_is_left_to_do_of_a_series(pipeline):
    """Describing it, and keeping its thumbnail."""
    assemble(pipeline, *"ab")
    is_second_seen = Event()
    n_seen = 0

    def before(stacks):
        nonlocal n_seen
        n_seen += len(stacks)
        if n_seen == 2:
            is_second_seen.set()

    class Slow(Thumbnails):
        def keep(self, entry, slices):
            met.append(is_second_seen.wait(LONG_S))

    met = []
    pipeline.image_encoder.before = before
    thumbnails = Slow(pipeline.index, lambda picture: b"")
    # One alone at first, then the other: what is seen together shrinks to one.
    with ThreadPoolExecutor(2) as errands:
        worker = worker_of(pipeline, batch=4, together=2, thumbnails=thumbnails, errands=errands)
        worker.together.limit = 1
        [report] = batches(worker)
    assert outcomes(report) == ["indexed"] * 2
    assert met == [True, True]


def test_what_looks_at_pixels_and_cannot_answer_is_no_series_fault(pipeline):
    assemble(pipeline, *"abc")

    def fail(_stacks):
        raise UnavailableError("the endpoint is scaling")

    pipeline.image_encoder.before = fail
    worker = worker_of(pipeline, batch=4, together=3)
    [report] = batches(worker)
    assert outcomes(report) == ["unavailable"] * 3
    assert pipeline.image_encoder.n_series == 0
    pipeline.image_encoder.before = lambda stacks: None
    pipeline.clock.advance(RETRY_S)
    assert outcomes(next(batches(worker))) == ["indexed"] * 3
    assert pipeline.rejects("series") == []


# --- What is told --------------------------------------------------------------------------------


def test_a_report_tells_where_the_time_went_and_what_the_gpu_cost(pipeline, caplog):
    caplog.set_level(logging.INFO)
    assemble(pipeline, *"abc")
    eye = SmallEye(pipeline, fits=3)
    thumbnails = Thumbnails(pipeline.index, lambda picture: picture.tobytes())
    [report] = batches(
        worker_of(pipeline, batch=3, together=3, image_encoders=(eye,), thumbnails=thumbnails)
    )
    assert tuple(report.seconds) == STAGES
    used = {name for name, seconds in report.seconds.items() if seconds > 0}
    # Texts are embedded by the writer: only an encoder that says so counts apart.
    assert used == {*STAGES} - {"texts"}
    assert report.gpu_s == report.seconds["see"]
    assert report.gpu_s_per_series == pytest.approx(report.gpu_s / 3)
    [line] = [r.getMessage() for r in caplog.records if r.getMessage().startswith("batch series=")]
    assert line.startswith("batch series=3 indexed=3 failed=0 manifest=3 elapsed_s=")
    for name in STAGES:
        assert f" {name}_s={report.seconds[name]:.3f}" in line
    assert line.endswith(f" gpu_s_per_series={report.gpu_s_per_series:.4f}")


def test_a_cpu_costs_no_gpu_seconds(pipeline):
    assemble(pipeline, "a")
    [report] = batches(worker_of(pipeline))
    assert (report.gpu_s, report.gpu_s_per_series) == (0.0, 0.0)
    assert report.seconds["see"] > 0
