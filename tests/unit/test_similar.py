"""Look-alikes: brute force over the image vectors is the oracle."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.pages import PageRequest
from function_app.similar import SimilarRequest, similar
from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.filters import parse_filter
from indexer_core.index.reader import Reader
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, SegmentWriter, SpaceVectors
from indexer_core.index.updates import AddSegment, Suppress
from indexer_core.selection import Conditions, select
from indexer_core.similar import pictured, without
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.many_series import add_series, shelf_of
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    TEXT,
    TEXT_DIMENSION,
    row,
    unit_vectors,
)

N = 20
KEYS = [f"s{number:03}" for number in range(N)]


def image(key, revision=1):
    return unit_vectors(f"i{key}/{revision}", 1, IMAGE_DIMENSION)[0]


def snapshot_of(shelf):
    return Reader(shelf.blobs, shelf.files).refresh()


@pytest.fixture(scope="module")
def snapshot():
    records = [
        {"modality": "CT" if n % 2 else "MR", "scope": "here" if n < 15 else "there"}
        for n in range(N)
    ]
    return snapshot_of(shelf_of(records, 3))


@settings(max_examples=30)
@given(st.sampled_from(KEYS), st.integers(1, 25), st.sampled_from([(), ("modality=CT",)]))
def test_the_nearest_images_come_first_and_the_series_itself_is_left_out(
    snapshot, key, top, filters
):
    conditions = Conditions(filters=tuple(map(parse_filter, filters)))
    request = SimilarRequest(uid=key, conditions=conditions, page=PageRequest(top=top))
    answer = similar(request, SnapshotIndex(snapshot))
    others = [k for n, k in enumerate(KEYS) if k != key and (not filters or n % 2)]
    cosines = {other: float(image(other) @ image(key)) for other in others}
    expected = sorted(others, key=lambda other: -cosines[other])
    found = [hit["seriesInstanceUid"] for hit in answer["value"]]
    assert found == expected[:top]
    assert [hit["score"] for hit in answer["value"]] == pytest.approx(
        [cosines[other] for other in found], abs=3e-3
    )
    assert answer["count"] == len(others)
    assert answer["like"] == [key]
    assert answer["imageEncoder"] == IMAGE
    assert all(hit["why"]["foundBy"] == ["pixels"] for hit in answer["value"])


def test_pages_of_look_alikes_are_one_answer(snapshot):
    request = SimilarRequest(uid=KEYS[3])
    whole = similar(replace(request, page=PageRequest(top=N)), SnapshotIndex(snapshot))
    told, token = [], None
    while len(told) < N - 1:
        page = PageRequest(top=4, token=token)
        answer = similar(replace(request, page=page), SnapshotIndex(snapshot))
        told += answer["value"]
        token = answer["nextLink"]
    assert told == whole["value"]
    assert token is None


def with_uid(uid, scopes):
    return shelf_of([{"seriesInstanceUid": uid, "scope": scope} for scope in scopes])


def test_a_uid_of_two_scopes_is_two_series_and_both_are_asked_about():
    shelf = with_uid("1.2.3", ["here", "there", "nowhere"])
    add_series(shelf, {"other": {"scope": "here"}})
    snapshot = snapshot_of(shelf)
    assert pictured(snapshot, "1.2.3").keys == ("s000", "s001", "s002")
    seen = Conditions(scopes=frozenset({"here", "there"}))
    answer = similar(SimilarRequest(uid="1.2.3", conditions=seen), SnapshotIndex(snapshot))
    assert answer["like"] == ["s000", "s001"]
    (hit,) = answer["value"]
    nearest = max(float(image("other") @ image(key)) for key in ("s000", "s001"))
    assert hit["score"] == pytest.approx(nearest, abs=3e-3)


def test_a_series_that_may_not_be_seen_is_not_there():
    shelf = with_uid("1.2.3", ["here"])
    request = SimilarRequest(uid="1.2.3", conditions=Conditions(scopes=frozenset({"there"})))
    with pytest.raises(NotFoundError):
        similar(request, SnapshotIndex(snapshot_of(shelf)))


@pytest.mark.parametrize("state", ["deleted", "removed", "unknown"])
def test_a_series_that_is_not_searchable_has_no_look_alikes(state):
    shelf = shelf_of([{}] * 3)
    if state == "deleted":
        shelf.commit(Suppress(series_keys=frozenset({"s000"})))
    if state == "removed":
        add_series(shelf, {"s000": {}}, revision=2, alive=False)
    with pytest.raises(NotFoundError):
        similar(
            SimilarRequest(uid="s000" if state != "unknown" else "s999"),
            SnapshotIndex(snapshot_of(shelf)),
        )


def test_a_series_without_an_image_is_told_so_and_is_never_found():
    shelf = shelf_of([{}] * 3)
    write_id = shelf.ids.new_id()
    blind = replace(row("blind", 1, write_id), image_count=0)
    spaces = [
        SpaceVectors(
            space=TEXT_SPACE, encoder_id=TEXT, vectors=unit_vectors("t", 5, TEXT_DIMENSION)
        ),
        SpaceVectors(
            space=IMAGE_SPACE,
            encoder_id=IMAGE,
            vectors=np.empty((0, IMAGE_DIMENSION), np.float32),
        ),
    ]
    segment = SegmentWriter(shelf.blobs, shelf.files).write(write_id, [blind], spaces)
    shelf.commit(AddSegment(segment=segment))
    snapshot = snapshot_of(shelf)
    assert snapshot.n_series == 4
    with pytest.raises(InvalidInputError, match="no image"):
        similar(SimilarRequest(uid="blind"), SnapshotIndex(snapshot))
    answer = similar(SimilarRequest(uid="s000"), SnapshotIndex(snapshot))
    assert len(answer["value"]) == answer["count"] == 2


def test_a_replaced_series_is_compared_by_what_it_is_now():
    shelf = shelf_of([{}] * 2)
    add_series(shelf, {"s000": {}}, revision=3)
    (hit,) = similar(SimilarRequest(uid="s000"), SnapshotIndex(snapshot_of(shelf)))["value"]
    assert hit["score"] == pytest.approx(float(image("s000", 3) @ image("s001")), abs=3e-3)


def test_left_out_series_leave_the_selection_as_it_was(snapshot):
    selection = select(snapshot)
    rest = without(snapshot, selection, ["s001", "s007", "nothing"])
    assert rest.n_passed == N - 2
    assert not rest.is_all
    assert sum(mask.sum() for mask in rest.rows) == N - 2
    assert sum(mask.sum() for mask in selection.rows) == N


@pytest.mark.parametrize("uid", ["", "  ", "1" * 200])
def test_a_wrong_request_is_refused(snapshot, uid):
    with pytest.raises(InvalidInputError):
        similar(SimilarRequest(uid=uid), SnapshotIndex(snapshot))
