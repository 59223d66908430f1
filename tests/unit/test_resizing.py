"""Slices are resized: what is kept, and what of it is exact."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.pixels.resizing import resize


def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks():
    image = np.random.default_rng(0).random((64, 96), dtype=np.float32)
    blocks = image.reshape(16, 4, 24, 4).mean(axis=(1, 3))
    assert np.allclose(resize(image, (16, 24)), blocks, atol=1e-6)


def test_shrinking_keeps_the_mean_for_any_factor():
    image = np.random.default_rng(1).random((301, 517), dtype=np.float32)
    assert abs(resize(image, (256, 256)).mean() - image.mean()) < 1e-5


def test_enlarging_interpolates_between_the_centres_of_pixels():
    enlarged = resize(np.array([[0.0, 1.0]], dtype=np.float32), (1, 4))
    assert np.allclose(enlarged, [[0.0, 0.25, 0.75, 1.0]])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_resizing_keeps_the_range_and_constants(rows, columns, new_rows, new_columns):
    image = np.random.default_rng(rows * 41 + columns).random((rows, columns), dtype=np.float32)
    resized = resize(image, (new_rows, new_columns))
    assert resized.shape == (new_rows, new_columns)
    assert resized.dtype == np.float32
    assert resized.flags.c_contiguous
    assert image.min() <= resized.min() <= resized.max() <= image.max()
    constant = np.full((rows, columns), 0.3, dtype=np.float32)
    assert np.array_equal(
        resize(constant, (new_rows, new_columns)),
        np.full((new_rows, new_columns), 0.3, dtype=np.float32),
    )
