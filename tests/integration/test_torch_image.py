"""BiomedCLIP's image tower as an image encoder, on a folder with weights made here."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from gpu_worker.encoders.biomedclip import load_biomedclip
from gpu_worker.encoders.torch_image import TorchImageEncoder
from indexer_core.pixels.recipe import PixelRecipe
from tests.support.clip_directory import make_clip_directory

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return make_clip_directory(tmp_path_factory.mktemp("clip") / "model")


def encoder_of(directory, **options):
    return TorchImageEncoder(load_biomedclip(directory).image, recipe=PixelRecipe(), **options)


def stacks(seed=0):
    random = np.random.default_rng(seed)
    return [random.random((n, 48, 40), dtype=np.float32) for n in (3, 1, 2)]


def test_vectors_are_the_same_whatever_the_batches(directory):
    given = stacks()
    encoder = encoder_of(directory)
    whole = encoder.encode(given)
    assert whole.shape == (3, encoder.dimension)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    one_by_one = np.vstack([encoder.encode([stack]) for stack in given])
    np.testing.assert_allclose(whole, one_by_one, atol=1e-5)
    small = encoder_of(directory, max_images_per_batch=2)
    np.testing.assert_allclose(whole, small.encode(given), atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_series_is_the_mean_of_its_slices_and_grey_is_seen_by_all_channels(directory):
    model = load_biomedclip(directory).image
    encoder = TorchImageEncoder(model, recipe=PixelRecipe())
    stack = np.stack([np.full((32, 32), level, np.float32) for level in (0.25, 0.75)])
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (model.mean, model.std))
    images = (torch.from_numpy(stack)[:, None].expand(-1, 3, -1, -1) - mean) / std
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.module(images).mean(dim=0), dim=0)
    np.testing.assert_allclose(encoder.encode([stack])[0], expected.numpy(), atol=1e-5)


def test_the_encoder_id_names_weights_and_pixels(directory):
    encoder = encoder_of(directory)
    other = TorchImageEncoder(load_biomedclip(directory).image, recipe=PixelRecipe(rows=480))
    assert encoder.encoder_id.startswith("biomedclip-image/")
    assert encoder.encoder_id != other.encoder_id


def test_a_batch_that_does_not_fit_is_halved_until_it_does(directory):
    expected = encoder_of(directory).encode(stacks())
    encoder = encoder_of(directory)
    module, sizes = encoder._module, []

    def small_memory(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return module(images)

    encoder._module = small_memory
    np.testing.assert_allclose(encoder.encode(stacks()), expected, atol=1e-5)
    assert max(sizes) > 2
    sizes.clear()
    encoder.encode(stacks())  # what failed is not tried again
    assert max(sizes) <= 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_vectors_in_bf16_agree_with_the_cpu(directory):
    on_gpu = encoder_of(directory, device="cuda").encode(stacks())
    on_cpu = encoder_of(directory).encode(stacks())
    assert (on_gpu * on_cpu).sum(axis=1).min() >= 0.999
