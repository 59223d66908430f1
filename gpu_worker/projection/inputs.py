"""What can be mapped: finite vectors, each counted once."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError

MIN_DISTINCT = 32
"""Twice the neighbours of a point: with fewer, every point is a neighbour of every other."""


def require_finite(vectors: NDArray[np.float32]) -> None:
    """Refuse vectors with NaN or infinity, and anything that is no table of float32.

    Raises
    ------
    InvalidInputError
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise InvalidInputError("a map needs vectors of float32 in the rows of a table")
    n_bad = len(vectors) - int(finite_rows(vectors).sum())
    if n_bad:
        raise InvalidInputError(
            f"{n_bad} of {len(vectors)} vectors are not finite; leave them out of the map"
        )


def finite_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows have neither NaN nor infinity."""
    return np.asarray(np.isfinite(vectors).all(axis=1))


def distinct_rows(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The first row of each distinct vector, ascending.

    Equal vectors have equal places, so fitting needs one of them; many of them would be each
    other's only neighbours.
    """
    first: dict[bytes, int] = {}
    for row, vector in enumerate(vectors):
        # + 0.0: the two zeros are equal numbers of different bytes.
        first.setdefault(blake2b((vector + 0.0).tobytes(), digest_size=16).digest(), row)
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))


def require_enough(n_distinct: int, n_vectors: int) -> None:
    """Refuse to fit a map of next to nothing.

    Raises
    ------
    InvalidInputError
    """
    if n_distinct < MIN_DISTINCT:
        raise InvalidInputError(
            f"a map needs at least {MIN_DISTINCT} different vectors, and these {n_vectors} hold "
            f"{n_distinct}; the map in force stays"
        )
