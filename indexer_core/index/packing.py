"""Texts of rows, compressed one by one: any of them is read alone, in microseconds.

The texts of one column resemble each other, so all are compressed against a preset dictionary (RFC
1950, section 2.2) made of some of them. What differs from row to row and does not compress, keys
and UIDs, stands in columns of its own: in the text a control character takes its place.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeGuard

from indexer_core.errors import CorruptIndexError

_WINDOW_BYTES = 32_768  # as far back as deflate can refer
# A dictionary is stored with the file: a quarter of the texts at the most, or it costs more than
# it saves (20 records of 2 kB: 400 bytes each without, 250 with it).
_DICTIONARY_SHARE = 4
_MAX_SAMPLES = 64
_MAX_SAMPLE_BYTES = 8192  # a long one says nothing new at its end
_STRIDE = 8
_LEVEL = 6
_RAW = -15  # no header, no checksum: the file has one
_MEMORY_LEVEL = 6  # less to copy for every text, and no larger results
# JSON escapes control characters, so they never occur in a text.
_PLACES = "\x01\x02\x03\x04\x05\x06\x07\x08"
_SHORTEST = 8


def substituted(text: str, own: Sequence[str | None]) -> bytes:
    """`text` with the row's own values (at most eight) out of it, as it is compressed."""
    for place, value in zip(_PLACES, own, strict=False):
        if _stands_in(value):
            text = text.replace(value, place)
    return text.encode()


def restored(text: bytes, own: Callable[[int], str | None]) -> str:
    """The inverse of `substituted`; `own` gives a value by its number, when it is needed."""
    whole = text.decode()
    for number, place in enumerate(_PLACES):
        if place in whole:
            whole = whole.replace(place, own(number) or "")
    return whole


def sampled(n_texts: int) -> list[int]:
    """Numbers of the texts that a dictionary is made of: spread evenly, also any first part."""
    n_samples = min(n_texts, _MAX_SAMPLES)
    spread = [number * n_texts // n_samples for number in range(n_samples)]
    return [number for start in range(_STRIDE) for number in spread[start::_STRIDE]]


def dictionary_of(samples: Sequence[bytes], n_texts: int) -> bytes:
    """A dictionary for `n_texts` texts like the samples."""
    if not samples:
        return b""
    expected_bytes = n_texts * sum(map(len, samples)) // len(samples)
    limit = min(_WINDOW_BYTES, expected_bytes // _DICTIONARY_SHARE)
    return b"".join(sample[:_MAX_SAMPLE_BYTES] for sample in samples)[:limit]


class Packer:
    """Compresses texts against one dictionary."""

    def __init__(self, dictionary: bytes) -> None:
        preset = (dictionary,) if dictionary else ()
        # Copied for every text: taking a dictionary in costs more than compressing a text.
        self._ready = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _RAW, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, *preset
        )

    def pack(self, text: bytes) -> bytes:
        """The compressed form of a text from `substituted`."""
        compressor = self._ready.copy()
        return compressor.compress(text) + compressor.flush()


def unpack(packed: bytes, dictionary: bytes) -> bytes:
    """The text that was packed with this dictionary, as `substituted` left it.

    Raises
    ------
    CorruptIndexError
        It was not packed so.
    """
    preset = {"zdict": dictionary} if dictionary else {}
    try:
        return zlib.decompressobj(_RAW, **preset).decompress(packed)
    except zlib.error as error:
        raise CorruptIndexError("a row of a segment cannot be unpacked") from error


def dictionary_to_bytes(dictionary: bytes) -> bytes:
    """As it is stored."""
    return zlib.compress(dictionary)


@lru_cache(maxsize=256)  # 8 MB: as many columns of segments as are read in turn
def dictionary_from_bytes(stored: bytes) -> bytes:
    """The inverse of `dictionary_to_bytes`.

    Raises
    ------
    CorruptIndexError
        It is not a stored dictionary.
    """
    try:
        return zlib.decompress(stored)
    except zlib.error as error:
        raise CorruptIndexError("the dictionary of a segment cannot be read") from error


def _stands_in(value: str | None) -> TypeGuard[str]:
    return value is not None and len(value) >= _SHORTEST and value.isprintable()
