"""A repair brings back what is left, indexes the rest again, and says what it could not."""

from dataclasses import replace

import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.encoders import known
from indexer_core.index.repair_report import RepairReport
from indexer_core.repair import repair
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from tests.support.pipeline import Pipeline
from tests.support.stored import KINDS, made, one_of, stores_of

DAMAGES = {
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "cut": lambda data: data[: len(data) // 3],
    "missing": lambda data: None,
}
PRISTINE = made()
BLOBS = {entry.name: PRISTINE.index.get(entry.name).data for entry in PRISTINE.index.list()}


@pytest.fixture
def house() -> Pipeline:
    return copy_of(PRISTINE)


def copy_of(house: Pipeline) -> Pipeline:
    copied = house.copy()
    copied.text_encoder = house.text_encoder
    return copied


def damage(house: Pipeline, name: str, how: str) -> None:
    data = DAMAGES[how](BLOBS[name])
    house.index.delete(name)
    if data is not None:
        house.index.overwrite(name, data)


def mended(house: Pipeline, plan: FaultPlan | None = None) -> RepairReport:
    process = house.process(plan)
    stores = stores_of(house)
    if plan is not None:
        stores = replace(stores, index=WrappedBlobs(house.index, plan))
    return repair(
        stores,
        assembly=process.assembly,
        vector_files=FlatFp16Vectors(),
        find_encoder=known(house.text_encoder),
    )


def nothing_is_wrong(house: Pipeline) -> None:
    """Whatever is found now was found before the damage, as it was."""
    before = PRISTINE.live()
    for key, row in house.live().items():
        assert row.record == {**before[key].record, "revision": row.revision}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_repair_the_index_is_what_it_was(house, kind, how):
    name = one_of(kind, BLOBS)
    damage(house, name, how)
    report = mended(house)
    nothing_is_wrong(house)
    house.settle(house.process())
    assert house.problems() == []
    assert house.contents() == PRISTINE.contents()
    assert not report.did_nothing or kind in (
        "hint",
        "instance list",
        "text cache",
        "newest manifest",
    )
    assert mended(house).did_nothing


@pytest.mark.parametrize("kind", KINDS)
def test_repair_is_carried_on_after_a_kill_at_any_write(kind):
    name = one_of(kind, BLOBS)
    at = 0
    while True:
        at += 1
        plan = FaultPlan(at, WriteFault.CRASH_BEFORE if at % 2 else WriteFault.CRASH_AFTER)
        house = copy_of(PRISTINE)
        damage(house, name, "flipped")
        try:
            mended(house, plan)
        except SimulatedCrash:
            mended(house)
        nothing_is_wrong(house)
        house.settle(house.process())
        assert house.problems() == []
        assert house.contents() == PRISTINE.contents()
        if not plan.has_struck:
            break
