"""The rows file: what was written comes back, by row and by column, in every format version."""

import json

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from indexer_core.errors import CorruptIndexError
from indexer_core.filters import apply_filter, parse_filter
from indexer_core.index.columns import filter_column
from indexer_core.index.keys import hashes_of, key_index
from indexer_core.index.packing import (
    Packer,
    dictionary_from_bytes,
    dictionary_of,
    dictionary_to_bytes,
    restored,
    sampled,
    substituted,
    unpack,
)
from indexer_core.index.rows import (
    IndexRow,
    RowTexts,
    column_of,
    concatenate_rows,
    key_index_of,
    record_at,
    row_at,
    rows_of,
    rows_to_bytes,
    table_of,
    table_of_rows,
)
from tests.conftest import ROOT
from tests.support.segments import row

FORMATS = ROOT / "tests" / "formats"
SERIES = [f"1.2.840.{number}.4711" for number in range(6)]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.sampled_from(["", "unknown", "CT", "MR", "Größe", "a\nb", "\x01", "1.2.840.0.4711"])


@st.composite
def index_rows(draw):
    key = draw(st.sampled_from(SERIES) | texts)
    if draw(st.booleans()):
        return IndexRow(
            series_key=key, revision=draw(st.integers(1, 2**40)), recipe=1, write_id="w",
            digest="d", alive=False,
        )  # fmt: skip
    record = {
        "seriesInstanceUid": draw(st.none() | st.sampled_from(SERIES)),
        "patientKey": draw(st.none() | st.just("f" * 64) | texts),
        "modality": draw(st.none() | names),
        "model": draw(st.none() | texts),
        "sliceThicknessMm": draw(st.none() | st.floats(0, 100)),
        "instances": draw(st.none() | st.integers(0, 9)),
        "hasPixels": draw(st.none() | st.booleans()),
        "sequence": draw(st.lists(names, max_size=3)),
        "texts": draw(st.lists(texts | st.sampled_from(SERIES), max_size=5)),
        "evidence": {"texts": draw(texts), "key": key},
    }
    return IndexRow(
        series_key=key,
        revision=draw(st.integers(1, 9)),
        recipe=draw(st.integers(1, 9)),
        write_id=draw(st.sampled_from(["w1", "w2"])),
        digest=draw(texts),
        alive=True,
        record=record,
        facts={"uids": [record["seriesInstanceUid"], key], "text": draw(texts)},
        blobs=tuple(draw(st.lists(texts, max_size=3))),
        text_count=len(record["texts"]),
        image_count=1,
    )


def a_table(rows):
    return table_of(rows_to_bytes(rows), "rows")


@pytest.mark.parametrize("table_of_these", [a_table, table_of_rows])
@given(st.lists(index_rows(), max_size=12))
def test_rows_come_back_as_they_were_written(table_of_these, rows):
    table = table_of_these(rows)
    assert list(rows_of(table)) == rows
    assert [row_at(table, number) for number in range(len(rows))] == rows
    reader = RowTexts(table)
    for number, each in enumerate(rows):
        assert record_at(table, number) == (each.record or {})
        assert reader.blobs(number) == each.blobs
        assert reader.facts(number) == each.facts
        assert list(reader.texts(number)) == ([] if each.record is None else each.record["texts"])


@given(st.lists(index_rows(), max_size=12), st.data())
def test_rows_of_several_files_are_joined_as_they_are(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    parts, expected = [], []
    for some in (rows[:cut], rows[cut:]):
        numbers = data.draw(st.lists(st.integers(0, len(some) - 1), unique=True)) if some else []
        parts.append((a_table(some), np.array(numbers, dtype=np.int64)))
        expected += [some[number] for number in numbers]
    joined = concatenate_rows(parts)
    assert list(rows_of(table_of(joined, "joined"))) == expected
    assert joined == rows_to_bytes(expected)
    order = data.draw(st.permutations(range(len(expected))))
    ordered = concatenate_rows(parts, np.array(order, dtype=np.int64))
    assert ordered == rows_to_bytes([expected[number] for number in order])


def test_joining_leaves_no_trace_of_rows_that_were_left_out():
    kept, dropped = row("kept", 1, "w1"), row("dropped-series", 2, "w-dropped")
    record = {**dropped.record, "model": "PLANTED-MODEL", "flags": ["planted-flag"]}
    dropped = IndexRow(**{name: getattr(dropped, name) for name in IndexRow.__slots__
                          if name != "record"}, record=record)  # fmt: skip
    joined = concatenate_rows([(a_table([kept, dropped]), np.array([0]))])
    table = table_of(joined, "joined")
    metadata = [value for name, value in table.schema.metadata.items() if name != b"format_version"]
    everything = joined + b"".join(dictionary_from_bytes(value) for value in metadata)
    for planted in (b"dropped", b"PLANTED", b"planted"):
        assert planted not in everything


def test_a_file_of_format_1_is_read_filtered_and_joined():
    old = table_of((FORMATS / "rows-v1.parquet").read_bytes(), "old")
    rows = list(rows_of(old))
    assert [each.series_key for each in rows] == [f"series-{number}" for number in range(5)]
    assert rows[0].blobs == ("file:///a.dcm", "file:///b.dcm")
    assert [each.alive for each in rows] == [True, True, False, True, True]
    new = table_of(concatenate_rows([(old, np.arange(5))]), "new")
    assert list(rows_of(new)) == rows
    for text in ("modality=CT", "sequence=flair", "ageYears>=40", "instances=1", "model=unknown"):
        condition = parse_filter(text)
        before, after = (
            apply_filter([filter_column(column_of(table, condition.field))], condition)
            for table in (old, new)
        )
        assert before.passed.tolist() == after.passed.tolist(), text
        assert before.unknown.tolist() == after.unknown.tolist(), text
    assert key_index_of(old).rows.tolist() == key_index_of(new).rows.tolist()


def test_a_newer_format_is_refused_by_name():
    table = a_table([row("s", 1, "w")])
    newer = table.replace_schema_metadata({**table.schema.metadata, b"format_version": b"3"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, newer.schema) as writer:
        writer.write_table(newer)
    with pytest.raises(CorruptIndexError, match="some-file: format_version 3"):
        table_of(sink.getvalue().to_pybytes(), "some-file")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"ARROW1\0\0", b"x" * 500])
