"""What a map is carried on from: every bit comes back, and a purge takes series out of it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.array_file import ArrayFile, arrays_to_bytes, parse_arrays
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.copies import Copies
from indexer_core.index.manifest import FileRef
from indexer_core.index.projections import STATE_PREFIX, load_state
from indexer_core.map_state import (
    FORMAT_VERSION,
    KIND,
    DriftReference,
    Landmarks,
    MapState,
)
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds


def made(n=5):
    random = np.random.default_rng(0)
    return MapState(
        version="1.0",
        n_frozen=1,
        seed=7,
        n_neighbours=15,
        reference=DriftReference(k=2, tau=0.5, preservation=0.3),
        landmarks=Landmarks(
            keys=tuple(f"s{number}" for number in range(n)),
            vectors=random.normal(size=(n, 4)).astype(np.float32),
            points=random.normal(size=(n, 2)).astype(np.float32),
            anchors=random.normal(size=(n, 2)).astype(np.float32),
        ),
        watermark=3,
        n_points=9,
        box=(-1.0, 1.0, -2.0, 2.0),
        metrics={"trust": 0.9},
    )


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_state_comes_back_bit_by_bit(n):
    state = made(n)
    found = MapState.from_bytes(state.to_bytes())
    assert found.to_bytes() == state.to_bytes()
    assert found.landmarks.keys == state.landmarks.keys
    assert found.reference == state.reference


def test_without_a_series_nothing_of_it_is_left():
    state = made()
    slim = MapState.from_bytes(state.without({"s1", "s4", "elsewhere"}).to_bytes())
    assert slim.landmarks.keys == ("s0", "s2", "s3")
    for name in ("vectors", "points", "anchors"):
        kept = getattr(state.landmarks, name)[[0, 2, 3]]
        np.testing.assert_array_equal(getattr(slim.landmarks, name), kept)
    assert b"s1" not in slim.to_bytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["points", "box", "tau", "metrics"])
def test_numbers_that_are_not_finite_are_not_kept(bad, where):
    state = made()
    if where == "points":
        points = state.landmarks.points.copy()
        points[1, 1] = bad
        state = replace(state, landmarks=replace(state.landmarks, points=points))
    elif where == "box":
        state = replace(state, box=(0.0, 1.0, bad, 1.0))
    elif where == "tau":
        state = replace(state, reference=replace(state.reference, tau=bad))
    else:
        state = replace(state, metrics={"trust": bad})
    with pytest.raises(InvalidInputError, match="not finite"):
        state.to_bytes()


@pytest.mark.parametrize("at", [9, 200, -1])
def test_damage_is_noticed(at):
    data = bytearray(made().to_bytes())
    data[at] ^= 1
    with pytest.raises((CorruptIndexError, InvalidInputError)):
        MapState.from_bytes(bytes(data))


def test_a_state_whose_landmarks_have_no_place_is_refused():
    state = made()
    broken = replace(state, landmarks=replace(state.landmarks, keys=("one",)))
    with pytest.raises(CorruptIndexError, match="no place"):
        MapState.from_bytes(broken.to_bytes())


def test_a_newer_format_is_refused():
    data = arrays_to_bytes(KIND, FORMAT_VERSION + 1, ArrayFile(fields={}, arrays={}))
    with pytest.raises(InvalidInputError):
        MapState.from_bytes(data)


def test_a_state_without_its_fields_is_refused():
    data = arrays_to_bytes(KIND, FORMAT_VERSION, ArrayFile(fields={}, arrays={}))
    with pytest.raises(CorruptIndexError, match="impossible"):
        MapState.from_bytes(data)


@pytest.fixture
def blobs():
    return MemoryBlobs(ManualClock())


def of_tomorrow(blobs):
    """A state of a newer format, as a manifest names it."""
    content = parse_arrays(made().to_bytes(), KIND, FORMAT_VERSION)
    data = arrays_to_bytes(KIND, FORMAT_VERSION + 1, content)
    name = f"{STATE_PREFIX}{'0' * 32}-x.map"
    blobs.put_if_absent(name, data)
    return FileRef(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def test_a_state_of_a_newer_format_is_not_taken_for_a_damaged_one(blobs):
    file = of_tomorrow(blobs)
    with pytest.raises(InvalidInputError, match=r"maps/.*format 2.*upgrade dicom-indexer"):
        load_state(blobs, file)
    with pytest.raises(CorruptIndexError):
        load_state(blobs, replace(file, sha256="0" * 64))


def test_a_purge_does_not_drop_a_state_of_a_newer_format(blobs):
    copies = Copies(blobs, FlatFp16Vectors(), SequentialIds(ManualClock()))
    with pytest.raises(InvalidInputError, match="upgrade"):
        copies.n_landmarks_of(of_tomorrow(blobs), frozenset({"s1"}))
