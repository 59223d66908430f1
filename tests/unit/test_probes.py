"""An endpoint's model is recognised by its vectors of two probes."""

import numpy as np
import pytest

from gpu_worker.probes import PREFIX, make_sure
from indexer_core.errors import CorruptIndexError, IndexerError, InvalidInputError
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import unit_vectors

PROBES = unit_vectors("probes", 2, 16)


@pytest.fixture
def blobs():
    return MemoryBlobs(ManualClock())


def kept(blobs) -> dict[str, bytes]:
    return {entry.name: blobs.get(entry.name).data for entry in blobs.list(PREFIX)}


def test_the_first_vectors_are_kept_and_the_same_model_passes(blobs):
    make_sure(PROBES, "m/1", blobs)
    before = kept(blobs)
    # Other devices round otherwise.
    noise = PROBES + 0.01 * unit_vectors("noise", 2, 16)
    make_sure((noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype("f4"), "m/1", blobs)
    assert kept(blobs) == before
    assert len(before) == 1


@pytest.mark.parametrize("changed", [0, 1])
def test_another_model_is_refused_and_what_is_kept_stays(blobs, changed):
    make_sure(PROBES, "m/1", blobs)
    before = kept(blobs)
    others = PROBES.copy()
    others[changed] = unit_vectors("other", 1, 16)[0]
    with pytest.raises(InvalidInputError, match="PIXEL_MODEL_VERSION"):
        make_sure(others, "m/1", blobs)
    assert kept(blobs) == before
    make_sure(others, "m/2", blobs)  # under a name of its own
    assert len(kept(blobs)) == 2


def test_what_is_damaged_is_never_replaced_silently(blobs):
    make_sure(PROBES, "m/1", blobs)
    [name] = kept(blobs)
    blobs.overwrite(name, b"damaged")
    with pytest.raises(CorruptIndexError):
        make_sure(PROBES + 1, "m/1", blobs)
    assert kept(blobs) == {name: b"damaged"}


@pytest.mark.parametrize("fault", WriteFault)
def test_whatever_becomes_of_its_write_it_is_recognised_next_time(blobs, fault):
    with pytest.raises((SimulatedCrash, IndexerError)):
        make_sure(PROBES, "m/1", WrappedBlobs(blobs, FaultPlan(1, fault)))
    make_sure(PROBES, "m/1", blobs)
    assert len(kept(blobs)) == 1
    with pytest.raises(InvalidInputError):
        make_sure(-PROBES, "m/1", blobs)
