"""Explicit filters: how they are read, and what they leave out."""

import numpy as np
import pyarrow as pa
import pytest

from indexer_core.errors import InvalidInputError
from indexer_core.filters import FIELDS, apply_filter, parse_filter
from indexer_core.index.columns import filter_column

TABLE = pa.table(
    {
        "plane": ["axial", "coronal", "unknown", None],
        "ageYears": pa.array([40.0, 90.0, None, 61.0]),
        "studyDate": ["2019-05-01", "2020-01-31", None, "2018-12-31"],
        "hasPixels": pa.array([True, False, None, True]),
        "sequence": pa.array([["T1", "FLAIR"], ["T2"], [], None], pa.list_(pa.string())),
    }
)


def stored(name: str) -> pa.Array:
    """The column with its texts as a rows file has them: each distinct one once."""
    column = TABLE.column(name).chunk(0)
    if pa.types.is_list(column.type):
        return pa.ListArray.from_arrays(
            column.offsets, column.values.dictionary_encode(), mask=column.is_null()
        )
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def result(text: str):
    condition = parse_filter(text)
    return apply_filter([filter_column(TABLE.column(condition.field).chunk(0))], condition)


def passed(text: str) -> list[int]:
    return np.flatnonzero(result(text).passed).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("plane=AXIAL", [0]),
        ("plane = axial , coronal", [0, 1]),
        ("plane!=axial", [1]),
        ("plane=unknown", [2, 3]),
        ("plane=axial,unknown", [0, 2, 3]),
        ("plane!=unknown", [0, 1]),
        ("plane!=axial,unknown", [1]),
        ("ageYears>=61", [1, 3]),
        ("ageyears<61", [0]),
        ("ageYears=40,61", [0, 3]),
        ("ageYears=unknown", [2]),
        ("studyDate>=2019", [0, 1]),
        ("studyDate<=2019-05", [0, 3]),
        ("studyDate=2019", [0]),
        ("studyDate=unknown", [2]),
        ("hasPixels=true", [0, 3]),
        ("hasPixels=unknown", [2]),
        ("sequence=flair", [0]),
        ("sequence!=flair", [1]),
        ("sequence=unknown", [2, 3]),
    ],
)
def test_filter_passes_exactly_these_rows(text, rows):
    assert passed(text) == rows
    # However the rows are spread over tables, of either format.
    condition = parse_filter(text)
    whole, old = stored(condition.field), TABLE.column(condition.field).chunk(0)
    for parts in (
        [whole],
        [whole[:1], whole[1:3], whole[3:]],
        [old[:2], whole[2:]],
        [whole[:0], whole[:3], old[3:], whole[4:]],
    ):
        spread = apply_filter([filter_column(part) for part in parts], condition)
        assert np.flatnonzero(spread.passed).tolist() == rows
        assert spread.unknown.tolist() == result(text).unknown.tolist()


def test_rows_left_out_for_an_unknown_field_are_told():
    assert result("plane=axial").unknown.tolist() == [
        False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plane", "field=value"),
        ("nothing=1", FIELDS[0]),
        ("plane=", "has no value"),
        ("plane=,", "has no value"),
        ("plane>axial", "takes = or !="),
        ("ageYears>1,2", "one number"),
        ("ageYears=old", "is a number"),
        ("ageYears>=nan", "is a number"),
        ("ageYears>=inf", "is a number"),
        ("ageYears>=unknown", "write ageYears=unknown"),
        ("studyDate>=unknown", "write studyDate=unknown"),
        ("studyDate=May", "2019-05-01"),
        ("studyDate=20190501", "2019-05-01"),
        ("hasPixels=maybe", "true, false or unknown"),
        ("plane=axail", "axial, coronal, sagittal"),
        ("bodyRegion!=hed", "head, neck, chest"),
        ("contrast=with", "yes, no, unknown"),
    ],
)
def test_wrong_filter_says_what_is_right(text, said):
    with pytest.raises(InvalidInputError, match=said):
        parse_filter(text)


def test_a_part_of_a_text_is_looked_for_without_regard_to_case():
    assert passed("plane~XIA,CORO") == [0, 1]
    assert passed("plane!~xia") == [1]
    assert np.flatnonzero(result("plane!~xia").unknown).tolist() == [2, 3]
    with pytest.raises(InvalidInputError, match="looks into texts"):
        parse_filter("ageYears~6")
