"""Compressed frames for which pydicom knows no decoder: deflated ones, and one-bit ones in RLE.

Both become native bytes of one frame, within the size that the header announces.
"""

import struct
import zlib

from pydicom.uid import UID

from indexer_core.pixels.errors import PixelError, PixelProblem

DeflatedImageFrameCompression = UID("1.2.840.10008.1.2.8.1")
_RLE_HEADER = struct.Struct("<16L")


def inflated_frame(stream: bytes, size_bytes: int) -> bytes:
    """Native bytes of a frame of Deflated Image Frame Compression (DICOM PS3.5 A.4.13).

    Raises
    ------
    PixelError
        The stream is damaged or too short. What is longer than the frame is not inflated.
    """
    try:
        frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream, size_bytes)
    except zlib.error as error:
        raise PixelError(PixelProblem.UNDECODABLE) from error
    return _whole(frame, size_bytes)


def unpacked_bits(stream: bytes, size_bytes: int) -> bytes:
    """Native bytes of a frame of one-bit pixels in RLE: one segment of packed bits (PS3.5 annex G).

    Raises
    ------
    PixelError
        The stream is damaged or too short.
    """
    if len(stream) < _RLE_HEADER.size:
        raise PixelError(PixelProblem.TRUNCATED)
    n_segments, start, *_ = _RLE_HEADER.unpack_from(stream)
    if n_segments != 1 or start < _RLE_HEADER.size:
        raise PixelError(PixelProblem.UNDECODABLE)
    return _whole(_unpacked(stream, start, size_bytes), size_bytes)


def _unpacked(stream: bytes, place: int, size_bytes: int) -> bytes:
    found = bytearray()
    while place < len(stream) and len(found) < size_bytes:
        length = stream[place]
        if length < 128:  # the next `length + 1` bytes as they are
            found += stream[place + 1 : place + 2 + length]
            place += 2 + length
        elif length > 128:  # the next byte, `257 - length` times
            found += stream[place + 1 : place + 2] * (257 - length)
            place += 2
        else:
            place += 1
    return bytes(found[:size_bytes])


def _whole(frame: bytes, size_bytes: int) -> bytes:
    if len(frame) < size_bytes:
        raise PixelError(PixelProblem.TRUNCATED)
    return frame
