"""Image vectors made from blobs again: in order, some at a time, zeros where there is nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.seeing_again import SeenAgain
from indexer_core.errors import UnavailableError
from indexer_core.pixels.recipe import PixelRecipe


@dataclass
class Row:
    series_key: str
    image_count: int = 1


class Eye:
    encoder_id, dimension, recipe = "eye", 2, PixelRecipe()

    def __init__(self):
        self.sizes = []

    def encode(self, stacks):
        self.sizes.append(len(stacks))
        return np.array([[float(stack.sum()), 1.0] for stack in stacks], dtype=np.float32)


def slices_of(row):
    number = int(row.series_key)
    return None if number % 5 == 4 else np.full((1, 1, 1), number, dtype=np.float32)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1)), max_size=40),
    together=st.integers(1, 9),
)
def test_every_row_with_an_image_gets_its_own_vector_whatever_the_batches(threads, rows, together):
    eye = Eye()
    again = SeenAgain(eye, slices_of, threads, together=together)
    found = again([Row(str(number), count) for number, count in rows])
    shown = [number for number, count in rows if count]
    expected = [[number, 1.0] if number % 5 != 4 else [0.0, 0.0] for number in shown]
    np.testing.assert_array_equal(found, np.array(expected, np.float32).reshape(-1, 2))
    assert again.n_unseen == sum(number % 5 == 4 for number in shown)
    assert max(eye.sizes, default=0) <= together


def test_storage_that_cannot_answer_ends_it(threads):
    def unavailable(row):
        raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        SeenAgain(Eye(), unavailable, threads)([Row("1")])
