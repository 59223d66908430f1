"""The worker's loop with an image model: BiomedCLIP's architecture, small, weights made here."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from gpu_worker.encoders.biomedclip import load_biomedclip
from gpu_worker.encoders.torch_image import TorchImageEncoder
from gpu_worker.halving import Halving
from gpu_worker.loop import WorkerSettings, batches
from indexer_core.pixels.recipe import PixelRecipe
from tests.support.clip_directory import make_clip_directory
from tests.support.pipeline import Inline, Pipeline, slice_of

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)

N_SERIES = 6
ATOL = 5e-4
"""Vectors are stored as fp16."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return make_clip_directory(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def tower(directory):
    return load_biomedclip(directory).image


def filled(tower, device="cpu"):
    house = Pipeline()
    house.image_encoder = TorchImageEncoder(tower, recipe=PixelRecipe(), device=device)
    encoder_id = house.image_encoder.encoder_id
    house.describer = replace(house.describer, image_encoder_id=encoder_id)
    for number in range(N_SERIES):
        pixels = np.random.default_rng(number).integers(0, 100 * (number + 1), 256, np.uint16)
        house.upload(f"{number}.dcm", slice_of(series=str(number), PixelData=pixels.tobytes()))
    process = house.process()
    process.events()
    house.clock.advance(700.0)
    process.checks()
    return house


def worked_out(house, *, together, ahead, threads):
    limits = WorkerSettings(batch=2, ahead=ahead)
    worker = house.process().worker(threads=threads, settings=limits, together=Halving(together))
    reports = list(batches(worker))
    assert sum(report.count("indexed") for report in reports) == N_SERIES
    return reports


def vectors(house):
    reader = house.reader()
    encoder_id = house.image_encoder.encoder_id
    found = {key: reader.image_of(place, encoder_id)[0] for key, place in reader.winners()}
    assert len(found) == N_SERIES
    return np.stack([found[key] for key in sorted(found)])


@pytest.fixture(scope="module")
def one_by_one(tower):
    house = filled(tower)
    worked_out(house, together=1, ahead=0, threads=Inline())
    found = vectors(house)
    apart = np.abs(found[:, None] - found[None]).max(axis=2)
    assert apart[~np.eye(N_SERIES, dtype=bool)].min() > 10 * ATOL  # none is taken for another
    return found


def test_series_seen_together_have_the_vectors_they_have_alone(tower, one_by_one):
    house = filled(tower)
    with ThreadPoolExecutor(2) as threads:
        reports = worked_out(house, together=4, ahead=1, threads=threads)
    np.testing.assert_allclose(vectors(house), one_by_one, atol=ATOL)
    assert {report.gpu_s for report in reports} == {0.0}


def test_a_model_that_runs_out_of_memory_is_given_less_and_the_vectors_are_the_same(
    tower, one_by_one
):
    house = filled(tower)
    whole, sizes = house.image_encoder.encode, []

    def small(stacks):
        sizes.append(len(stacks))
        if len(stacks) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(stacks)

    house.image_encoder.encode = small
    worked_out(house, together=2, ahead=1, threads=Inline())
    np.testing.assert_allclose(vectors(house), one_by_one, atol=ATOL)
    assert sizes == [2, *[1] * N_SERIES]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_vectors_agree_and_its_seconds_are_told(directory, one_by_one):
    house = filled(load_biomedclip(directory).image, device="cuda")
    with ThreadPoolExecutor(2) as threads:
        reports = worked_out(house, together=4, ahead=1, threads=threads)
    assert (vectors(house) * one_by_one).sum(axis=1).min() >= 0.999
    assert all(report.gpu_s == report.seconds["see"] > 0 for report in reports)
    assert all(report.gpu_s_per_series > 0 for report in reports)
