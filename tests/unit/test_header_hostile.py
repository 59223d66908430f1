"""Whatever the bytes are, a header ends as facts or as a reject."""

import json
import tracemalloc
from pathlib import Path
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from indexer_core.facts import to_json
from indexer_core.header import BytesSource, InstanceFacts, Rejected, read_header

SMALL_FILES = (
    "CT_small.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "ExplVR_BigEndNoMeta.dcm",
    "rtstruct.dcm",
    "UN_sequence.dcm",
    "test-SR.dcm",
    "MR_small_implicit.dcm",
)
PREAMBLE = b"\0" * 128 + b"DICM"
ITEM, ITEM_END, SEQUENCE_END = (
    pack("<HHL", 0xFFFE, element, length)
    for element, length in ((0xE000, 0xFFFFFFFF), (0xE00D, 0), (0xE0DD, 0))
)


def outcome(data):
    found = read_header(BytesSource(data), b"test")
    assert isinstance(found, InstanceFacts | Rejected)
    if isinstance(found, InstanceFacts):
        assert len(json.dumps(to_json(found), allow_nan=False)) < 32 * 1024
    return found


@pytest.fixture(scope="module")
def small_files():
    contents = []
    for name in SMALL_FILES:
        path = get_testdata_file(name, download=False)
        if path is not None:
            contents.append(Path(path).read_bytes()[:20_000])
    assert len(contents) > 3
    return contents


EDITS = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.sampled_from(["byte", "undefined", "huge", "delete", "repeat", "vr"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=20,
)


def edited(data, edits, end):
    data = bytearray(data)
    for at, kind, value in edits:
        if kind == "byte":
            data[at : at + 1] = bytes([value])
        elif kind == "undefined":
            data[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == "huge":
            data[at : at + 4] = b"\xff\xff\xff\x7f"
        elif kind == "delete":
            del data[at : at + value]
        elif kind == "repeat":
            data[at:at] = data[at : at + value]
        else:
            data[at : at + 2] = (b"SQ", b"UN", b"OB", b"FD", b"DS", b"PN", b"XX")[value % 7]
    return bytes(data[: max(0, len(data) - end)])


@given(st.data(), EDITS, st.integers(0, 20_000))
def test_damaged_files_end_as_facts_or_rejects(small_files, data, edits, end):
    outcome(edited(data.draw(st.sampled_from(small_files)), edits, end))


@given(st.binary(max_size=600))
@example(b"\x08\x00\x05\x00CS")
@example(b"\x08\x00\x05\x00CS\x04\x00\\\\\\\\")
def test_arbitrary_bytes_end_as_facts_or_rejects(data):
    outcome(data)
    outcome(PREAMBLE + data)


def explicit(group, element, vr, value):
    if vr in (b"SQ", b"OB", b"UN"):
        return pack("<HH2sHL", group, element, vr, 0, len(value)) + value
    return pack("<HH2sH", group, element, vr, len(value)) + value


def test_nesting_forty_thousand_deep_is_walked_without_recursion():
    deep = (pack("<HH2sHL", 8, 0x2218, b"SQ", 0, 0xFFFFFFFF) + ITEM) * 40_000
    named = explicit(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0")
    facts = outcome(PREAMBLE + named + deep)
    assert "truncatedHeader" in facts.flags
    closed = deep + (ITEM_END + SEQUENCE_END) * 40_000
    facts = outcome(PREAMBLE + named + closed + explicit(8, 0x1030, b"LO", b"Head"))
    assert facts.attributes["StudyDescription"] == "Head"


def test_a_value_larger_than_the_file_is_never_allocated():
    named = explicit(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0")
    hostile = named + pack("<HH2sHL", 8, 0x1030, b"UN", 0, 0x7FFFFFF0)
    tracemalloc.start()
    try:
        facts = outcome(PREAMBLE + hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "truncatedHeader" in facts.flags
    assert peak < 1 << 20


def test_very_long_texts_and_lists_are_cut():
    named = explicit(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.66.4")
    labels = b"".join(
        pack("<HHL", 0xFFFE, 0xE000, 4 + 8 + 2000)
        + pack("<HH2sHL", 0x62, 5, b"UT", 0, 2000)
        + bytes([200 + index % 50]) * 2000
        for index in range(60)
    )
    facts = outcome(PREAMBLE + named + explicit(0x62, 2, b"SQ", labels))
    assert len(facts.attributes["SegmentLabel"]) == 16
    assert max(map(len, facts.attributes["SegmentLabel"])) == 128


def test_control_and_direction_characters_never_reach_an_attribute():
    named = explicit(8, 5, b"CS", b"ISO_IR 192") + explicit(8, 0x16, b"UI", b"1.2.840.10008.1\0")
    text = "Hea\u202ed\x00 \x1b[31mMRI\u200b\n".encode()
    facts = outcome(PREAMBLE + named + explicit(8, 0x1030, b"LO", text))
    assert facts.attributes["StudyDescription"].isprintable()
