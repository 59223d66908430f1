"""Thumbnails: what is drawn, what is not shown, and what is left of them when a row has gone."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer_core.adapters.webp import encode_webp
from indexer_core.entries import Entry
from indexer_core.errors import UnavailableError
from indexer_core.facts import SeriesFacts, to_json
from indexer_core.index.reader import Place
from indexer_core.index.write_ids import fence_at
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from indexer_core.thumbnails import (
    PREFIX,
    SIDE,
    Expiry,
    Thumbnails,
    garbage,
    may_be_shown,
    picture_of,
    thumbnail_name,
)

KEY, OTHER = "a" * 64, "b" * 64
DIGEST = "0123456789abcdef" * 4
SLICES = np.stack([np.full((256, 256), value, dtype=np.float32) for value in (0, 0.5, 1)])
CT = "1.2.840.10008.5.1.4.1.1.2"


def facts(rows=512, columns=512, sop=CT, image_type=("ORIGINAL", "PRIMARY"), **more):
    attributes = {
        "Rows": ((rows, 3),),
        "Columns": ((columns, 3),),
        "SOPClassUID": ((sop, 3),),
        "ImageType": ((image_type, 3),),
        **more,
    }
    return SeriesFacts(
        scope="s",
        series_instance_uid="1.2",
        study_instance_uid="1",
        instances=3,
        frames=3,
        has_pixels=True,
        attributes=attributes,
    )


def record(modality="CT", header="CT", flags=()):
    return {"modality": modality, "headerModality": header, "flags": list(flags)}


def entry(revision=1, said=None, known=None):
    return Entry(
        series=KEY,
        revision=revision,
        digest=DIGEST,
        record=record() if said is None else said,
        facts=to_json(facts() if known is None else known),
    )


def raw(picture):
    return picture.tobytes()


# What is drawn


@pytest.mark.parametrize(
    ("rows", "columns", "shape"),
    [
        (512, 512, (128, 128)),
        (1024, 256, (128, 32)),
        (256, 1024, (32, 128)),
        (1, 100_000, (1, 128)),
        (10, 10, (128, 128)),
    ],
)
def test_a_thumbnail_has_the_aspect_ratio_of_the_series(rows, columns, shape):
    picture = picture_of(SLICES, facts(rows, columns))
    assert picture.shape == shape
    assert max(picture.shape) == SIDE
    assert np.all(picture == 128)


def test_without_a_size_in_the_header_a_thumbnail_is_square():
    assert picture_of(SLICES, facts(Rows=(), Columns=())).shape == (128, 128)


def test_a_webp_file_holds_the_picture():
    picture = np.tile(np.arange(128, dtype=np.uint8), (96, 1))
    with Image.open(BytesIO(encode_webp(picture))) as image:
        assert image.format == "WEBP"
        assert image.size == (128, 96)
        assert not image.getexif()
        assert np.abs(np.asarray(image.convert("L"), dtype=int) - picture).mean() < 4


# What is not shown


@pytest.mark.parametrize("modality", ["US", "IVUS", "XC", "SC", "OT", "ES"])
def test_screens_photographs_and_captures_have_no_thumbnail_by_rule_or_by_header(modality):
    assert not may_be_shown(record(modality=modality), facts())
    assert not may_be_shown(record(header=modality), facts())


@pytest.mark.parametrize("sop", [f"{CT[:-1]}7", f"{CT[:-1]}7.4"])
def test_secondary_captures_have_none_whatever_modality_they_state(sop):
    assert not may_be_shown(record(), facts(sop=sop))
    assert may_be_shown(record(), facts(sop=f"{CT[:-1]}77.1.6"))


def test_the_flag_for_burned_in_text_is_followed():
    assert not may_be_shown(record(flags=["burnedInRisk"]), facts())


@pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW"])
def test_a_slide_with_a_picture_of_its_label_has_none(kind):
    assert not may_be_shown(record("SM", "SM"), facts(image_type=("ORIGINAL", "PRIMARY", kind)))
    assert may_be_shown(record("SM", "SM"), facts(image_type=("ORIGINAL", "PRIMARY", "VOLUME")))


def test_one_capture_in_a_series_is_enough():
    mixed = facts(SOPClassUID=((CT, 30), (f"{CT[:-1]}7", 1)))
    assert not may_be_shown(record(), mixed)


# Keeping


def test_a_thumbnail_lies_beside_the_index_under_series_and_revision():
    blobs = MemoryBlobs()
    assert Thumbnails(blobs, raw).keep(entry(revision=7), SLICES)
    [kept] = blobs.list()
    assert (
        kept.name
        == thumbnail_name(KEY, 7, DIGEST)
        == f"{PREFIX}aa/{KEY}-0000000007-{DIGEST[:16]}.webp"
    )
    assert blobs.get(kept.name).data == bytes([128]) * SIDE * SIDE


def test_keeping_it_again_changes_nothing():
    blobs = MemoryBlobs()
    kept = Thumbnails(blobs, raw)
    assert kept.keep(entry(), SLICES)
    etag = next(iter(blobs.list())).properties.etag
    assert kept.keep(entry(), SLICES[::-1])
    assert [found.properties.etag for found in blobs.list()] == [etag]


def test_nothing_is_kept_of_tombstones_and_of_what_may_show_text():
    blobs = MemoryBlobs()
    tombstone = Entry(series=KEY, revision=1, digest=DIGEST, record=None, facts=None)
    kept = Thumbnails(blobs, raw)
    assert not kept.keep(tombstone, SLICES)
    assert not kept.keep(entry(said=record("US")), SLICES)
    assert not list(blobs.list())


def test_a_picture_that_cannot_be_made_costs_the_thumbnail_only(caplog):
    def fail(_picture):
        raise ValueError("planted-secret")

    blobs = MemoryBlobs()
    assert not Thumbnails(blobs, fail).keep(entry(), SLICES)
    assert not list(blobs.list())
    assert "no thumbnail error=ValueError" in caplog.text
    assert "planted-secret" not in caplog.text


def test_a_store_that_cannot_answer_is_told_to_the_worker():
    class Down(MemoryBlobs):
        def put_if_absent(self, name, data):
            raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        Thumbnails(Down(), raw).keep(entry(), SLICES)


# Garbage

NOW_S, DAY_S = 1_000_000_000.0, 86_400.0
EXPIRY = Expiry(fence=fence_at(NOW_S - 7 * DAY_S), orphaned_before_s=NOW_S - 14 * DAY_S)


def write_id(age_days):
    return fence_at(NOW_S - age_days * DAY_S) + "0" * 20


def left_of(revision, winner, written_days_ago=30.0):
    """Whether a thumbnail of KEY stays."""
    clock = ManualClock()
    clock.advance(NOW_S - written_days_ago * DAY_S - clock.now_s())
    blobs = MemoryBlobs(clock)
    blobs.put_if_absent(thumbnail_name(KEY, revision, DIGEST), b"picture")
    winners = {} if winner is None else {KEY: winner}
    return not list(
        garbage(blobs, lambda keys: {k: winners[k] for k in keys if k in winners}, EXPIRY)
    )


def place(revision, age_days=30.0, *, alive=True):
    order = (revision, 1, write_id(age_days))
    return Place(segment_id="s", row=0, order=order, alive=alive)


@pytest.mark.parametrize(
    ("revision", "winner", "stays"),
    [
        (3, place(3), True),
        (3, place(3, age_days=1000), True),
        (3, place(4, age_days=6), True),
        (3, place(4, age_days=8), False),
        (3, place(4, age_days=6, alive=False), True),
        (3, place(4, age_days=8, alive=False), False),
        (3, place(3, age_days=8, alive=False), False),
    ],
)
def test_a_superseded_thumbnail_stays_as_long_as_its_row_can_be_searched(revision, winner, stays):
    assert left_of(revision, winner) == stays


@pytest.mark.parametrize("winner", [None, place(2)])
def test_a_thumbnail_waits_two_weeks_for_its_row(winner):
    assert left_of(3, winner, written_days_ago=13)
    assert not left_of(3, winner, written_days_ago=15)


def test_files_that_are_no_thumbnails_are_left_alone():
    blobs = MemoryBlobs()
    for name in (
        f"{PREFIX}readme.txt",
        f"{PREFIX}aa/{KEY}-x.webp",
        f"{PREFIX}aa/{KEY}-0000000001-0.webp",
    ):
        blobs.put_if_absent(name, b"")
    assert not list(garbage(blobs, lambda _keys: {}, EXPIRY))


@given(
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.integers(1, 5)), max_size=8, unique=True)
)
def test_of_live_series_exactly_the_live_revision_survives_a_long_time(kept):
    blobs = MemoryBlobs()
    for series, revision in kept:
        blobs.put_if_absent(thumbnail_name(series, revision, DIGEST), b"")
    winners = {KEY: place(3), OTHER: place(5)}
    doomed = {
        found.name for found in garbage(blobs, lambda keys: {k: winners[k] for k in keys}, EXPIRY)
    }
    live = {thumbnail_name(KEY, 3, DIGEST), thumbnail_name(OTHER, 5, DIGEST)}
    assert {found.name for found in blobs.list()} - doomed <= live | {
        thumbnail_name(KEY, revision, DIGEST) for revision in (4, 5)
    }
    assert not live & doomed
