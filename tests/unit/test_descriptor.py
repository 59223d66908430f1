"""The image descriptor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.descriptor import DIMENSION, ImageDescriptor, describe
from indexer_core.pixels import PixelRecipe


def disc(row, column, radius, size=256):
    y, x = np.mgrid[:size, :size]
    inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
    return inside.astype(np.float32)


def noisy(image, seed=0):
    noise = np.random.default_rng(seed).normal(scale=0.03, size=image.shape)
    return np.clip(image + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_a_valid_unit_vector(value):
    vector = ImageDescriptor().encode([np.full((1, 256, 256), value, dtype=np.float32)])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_vectors_have_the_promised_shape_type_and_length():
    vectors = ImageDescriptor().encode([disc(128, 128, 60)[None], disc(80, 90, 30)[None]])
    assert vectors.shape == (2, DIMENSION) == (2, 1024)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_stacks_give_no_rows():
    assert ImageDescriptor().encode([]).shape == (0, 1024)


def test_a_vector_does_not_depend_on_its_batch_bit_for_bit():
    stacks = [np.random.default_rng(seed).random((3, 256, 256), np.float32) for seed in range(4)]
    together = ImageDescriptor().encode(stacks)
    alone = np.vstack([ImageDescriptor().encode([stack]) for stack in stacks])
    assert together.tobytes() == alone.tobytes()
    assert together.tobytes() == ImageDescriptor().encode(stacks).tobytes()


def test_a_near_duplicate_is_nearer_than_another_image():
    image = disc(128, 100, 60)
    duplicate, other = noisy(image), noisy(disc(60, 180, 25), seed=1)
    vectors = ImageDescriptor().encode([image[None], duplicate[None], other[None]])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_slices_count_equally_whatever_their_order():
    stack = np.stack([disc(128, 128, r) for r in (20, 40, 60)])
    vectors = ImageDescriptor().encode([stack, stack[::-1]])
    assert np.allclose(vectors[0], vectors[1], atol=1e-7)


def test_the_encoder_id_names_the_recipe():
    plain = ImageDescriptor().encoder_id
    assert PixelRecipe().recipe_id in plain
    assert ImageDescriptor(PixelRecipe(n_slices=5)).encoder_id != plain


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_every_image_of_any_size_has_a_unit_vector(rows, columns, seed):
    image = np.random.default_rng(seed).random((rows, columns), dtype=np.float32).round(1)
    vector = describe(image)
    assert vector.shape == (1024,)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0)
