"""A repair brings back what is left, indexes the rest again, and says what it could not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.encoders import FindEncoder, known
from indexer_core.errors import CorruptIndexError
from indexer_core.index.aside import PREFIX as ASIDE
from indexer_core.index.commit import HINT, Manifests, commit, manifest_name
from indexer_core.index.manifest import FORMAT_VERSION, Segment
from indexer_core.index.reader import open_at
from indexer_core.index.repair_report import RepairReport
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.index.updates import Pin, Suppress
from indexer_core.index.upkeep import Upkeep
from indexer_core.repair import repair
from indexer_core.sealed import seal, unseal
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from tests.support.pipeline import HashTextEncoder, Pipeline
from tests.support.segments import LINEAGE
from tests.support.stored import KINDS, made, one_of, stores_of

FILES = FlatFp16Vectors()
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "cut": lambda data: data[: len(data) // 3],
    "missing": lambda data: None,
}
PRISTINE = made()
BLOBS = {entry.name: PRISTINE.index.get(entry.name).data for entry in PRISTINE.index.list()}
NEWEST = Manifests(PRISTINE.index).newest()


@pytest.fixture
def house() -> Pipeline:
    return copy_of(PRISTINE)


def copy_of(house: Pipeline) -> Pipeline:
    copied = house.copy()
    copied.text_encoder = house.text_encoder
    return copied


def damage(house: Pipeline, name: str, how: str) -> None:
    found = house.index.get(name)
    data = DAMAGES[how](found.data)
    house.index.delete(name)
    if data is not None:
        house.index.overwrite(name, data)


def mended(
    house: Pipeline, plan: FaultPlan | None = None, find: FindEncoder | None = None
) -> RepairReport:
    stores = stores_of(house)
    if plan is not None:
        stores = replace(stores, index=WrappedBlobs(house.index, plan))
    return repair(
        stores,
        assembly=house.process(plan).assembly,
        vector_files=FILES,
        find_encoder=find or known(house.text_encoder),
    )


def committed(house: Pipeline, update) -> int:
    outcome = commit(Manifests(house.index), update, commit_id=house.ids.new_id(), lineage=LINEAGE)
    return outcome.manifest.number


def nothing_is_wrong(house: Pipeline) -> None:
    """Whatever is found now was found before the damage, as it was."""
    before = PRISTINE.live()
    for key, row in house.live().items():
        assert row.record == {**before[key].record, "revision": row.revision}


def losses(report: RepairReport) -> list[str]:
    return [loss.what for loss in report.lost]


def largest() -> Segment:
    """The segment of the first six series, of which two were changed and one removed later."""
    return max(NEWEST.segments, key=lambda segment: segment.n_rows)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hint"])
def test_after_a_repair_the_index_is_what_it_was(house, kind, how):
    damage(house, one_of(kind, BLOBS), how)
    report = mended(house)
    # Nobody misses what may be absent, nor a newest manifest that seems never to have been.
    absent = ("newest manifest", "instance list", "text cache", "receipt", "cohort")
    unnoticed = how == "missing" and kind in absent
    assert report.did_nothing == unnoticed
    nothing_is_wrong(house)
    house.settle(house.process())
    assert house.problems() == []
    assert house.contents() == PRISTINE.contents()
    assert mended(house).did_nothing


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hint"])
def test_repair_is_carried_on_after_a_kill_at_any_write(kind):
    at = 0
    while True:
        at += 1
        plan = FaultPlan(at, WriteFault.CRASH_BEFORE if at % 2 else WriteFault.CRASH_AFTER)
        house = copy_of(PRISTINE)
        damage(house, one_of(kind, BLOBS), "flipped")
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


@pytest.mark.parametrize("place", range(len(NEWEST.segments)))
def test_lost_rows_bring_no_outdated_or_deleted_series_back(house, place):
    segment = NEWEST.segments[place]
    damage(house, segment.rows.name, "cut")
    report = mended(house)
    assert losses(report)[0] == f"the {segment.n_rows} rows of segment {segment.id}"
    nothing_is_wrong(house)
    house.settle(house.process())
    assert house.contents() == PRISTINE.contents()


@pytest.mark.parametrize("part", ["rows", "image", "text", "points"])
def test_merged_segment_is_merged_again_while_its_inputs_are_retained(house, part):
    before = house.contents()
    Upkeep(house.index, FILES, clock=house.clock, ids=house.ids).compact(full=True)
    (segment,) = Manifests(house.index).newest().segments
    (file,) = (file for file in segment.files() if f".{part}." in file.name)
    damage(house, file.name, "flipped")
    report = mended(house)
    assert report.n_rearmed == 0
    assert house.problems() == []
    assert house.contents() == before
    assert losses(report) == (
        ["1 earlier manifests, up to 30"] if part in ("rows", "image") else []
    )


def test_several_damaged_files_are_mended_together(house):
    first, second, third, *_ = NEWEST.segments
    damage(house, first.rows.name, "missing")
    damage(house, second.rows.name, "flipped")
    damage(house, third.vector_file(TEXT_SPACE, "hash-text").file.name, "cut")
    damage(house, one_of("newest manifest", BLOBS), "flipped")
    damage(house, one_of("projector", BLOBS), "flipped")
    mended(house)
    nothing_is_wrong(house)
    house.settle(house.process())
    assert house.problems() == []
    assert house.contents() == PRISTINE.contents()


def test_without_any_manifest_everything_is_indexed_again(house):
    for entry in list(house.index.list("manifests/")):
        damage(house, entry.name, "cut")
    report = mended(house)
    assert report.n_rearmed == len(PRISTINE.live())
    assert not house.live()
    house.settle(house.process())
    assert house.problems() == []
    assert house.contents() == PRISTINE.contents()


def test_series_whose_files_are_gone_stay_away(house):
    """There is nothing to make their vectors from; that is no reason to find something else."""
    damage(house, largest().rows.name, "cut")
    for number in range(2, 5):
        house.inbox.delete(str(number))
    mended(house)
    house.settle(house.process())
    assert house.problems() == []
    assert len(house.live()) == len(PRISTINE.live()) - 3


def test_series_without_image_vectors_are_found_by_text_until_they_are_indexed_again(house):
    image = largest().vector_file(IMAGE_SPACE, NEWEST.space(IMAGE_SPACE).live)
    damage(house, image.file.name, "flipped")
    report = mended(house)
    assert "the image vectors and map coordinates of 3 series" in losses(report)[0]
    assert house.problems() == []
    assert house.live().keys() == PRISTINE.live().keys()
    assert sum(row.image_count == 0 for row in house.live().values()) == 4  # and the report
    house.settle(house.process())
    assert [row.image_count for row in house.live().values()].count(0) == 1


class Rounded(HashTextEncoder):
    """The same texts on another machine: the last bits differ."""

    def encode(self, texts):
        vectors = super().encode(texts) + np.float32(1e-3)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_texts_embedded_again_need_not_be_equal_bit_by_bit(house):
    file = largest().vector_file(TEXT_SPACE, "hash-text").file
    damage(house, file.name, "missing")
    for entry in list(house.index.list("text-cache/")):
        house.index.delete(entry.name)
    report = mended(house, find=known(Rounded()))
    assert report.restored == [f"{file.name}: made again"]
    assert house.problems() == []
    assert house.contents() == PRISTINE.contents()
    # Earlier manifests name the new file, too: they can be searched as before.
    assert file.name not in {f.name for m in Manifests(house.index).history() for f in m.files()}


@pytest.mark.parametrize("space", [TEXT_SPACE, "coordinates"])
def test_earlier_manifests_can_be_searched_after_a_repair(house, space):
    segment = largest()
    files = {TEXT_SPACE: segment.vector_file(TEXT_SPACE, "hash-text")}
    name = files.get(space, segment.coordinates[0]).file.name
    number = NEWEST.number - 2
    before = open_at(house.index, FILES, number).n_series
    damage(house, name, "flipped")
    assert losses(mended(house)) == []
    snapshot = open_at(house.index, FILES, number)
    assert snapshot.n_series == before
    for live in snapshot.segments:
        live.loaded.vectors(TEXT_SPACE, "hash-text")
        live.loaded.points(NEWEST.projection.version)


def test_without_the_encoder_nothing_is_taken_out(house):
    file = largest().vector_file(TEXT_SPACE, "hash-text").file
    damage(house, file.name, "flipped")
    report = mended(house, find=lambda wanted: None)
    assert losses(report) == [file.name]
    assert "no text encoder hash-text" in report.lost[0].how
    assert [problem.partition(":")[0] for problem in house.problems()] == [file.name]
    assert losses(mended(house)) == []


def test_deletion_in_a_damaged_manifest_is_kept_where_it_is_legible(house):
    deleted = min(PRISTINE.live())
    number = committed(house, Suppress(series_keys=frozenset({deleted})))
    damage(house, manifest_name(number), "flipped")
    # The key itself is hit: half of it is enough.
    assert deleted.encode() not in house.index.get(manifest_name(number)).data
    report = mended(house)
    assert deleted not in house.live()
    assert "deleted a series" in report.lost[0].how


def test_pin_of_what_is_lost_is_given_up_and_named(house):
    committed(house, Pin(number=NEWEST.number - 1, name="cohort"))
    damage(house, largest().rows.name, "cut")
    report = mended(house)
    assert f"the pin cohort of manifest {NEWEST.number - 1}" in losses(report)
    assert Manifests(house.index).newest().pins == {}


def test_damaged_files_are_kept_aside(house):
    file = largest().rows
    damage(house, file.name, "flipped")
    damaged = house.index.get(file.name).data
    report = mended(house)
    assert [house.index.get(name).data for name in report.set_aside] == [damaged]
    assert all(name.startswith(ASIDE) for name in report.set_aside)
    assert house.index.get(file.name) is None


def test_nothing_is_repaired_that_newer_software_wrote(house):
    name = manifest_name(NEWEST.number)
    body = unseal(BLOBS[name], name, FORMAT_VERSION)
    house.index.overwrite(name, seal({**body, "format_version": FORMAT_VERSION + 1}))
    before = {entry.name: entry.properties.etag for entry in house.index.list()}
    with pytest.raises(CorruptIndexError, match=r"upgrade dicom-indexer.*nothing was repaired"):
        mended(house)
    assert {entry.name: entry.properties.etag for entry in house.index.list()} == before


def test_nothing_is_repaired_where_two_manifests_contradict_each_other(house):
    name = manifest_name(NEWEST.number - 1)
    body = unseal(BLOBS[name], name, FORMAT_VERSION)
    changed = {**body, "format_version": FORMAT_VERSION, "commit_id": "elsewhere"}
    house.index.overwrite(name, seal(changed))
    with pytest.raises(CorruptIndexError, match=manifest_name(NEWEST.number)):
        mended(house)


def test_hint_is_made_right(house):
    house.index.overwrite(HINT, b"99")
    assert mended(house).restored == [f"{HINT}: names manifest {NEWEST.number}"]
    assert mended(house).did_nothing


def test_list_that_a_series_waits_for_is_written_again(house):
    """Its message failed until it was set aside: no replay could have helped."""
    house.upload("late", PRISTINE.inbox.get("4").data)
    process = house.process()
    process.events()
    house.clock.advance(60)
    process.checks()
    before = set(BLOBS)
    (name,) = {entry.name for entry in house.index.list("assembly/")} - before
    house.index.delete(name)
    for _ in range(8):
        process.work()
        house.clock.advance(60)
    assert house.rejects("series")
    assert mended(house).n_rearmed == 1
    house.settle(house.process())
    assert not house.rejects("series")
    assert any("mem://inbox/late" in row.blobs for row in house.live().values())
