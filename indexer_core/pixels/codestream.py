"""What a compressed frame itself says of its size, read before a decoder allocates for it.

A decoder sizes its output by the compressed stream and not by the DICOM header, so a harmless
header may carry a decompression bomb. Markers: ITU-T T.81 B.1.1.3 and B.2.2 (JPEG), ITU-T T.87
C.2.2 (JPEG-LS), ITU-T T.800 A.5.1 (JPEG 2000, whose SIZ segment HTJ2K shares).
"""

import struct

_JPEG_START = b"\xff\xd8"
_J2K_START = b"\xff\x4f\xff\x51"
_JPEG_LS_FRAME = 0xF7
_NOT_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def announced_values(stream: bytes) -> int | None:
    """Number of sample values (rows x columns x components) that a compressed frame announces.

    Returns None for streams that are neither JPEG, JPEG-LS nor JPEG 2000, and for damaged ones.
    """
    try:
        if stream.startswith(_JPEG_START):
            return _jpeg_values(stream)
        start = stream.find(_J2K_START)
        return _j2k_values(stream, start) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def _jpeg_values(stream: bytes) -> int | None:
    place = 2
    while place < len(stream):
        if stream[place] != 0xFF:
            return None
        marker = stream[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _STANDALONE:
            place += 2
        elif _is_frame_header(marker):
            rows, columns, components = struct.unpack_from(">HHB", stream, place + 5)
            return int(rows * columns * components)
        else:
            place += 2 + struct.unpack_from(">H", stream, place + 2)[0]
    return None


def _is_frame_header(marker: int) -> bool:
    return marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES)


def _j2k_values(stream: bytes, start: int) -> int:
    # SOC, SIZ, Lsiz, Rsiz, then Xsiz Ysiz XOsiz YOsiz, four tile values, Csiz.
    x1, y1, x0, y0 = struct.unpack_from(">4I", stream, start + 8)
    (components,) = struct.unpack_from(">H", stream, start + 40)
    return int(max(0, x1 - x0) * max(0, y1 - y0) * components)
