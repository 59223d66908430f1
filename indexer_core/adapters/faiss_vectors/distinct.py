"""Telling which vectors are equal, bit by bit."""

import hashlib

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 16


def digests_of(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A 128-bit digest of each row, uint64 (len(codes), 2): equal rows alone have equal ones."""
    blake2b = hashlib.blake2b
    joined = b"".join(blake2b(row, digest_size=_DIGEST_BYTES).digest() for row in codes)
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def numbered(digests: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Number distinct digests in the order in which they first occur.

    Returns
    -------
    first : ndarray of int64, shape (n_distinct,)
        Where each occurs first, ascending.
    places : ndarray of int32, shape (len(digests),)
        The number of each digest: ``digests[first[places]] == digests``.
    """
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: the first occurrence leads
    ordered = digests[order]
    leads = np.ones(len(order), np.bool_)
    leads[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    groups = np.cumsum(leads) - 1
    first = order[leads]
    ranks = np.empty(len(first), np.int32)
    ranks[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    places = np.empty(len(order), np.int32)
    places[order] = ranks[groups]
    return np.sort(first), places
