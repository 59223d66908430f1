"""Hypothesis strategies for what crosses the ports."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

# Printable and not, beyond ASCII, but no lone surrogates: they are no text outside Python.
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)

_COMPONENTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\"),
    min_size=1,
    max_size=12,
).filter(lambda part: part not in {".", "..", ".tmp", ".lock"})


def blob_names() -> st.SearchStrategy[str]:
    """Names that every blob store accepts."""
    return st.lists(_COMPONENTS, min_size=1, max_size=3).map("/".join)


def row_values() -> st.SearchStrategy[dict[str, Any]]:
    """Values of a row: names to JSON scalars."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXT,
    )
    names = st.text(st.sampled_from("abcdefgh_"), min_size=1, max_size=6)
    return st.dictionaries(names, scalars, max_size=6)


@st.composite
def coarse_vectors(
    draw: st.DrawFn,
    max_vectors: int = 40,
    max_dimension: int = 6,
    dimension: int | None = None,
) -> NDArray[np.float32]:
    """float32 (n, d) of small multiples of 1/4.

    Exact in fp16, as are all their products and sums in fp32, and rich in equal rows and scores:
    any correct search gives the same answer to the last bit.
    """
    dimensions = st.integers(1, max_dimension) if dimension is None else st.just(dimension)
    shape = draw(st.tuples(st.integers(0, max_vectors), dimensions))
    quarters = draw(hnp.arrays(np.int8, shape, elements=st.integers(-4, 4)))
    return quarters.astype(np.float32) / np.float32(4)