def test_what_is_no_rows_file_is_refused_by_name(data):
    with pytest.raises(CorruptIndexError, match="some-file"):
        table_of(data, "some-file")


def test_an_arrow_file_of_other_columns_is_refused():
    table = pa.table({"a": [1]}).replace_schema_metadata({b"format_version": b"2"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CorruptIndexError, match="some-file"):
        table_of(sink.getvalue().to_pybytes(), "some-file")


def test_opening_a_file_copies_none_of_its_columns():
    data = rows_to_bytes([row(f"series-{number}", 1, "w") for number in range(2000)])
    before = pa.total_allocated_bytes()
    table = table_of(memoryview(data), "rows")
    assert table.get_total_buffer_size() > 200_000
    assert pa.total_allocated_bytes() - before < 10_000


def test_texts_of_many_rows_take_far_less_room_than_alone():
    rows = [row(f"{number:064x}", 1, "w") for number in range(200)]
    alone = sum(len(rows_to_bytes([each])) for each in rows[:1])
    packed = a_table(rows).column("record").nbytes / len(rows)
    assert packed < len(json.dumps(rows[0].record)) / 6
    assert len(rows_to_bytes(rows)) / len(rows) < alone / 10


@given(st.lists(st.tuples(texts, texts, texts), max_size=8))
def test_texts_are_unpacked_as_they_were_packed(triples):
    packable = [substituted(json.dumps(text), own) for text, *own in triples]
    dictionary = dictionary_of([packable[number] for number in sampled(len(triples))], 50)
    packer = Packer(dictionary)
    stored = dictionary_from_bytes(dictionary_to_bytes(dictionary))
    for (text, *own), each in zip(triples, packable, strict=True):
        back = unpack(packer.pack(each), stored)
        assert json.loads(restored(back, lambda place, own=own: own[place])) == text


@pytest.mark.parametrize("n_texts", [0, 1, 7, 64, 65, 1000])
def test_samples_are_some_of_the_texts_from_all_over(n_texts):
    numbers = sampled(n_texts)
    assert len(set(numbers)) == len(numbers) == min(n_texts, 64)
    assert all(0 <= number < n_texts for number in numbers)
    if n_texts == 1000:
        assert max(numbers[:8]) - min(numbers[:8]) > 800


def test_unpacking_with_another_dictionary_is_told():
    text = substituted('{"a": "some text that is long enough"}', ())
    packed = Packer(text).pack(text)
    with pytest.raises(CorruptIndexError):
        unpack(packed, b"")
    with pytest.raises(CorruptIndexError):
        dictionary_from_bytes(b"no dictionary")


@given(st.lists(st.sampled_from(SERIES) | texts), st.lists(st.sampled_from(SERIES) | texts))
@settings(max_examples=200)
def test_rows_are_found_by_the_hash_of_their_key(keys, wanted):
    hashes = np.unique(hashes_of(wanted))
    places, rows = key_index(keys).find(hashes)
    found = {(int(hashes[place]), int(row)) for place, row in zip(places, rows, strict=True)}
    number_of = {key: int(hashes_of([key])[0]) for key in {*keys, *wanted}}
    expected = {(number_of[key], row) for row, key in enumerate(keys) if key in set(wanted)}
    assert found == expected
    assert len(rows) == len(expected)
