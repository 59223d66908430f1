"""Objects that are far larger than their pictures: padded, or made of very many elements."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from indexer_core.pixels.decode import open_pixels
from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits
from indexer_core.pixels.stack import slices_from_bytes
from tests.support.dicom import dicom_object


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def with_many_elements(n: int) -> bytes:
    """A slice with `n` empty private elements before its pixels."""
    dataset = dcmread(io.BytesIO(dicom_object()))
    for number in range(n):
        dataset.add_new(0x00091000 | number, "LO", "")
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def seen(data: bytes, **limits: int) -> object:
    """The one slice, or the problem instead of it."""
    (found,) = slices_from_bytes(data, None, limits=PixelLimits(**limits))
    return found.problem if isinstance(found, PixelsUnavailable) else found


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"])
def test_padding_behind_the_pixels_is_not_read(name):
    data = sample(name)
    # Zeros read as elements of eight bytes each: more of them than any object may have.
    padded = data + bytes(8 * 200_001)
    np.testing.assert_array_equal(seen(padded), seen(data))
    assert len(open_pixels(padded).dataset) <= len(open_pixels(data).dataset) + 1


def test_an_object_of_too_many_elements_is_refused_on_the_way():
    assert isinstance(seen(with_many_elements(100)), np.ndarray)
    assert seen(with_many_elements(100), max_elements=99) is PixelProblem.TOO_LARGE


def test_several_transfer_syntaxes_in_one_element_count_as_none():
    data = sample("CT_small.dcm")
    stated = b"1.2.840.10008.1.2.1"
    assert data.count(stated) == 1
    np.testing.assert_array_equal(seen(data.replace(stated, b"1.2.840.10008\\1.2.1")), seen(data))
