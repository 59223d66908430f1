"""Finding rows by series key: a sorted list of hashes per segment, stored with its rows.

Twelve bytes per row, used where they lie; a dictionary of keys would take two hundred. A hash may
belong to several keys, so whoever finds a row by it compares the keys as well.

A short key is what a key begins with, its first 16 hexadecimal digits. Read as a number it serves
as such a hash, too: in a list of its own, made when it is first asked for.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SHORT_DIGITS = 16
"""Digits of a short key: eight bytes."""

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
_NONE: Rows = np.empty(0, dtype=np.int64)


def hashes_of(keys: Iterable[str]) -> Hashes:
    """The first eight bytes of sha256 of each key, uint64 (n,)."""
    digests = b"".join(hashlib.sha256(key.encode()).digest()[:8] for key in keys)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIndex:
    """Hashes of the keys of a segment, ascending, and the row of each: uint64 and int32 (n,)."""

    hashes: Hashes
    rows: NDArray[np.int32]

    def find(self, wanted: Hashes) -> tuple[Rows, Rows]:
        """Every pair of a wanted hash and a row that has it.

        Parameters
        ----------
        wanted : ndarray of uint64, shape (m,), ascending, none twice

        Returns
        -------
        places : ndarray of int64
            Where in `wanted`.
        rows : ndarray of int64
            The rows, beside them.
        """
        if len(self.hashes) < len(wanted):  # the shorter is looked up in the longer
            places = np.searchsorted(wanted, self.hashes)
            places[places == len(wanted)] = 0
            here = np.flatnonzero(wanted[places] == self.hashes)
            return places[here], self.rows[here].astype(np.int64)
        first = np.searchsorted(self.hashes, wanted, side="left")
        counts = np.searchsorted(self.hashes, wanted, side="right") - first
        if not counts.any():
            return _NONE, _NONE
        places = np.repeat(np.arange(len(wanted)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self.rows[np.repeat(first, counts) + within].astype(np.int64)


def key_index(keys: Sequence[str]) -> KeyIndex:
    """The index of keys in row order."""
    hashes = hashes_of(keys)
    rows = np.argsort(hashes, kind="stable").astype(np.int32)
    return KeyIndex(hashes=hashes[rows], rows=rows)


def short_numbers(keys: pa.Array) -> Hashes:
    """The short key of each key as a number, uint64 (n,).

    Of keys that do not begin with so many hexadecimal digits it is any number.

    Parameters
    ----------
    keys : Arrow array of strings, shape (n,), of 16 bytes or more each
    """
    if not len(keys):
        return np.empty(0, dtype=np.uint64)
    _, offsets, data = keys.buffers()
    starts = np.frombuffer(offsets, dtype="<i4")[keys.offset : keys.offset + len(keys)]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.frombuffer(data, dtype=np.uint8), SHORT_DIGITS
    )
    halves = windows[starts].view(">u8").astype(np.uint64)
    values = _from_hexadecimal(halves)
    return (values[:, 0] << np.uint64(32)) | values[:, 1]


def short_key_index(keys: pa.Array) -> KeyIndex:
    """The index of short keys; rows whose keys are shorter than that are not in it.

    Parameters
    ----------
    keys : Arrow array of strings, in row order
    """
    lengths = pc.binary_length(keys).to_numpy()
    rows = np.flatnonzero(lengths >= SHORT_DIGITS)
    numbers = short_numbers(keys if len(rows) == len(keys) else keys.take(pa.array(rows)))
    order = np.argsort(numbers, kind="stable")  # fast where rows are in the order of their keys
    return KeyIndex(hashes=numbers[order], rows=rows[order].astype(np.int32))


def _from_hexadecimal(texts: Hashes) -> Hashes:
    """Values of texts of eight digits each, all at once; a text is its bytes as one number."""
    number = np.uint64
    # A digit's lower four bits, and 9 more for a letter: only letters have the bit of 64.
    letters = (texts >> number(6)) & number(0x0101010101010101)
    values = (texts & number(0x0F0F0F0F0F0F0F0F)) + letters * number(9)
    for shift, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF), (16, 0xFFFFFFFF)):
        values = (values | (values >> number(shift))) & number(mask)
    return values
