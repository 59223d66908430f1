"""Deflated frames, and one-bit pixels in RLE: equal to their native twins, within limits."""

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from indexer_core.pixels.decode import decode_frame, open_pixels
from indexer_core.pixels.errors import PixelError, PixelProblem, PixelsUnavailable
from indexer_core.pixels.packed import inflated_frame, unpacked_bits
from indexer_core.pixels.stack import slices_from_bytes
from tests.support.dicom import dicom_object


@cache
def sample(name):
    return Path(str(get_testdata_file(name))).read_bytes()


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def rle(*runs):
    """One segment from runs: bytes as they are, or (byte, count)."""
    body = b"".join(
        bytes((257 - run[1], run[0])) if isinstance(run, tuple) else bytes((len(run) - 1,)) + run
        for run in runs
    )
    return struct.pack("<16L", 1, 64, *[0] * 14) + body


@pytest.mark.parametrize("packing", ["deflate", "rle"])
@pytest.mark.parametrize("twin", ["liver", "liver_nonbyte_aligned"])
def test_packed_frames_equal_those_of_their_native_twin(samples, twin, packing):
    folder = next(samples.rglob("liver.dcm")).parent
    native = open_pixels((folder / f"{twin}.dcm").read_bytes())
    packed = open_pixels((folder / f"{twin}_{packing}.dcm").read_bytes())
    for frame in range(3):
        expected = decode_frame(native, frame).values
        assert expected.any()
        np.testing.assert_array_equal(decode_frame(packed, frame).values, expected)


@given(st.binary(min_size=1, max_size=500))
def test_what_was_deflated_is_inflated(data):
    assert inflated_frame(deflated(data), len(data)) == data


@given(
    st.lists(
        st.binary(min_size=1, max_size=128) | st.tuples(st.integers(0, 255), st.integers(2, 128)),
        min_size=1,
    )
)
def test_what_was_packed_in_runs_is_unpacked(runs):
    expected = b"".join(bytes((r[0],)) * r[1] if isinstance(r, tuple) else r for r in runs)
    assert unpacked_bits(rle(*runs), len(expected)) == expected


def test_a_deflated_frame_is_not_inflated_beyond_its_size():
    assert inflated_frame(deflated(bytes(50_000_000)), 1000) == bytes(1000)


@pytest.mark.parametrize("unpack", [inflated_frame, unpacked_bits])
@given(stream=st.binary(max_size=200))
def test_damaged_streams_are_a_problem_and_no_other_error(unpack, stream):
    try:
        size_bytes = len(unpack(stream, 64))
    except PixelError as error:
        problem = error.problem
    else:
        problem = None
        assert size_bytes == 64
    assert problem in {None, PixelProblem.TRUNCATED, PixelProblem.UNDECODABLE}


def test_streams_that_end_early_are_truncated():
    for cut in (deflated(bytes(range(200)))[:50], deflated(b"short")):
        with pytest.raises(PixelError, match="truncated"):
            inflated_frame(cut, 200)
    with pytest.raises(PixelError, match="truncated"):
        unpacked_bits(rle((1, 100)), 101)
    with pytest.raises(PixelError, match="undecodable"):
        unpacked_bits(struct.pack("<16L", 3, 64, *[0] * 14), 10)


def grey_in_rle(*segments):
    """An 8 x 8 object of 16 bits whose frame is in RLE, as bytes."""
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    head = struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments)))
    dataset = dcmread(BytesIO(dicom_object(Rows=8, Columns=8)))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    stream = head + b"".join(segments)
    dataset.PixelData = encapsulate([stream + bytes(len(stream) % 2)])
    dataset["PixelData"].is_undefined_length = True
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_decoder_that_panics_is_no_end_of_the_program(capfd):
    """What pylibjpeg-rle raises then is no Exception, so that nobody catches it by accident."""
    whole = bytes((257 - 64, 7))
    [image] = slices_from_bytes(grey_in_rle(whole, whole), [0])
    assert isinstance(image, np.ndarray)
    too_long = bytes((257 - 128, 7)) * 3
    [problem] = slices_from_bytes(grey_in_rle(too_long, too_long), [0])
    assert problem == PixelsUnavailable(PixelProblem.UNDECODABLE)
    assert "panicked" in capfd.readouterr().err


@given(st.integers(64, 2000), st.binary(min_size=1, max_size=6))
def test_damaged_run_lengths_give_a_slice_or_a_reason(place, noise):
    data = bytearray(sample("MR_small_RLE.dcm"))
    place += data.index(b"\xe0\x7f\x10\x00")  # within the pixel data: (7FE0,0010)
    data[place : place + len(noise)] = noise
    assert len(slices_from_bytes(bytes(data), [0])) == 1
