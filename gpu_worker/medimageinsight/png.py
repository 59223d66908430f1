"""A prepared slice as a PNG file: 8-bit grey, as MedImageInsight takes its pictures."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS = 8
_GREY = 0
_LEVEL = 6


def png_bytes(image: NDArray[np.float32]) -> bytes:
    """The file of one picture; equal pictures give equal files.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns), values in [0, 1]
    """
    grey = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    rows, columns = grey.shape
    header = struct.pack(">IIBBBBB", columns, rows, _BITS, _GREY, 0, 0, 0)
    # Every line begins with its filter: none.
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)
    lines[:, 1:] = grey
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
