"""Every transfer syntax of the sample files is decoded to what other decoders make of it."""

import pytest

from docs import decoding_table
from docs.decoding_table import BEGIN, END, PAGE, WHY, page_part, renewed, tried


@pytest.fixture(scope="module")
def outcome(samples):
    return tried(samples)


def test_every_sample_is_decoded_to_its_reference_or_is_known_to_be_damaged(outcome):
    _, undecoded = outcome
    assert {found.path.rpartition("/")[2] for found in undecoded} <= set(WHY)
    assert not [found for found in undecoded if "reference" in found.problem]


def test_every_transfer_syntax_is_decoded_by_something(outcome):
    rows, _ = outcome
    assert len(rows) == 16
    assert all(row.references and sum(row.right.values()) for row in rows)


def test_no_codec_gives_other_values_than_the_reference(outcome):
    rows, _ = outcome
    damaged = {"1.2.840.10008.1.2.1": 2, "1.2.840.10008.1.2.4.51": 1, "1.2.840.10008.1.2.4.91": 1}
    for row in rows:
        assert max(row.right.values()) == row.n_files - damaged.get(row.syntax, 0), row


def test_the_table_on_the_page_is_the_one_that_the_files_give(outcome):
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert renewed(page, page_part(*outcome)) == page


def test_a_wrong_value_is_noticed(samples, monkeypatch):
    path, syntax = next(
        (path, syntax)
        for path, syntax in decoding_table.samples(samples)
        if path.endswith("MR_small_RLE.dcm")
    )
    decode = decoding_table.decode_frame

    def off_by_one(source, frame, codec=""):
        found = decode(source, frame, codec)
        found.values[0, 0] += 1
        return found

    monkeypatch.setattr(decoding_table, "decode_frame", off_by_one)
    monkeypatch.setattr(decoding_table, "samples", lambda _folder: [(path, syntax)])
    _, [found] = tried(samples)
    assert found.problem == "other values than the reference"
