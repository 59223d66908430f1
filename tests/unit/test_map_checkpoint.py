"""Checkpoints: every bit comes back, damage is named, a crash leaves the last one whole."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from gpu_worker.projection.checkpoint import (
    FORMAT_VERSION,
    PREFIX,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from indexer_core.errors import (
    CorruptIndexError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from indexer_core.testing.memory import MemoryBlobs
from tests.support.maps import archive, fitted, in_force

PARTS = 3


@pytest.fixture(scope="module")
def kept():
    x = archive(300, dimension=64)
    found = fitted(x)
    old = in_force(found, x)
    return Checkpoint(
        projector=found.projector,
        n_frozen=found.n_frozen,
        parent="maps/parent.json",
        seed=7,
        n_neighbours=15,
        reference=found.reference,
        landmark_ids=tuple(f"series {row}" for row in old.landmark_rows),
        anchors=old.anchors,
        box=(-1.5, 2.0, -3.0, 4.25),
        rms=6.875,
        watermark=41,
        metrics={"trust": 0.99},
    )


@pytest.fixture
def blobs():
    return MemoryBlobs()


def same(a, b):
    plain = ("n_frozen", "parent", "seed", "n_neighbours", "reference", "landmark_ids", "box")
    plain += ("rms", "watermark", "metrics")
    return (
        all(getattr(a, name) == getattr(b, name) for name in plain)
        and a.projector.to_bytes() == b.projector.to_bytes()
        and a.anchors.tobytes() == b.anchors.tobytes()
    )


def test_a_checkpoint_comes_back_bit_by_bit(blobs, kept):
    found = load_checkpoint(blobs, save_checkpoint(blobs, kept))
    assert same(found, kept)
    x = archive(50, seed=3, dimension=64)
    assert found.projector.project(x).tobytes() == kept.projector.project(x).tobytes()


def test_saving_twice_is_saving_once(blobs, kept):
    assert save_checkpoint(blobs, kept) == save_checkpoint(blobs, kept)
    assert len(list(blobs.list(PREFIX))) == PARTS


def test_a_checkpoint_without_landmarks_comes_back_too(blobs, kept):
    bare = replace(kept, landmark_ids=(), anchors=kept.anchors[:0], parent=None)
    assert same(load_checkpoint(blobs, save_checkpoint(blobs, bare)), bare)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "lost"])
def test_damage_to_any_part_is_noticed(blobs, kept, part, damage):
    name = save_checkpoint(blobs, kept)
    victim = [entry.name for entry in blobs.list(PREFIX)][part]
    found = blobs.get(victim)
    data = found.data
    flipped = data[:99] + bytes([data[99] ^ 1]) + data[100:]
    spoilt = {"flipped": flipped, "cut": data[:-1], "emptied": b""}
    if damage == "lost":
        blobs.delete(victim)
        expected = NotFoundError if victim == name else CorruptIndexError
    else:
        blobs.put_if_match(victim, spoilt[damage], found.etag)
        expected = CorruptIndexError
    with pytest.raises(expected):
        load_checkpoint(blobs, name)


def rewritten(blobs, name, **changes):
    """A page with other content under its right name."""
    page = json.loads(blobs.get(name).data) | changes
    data = json.dumps({key: value for key, value in page.items() if value != "gone"}).encode()
    changed = f"{PREFIX}{sha256(data).hexdigest()}.json"
    blobs.put_if_absent(changed, data)
    return changed


def test_a_newer_format_is_refused_with_what_to_do(blobs, kept):
    name = rewritten(blobs, save_checkpoint(blobs, kept), format_version=FORMAT_VERSION + 1)
    with pytest.raises(InvalidInputError, match="reads up to 1: update it"):
        load_checkpoint(blobs, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "letter"},
        {"kind": "gone"},
        {"layers": "gone"},
        {"layers": []},
        {"layers": [{"activation": "step", "residual": False}]},
        {"landmark_ids": ["one too few"]},
        {"box": [1, 2, 3]},
        {"reference": {"k": 15}},
    ],
)
def test_a_page_with_an_impossible_content_is_refused(blobs, kept, changes):
    name = rewritten(blobs, save_checkpoint(blobs, kept), **changes)
    with pytest.raises(CorruptIndexError):
        load_checkpoint(blobs, name)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_kept(blobs, kept, number):
    with pytest.raises(InvalidInputError):
        save_checkpoint(blobs, replace(kept, rms=number))


@pytest.mark.parametrize("fault", list(WriteFault))
def test_a_save_that_fails_at_any_write_leaves_no_page_or_a_whole_checkpoint(kept, fault):
    for at in range(1, PARTS + 1):
        blobs = MemoryBlobs()
        parent = save_checkpoint(blobs, replace(kept, seed=1))
        with pytest.raises((UnavailableError, UnknownOutcomeError, SimulatedCrash)):
            save_checkpoint(WrappedBlobs(blobs, FaultPlan(at=at, fault=fault)), kept)
        for entry in list(blobs.list(PREFIX)):
            if entry.name.endswith(".json"):
                load_checkpoint(blobs, entry.name)
        assert same(load_checkpoint(blobs, parent), replace(kept, seed=1))
        assert same(load_checkpoint(blobs, save_checkpoint(blobs, kept)), kept)


def test_anchors_are_kept_as_single_precision(blobs, kept):
    found = load_checkpoint(blobs, save_checkpoint(blobs, kept))
    assert found.anchors.dtype == np.float32
