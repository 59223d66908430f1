"""Several files searched as one: a search costs as much as that of one file of their size."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.layout import FP16_BYTES
from indexer_core.adapters.faiss_vectors.reader import FlatFp16Reader, Members, Reader
from indexer_core.errors import InvalidInputError


def joined(readers: Sequence[FlatFp16Reader], threads: int) -> Reader:
    """The vectors of each in turn; what is stored stays where it lies.

    Raises
    ------
    InvalidInputError
        There are none, or their dimensions differ.
    """
    if len({reader.dimension for reader in readers}) != 1:
        raise InvalidInputError("vector files to be joined must have one dimension")
    return readers[0] if len(readers) == 1 else JoinedReader(readers, threads)


class JoinedReader(Reader):
    """Several opened files, one after the other."""

    def __init__(self, readers: Sequence[FlatFp16Reader], threads: int) -> None:
        super().__init__(
            n_vectors=sum(reader.n_vectors for reader in readers),
            blocks=[reader.codes for reader in readers],
            threads=threads,
        )
        self._readers = readers
        self._first_places = np.cumsum([0, *(reader.n_stored for reader in readers)])

    def places(self, numbers: slice | NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Where these vectors are stored."""
        return self._places[numbers]

    def codes_at(self, places: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The bytes stored there, uint8 (len(places), 2 * dimension), a copy."""
        codes = np.empty((len(places), self.dimension * FP16_BYTES), np.uint8)
        owners = np.searchsorted(self._first_places, places, side="right") - 1
        for number in np.unique(owners):
            ours = owners == number
            codes[ours] = self._readers[number].codes_at(places[ours] - self._first_places[number])
        return codes

    @cached_property
    def members(self) -> Members | None:
        """The vectors at each place; None where vector i is stored at place i."""
        if all(reader.members is None for reader in self._readers):
            return None
        numbers, counts = [], []
        first = 0
        for reader in self._readers:
            members = reader.members
            every = np.arange(reader.n_vectors) if members is None else members.numbers
            numbers.append(every + first)
            counts.append(np.ones_like(every) if members is None else members.counts)
            first += reader.n_vectors
        return Members(np.concatenate(numbers), np.concatenate(counts))

    @cached_property
    def _places(self) -> NDArray[np.integer[Any]]:
        every = slice(None)
        return np.concatenate(
            [
                reader.places(every) + first
                for reader, first in zip(self._readers, self._first_places, strict=False)
            ]
        )
