"""Columns as filters read them: each distinct text once, and for every row which of them it has."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterColumn:
    """A column of a rows table.

    values
        What is looked at: the values in row order, or each distinct one, with null as the last.
    codes : ndarray of int32, shape (n_items,), or None
        Which of the values each row has, or each item of its lists; None where they are in order.
    offsets : ndarray of int32, shape (n_rows + 1,), or None
        Where the items of each row begin; None where the column holds no lists.
    """

    values: pa.Array
    codes: NDArray[np.int32] | None = None
    offsets: NDArray[np.int32] | None = None

    @property
    def n_items(self) -> int:
        """Number of rows, or of items of all lists."""
        return len(self.values if self.codes is None else self.codes)


def filter_column(column: pa.Array) -> FilterColumn:
    """A column of a table of any format version."""
    if pa.types.is_list(column.type):
        items = filter_column(column.values)
        return FilterColumn(
            values=items.values, codes=items.codes, offsets=column.offsets.to_numpy()
        )
    if not pa.types.is_dictionary(column.type):
        return FilterColumn(values=column)
    distinct, indices = column.dictionary, column.indices
    if indices.null_count:
        indices = pc.fill_null(indices, len(distinct))
    values = pa.concat_arrays([distinct, pa.nulls(1, distinct.type)])
    return FilterColumn(values=values, codes=indices.to_numpy())
