"""Finding rows by series key: a sorted list of hashes per segment, stored with its rows.

Twelve bytes per row, used where they lie; a dictionary of keys would take two hundred. A hash may
belong to several keys, so whoever finds a row by it compares the keys as well.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
