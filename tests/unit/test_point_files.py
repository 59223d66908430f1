"""The format of point files, and short keys."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.errors import CorruptIndexError
from indexer_core.point_files import id_bytes, ids_of, point_file
from tests.support.points import parse_points, short_keys

KEYS = st.binary(max_size=8).map(lambda seed: hashlib.sha256(seed).hexdigest())
ARRAYS = st.one_of(
    st.lists(st.integers(0, 255)).map(lambda each: np.array(each, np.uint8)),
    st.lists(st.integers(0, 65_535)).map(lambda each: np.array(each, np.uint16)),
    st.lists(st.floats(width=32, allow_nan=False)).map(lambda each: np.array(each, np.float32)),
)


@given(st.lists(KEYS), st.integers(0, 3))
def test_short_keys_are_the_first_digits_in_the_order_of_the_keys(keys, n_before):
    # Of a part of an array, as a segment gives them.
    ids = ids_of(pa.array(["x" * 64] * n_before + keys, pa.string())[n_before:])
    assert ids.dtype == np.uint64
    assert short_keys(id_bytes(ids)) == [key[:16] for key in keys]
    assert short_keys(id_bytes(np.sort(ids))) == sorted(key[:16] for key in keys)


@pytest.mark.parametrize("key", ["", "abc", "ABCDEF0123456789" * 4, "é" * 64, "g" + "0" * 63])
def test_what_is_no_series_key_has_no_short_one(key):
    with pytest.raises(CorruptIndexError):
        ids_of(pa.array(["0" * 64, key], pa.string()))


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), ARRAYS))
def test_a_file_says_what_it_was_made_of(head, arrays):
    file = parse_points(point_file(head, arrays))
    assert {name: value for name, value in file.head.items() if name != "sections"} == {
        name: value for name, value in head.items() if name != "sections"
    }
    assert list(file.sections) == list(arrays)
    for name, array in arrays.items():
        assert file.sections[name].tobytes() == array.tobytes()
        assert file.sections[name].dtype == array.dtype
