"""Rows as entities of Milvus, and back: what every field says, what a version depends on."""

import base64
import random
from dataclasses import replace

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.milvus.entities import (
    items_of,
    key_of,
    row_of,
    series_entities,
    series_versions,
    vector_entities,
    vector_versions,
)
from indexer_core.adapters.milvus.schema import FOREVER, MAX_BYTES
from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.reader import Reader
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR,
    TEXT,
    row,
    unit_vectors,
    write_segment,
)

VERSION = PROJECTION.version


def loaded_of(rows, provisional=()):
    blobs = MemoryBlobs(ManualClock())
    commit(Manifests(blobs), OPEN, commit_id="open", lineage=LINEAGE)
    segment = write_segment(
        SegmentWriter(blobs, FlatFp16Vectors()), "w", rows, provisional=provisional
    )
    commit(Manifests(blobs), AddSegment(segment=segment), commit_id="add", lineage=LINEAGE)
    return Reader(blobs, FlatFp16Vectors()).refresh().segments[0].loaded


def every(loaded):
    return np.arange(loaded.segment.n_rows)


def test_fields_are_as_filters_compare_them_and_as_they_are_written():
    said = {
        "scope": "Clinic A",
        "seriesInstanceUid": "1.2.X",
        "modality": "Mr",
        "manufacturer": "SIEMENS ÄÖ",
        "model": "unknown",
        "sex": "",
        "plane": None,
        "bodyPart": {"term": "Knee", "code": "T-D9200"},
        "sequence": ["T1", "Flair"],
        "flags": ["sliceGap"],
        "hasPixels": False,
        "sliceThicknessMm": 2.5,
        "ageYears": None,
        "instances": 7,
    }
    loaded = loaded_of([row("s1", 1, "w", record=said)])
    [entity] = series_entities(loaded, every(loaded), VERSION, 12)
    assert (entity["seriesKey"], entity["scopeName"], entity["uid"]) == ("s1", "Clinic A", "1.2.X")
    assert (entity["scope"], entity["seriesInstanceUid"]) == ("clinic a", "1.2.x")
    assert (entity["modality"], entity["modalityAsWritten"]) == ("mr", "Mr")
    assert (entity["manufacturer"], entity["bodyPart"]) == ("siemens äö", "knee")
    assert (entity["model"], entity["modelAsWritten"]) == (None, "unknown")
    assert (entity["sex"], entity["sexAsWritten"]) == (None, "")
    assert (entity["plane"], entity["planeAsWritten"]) == (None, None)
    assert (entity["sequence"], entity["sequenceAsWritten"]) == ("\nt1\nflair\n", "\nT1\nFlair\n")
    assert (entity["flags"], entity["flagsAsWritten"]) == ("\nslicegap\n", "\nsliceGap\n")
    assert (entity["hasPixels"], entity["sliceThicknessMm"], entity["ageYears"]) == (
        False,
        2.5,
        None,
    )
    assert (entity["instances"], entity["imageCount"]) == (7, 1)
    assert (entity["born"], entity["died"]) == (12, FOREVER)
    place = PROJECTOR.project(unit_vectors("is1/1", 1, IMAGE_DIMENSION))[0]
    assert entity["isPlaced"]
    np.testing.assert_array_equal(entity["place"], place)


def test_of_lists_only_an_empty_sequence_is_unknown():
    loaded = loaded_of([row("s1", 1, "w", record={"sequence": [], "flags": []})])
    [entity] = series_entities(loaded, every(loaded), VERSION, 12)
    assert (entity["sequence"], entity["flags"]) == (None, "")
    assert items_of(entity["sequenceAsWritten"]) == items_of(entity["flagsAsWritten"]) == []


def test_a_short_key_is_how_a_key_begins():
    key = "0123456789abcdef" * 4
    loaded = loaded_of([row(key, 1, "w"), row("s1", 1, "w")])
    found = {each["seriesKey"]: each for each in series_entities(loaded, every(loaded), None, 1)}
    assert {name: each["shortKey"] for name, each in found.items()} == {key: key[:16], "s1": "s1"}


def test_a_row_comes_back_without_its_facts_and_blobs():
    written = [row("s1", 1, "w", record={"model": "Ä\n'\"\\%"}), row("s2", 2, "w")]
    loaded = loaded_of(written)
    back = [row_of(entity) for entity in series_entities(loaded, every(loaded), None, 1)]
    assert back == [replace(each, facts=None, blobs=()) for each in written]


def test_every_vector_is_an_entity_with_the_fields_of_its_series():
    rows = [row("s1", 1, "w"), replace(row("s2", 1, "w"), image_count=0), row("s3", 1, "w")]
    loaded = loaded_of(rows)
    texts = vector_entities(loaded, np.array([0, 2]), "text", TEXT, VERSION, 3)
    assert [(each["seriesKey"], each["number"]) for each in texts] == [
        (key, number) for key in ("s1", "s3") for number in range(5)
    ]
    stored = loaded.vectors("text", TEXT).reconstruct()
    np.testing.assert_array_equal(
        [each["vector"] for each in texts], stored[[*range(5), *range(10, 15)]]
    )
    assert {each["modality"] for each in texts} == {"ct"}
    images = vector_entities(loaded, every(loaded), "image", IMAGE, VERSION, 3)
    assert [each["seriesKey"] for each in images] == ["s1", "s3"]
    assert vector_entities(loaded, np.array([1]), "image", IMAGE, VERSION, 3) == []
    assert vector_entities(loaded, np.array([], dtype=np.int64), "text", TEXT, VERSION, 3) == []


def test_ids_name_the_series_its_version_and_the_vector():
    loaded = loaded_of([row("s@1", 1, "w")])
    [entity] = series_entities(loaded, every(loaded), VERSION, 3)
    assert entity["id"] == f"s@1@{series_versions(loaded, every(loaded), VERSION)[0]}"
    texts = vector_entities(loaded, every(loaded), "text", TEXT, VERSION, 3)
    version = vector_versions(loaded, every(loaded), VERSION)[0]
    assert [each["id"] for each in texts] == [f"s@1@{version}#{n}" for n in range(5)]
    assert {key_of(each["id"]) for each in (entity, *texts)} == {"s@1"}


def test_an_entity_differs_by_its_birth_alone_when_written_twice():
    rows = [row("s1", 1, "w"), row("s2", 1, "w")]
    first, again = (
        series_entities(loaded, every(loaded), VERSION, born)
        for loaded, born in ((loaded_of(rows), 3), (loaded_of(rows[::-1]), 4))
    )
    for one, other in zip(first, again[::-1], strict=True):
        assert {**one, "place": list(one["place"]), "born": 0} == {
            **other,
            "place": list(other["place"]),
            "born": 0,
        }


def test_versions_depend_on_the_row_and_on_what_the_map_says():
    rows = [row("s1", 1, "w"), row("s2", 1, "w"), replace(row("s3", 1, "w"), image_count=0)]
    plain, strange = loaded_of(rows), loaded_of(rows, provisional={"s2"})
    mapped, unmapped = (series_versions(plain, every(plain), each) for each in (VERSION, None))
    assert [a == b for a, b in zip(mapped, unmapped, strict=True)] == [False, False, True]
    assert vector_versions(plain, every(plain), VERSION) == vector_versions(
        plain, every(plain), None
    )
    for versions in (series_versions, vector_versions):
        pairs = zip(
            versions(plain, every(plain), VERSION),
            versions(strange, every(strange), VERSION),
            strict=True,
        )
        assert [a == b for a, b in pairs] == [True, False, True]
    newer = loaded_of([row("s1", 2, "w")])
    assert series_versions(newer, every(newer), None)[0] != unmapped[0]


def test_provisional_is_a_flag_of_all_collections():
    rows = [row("s1", 1, "w", record={"flags": ["sliceGap"]}), row("s2", 1, "w")]
    loaded = loaded_of(rows, provisional={"s1"})
    for entities in (
        series_entities(loaded, every(loaded), VERSION, 1),
        vector_entities(loaded, every(loaded), "image", IMAGE, VERSION, 1),
    ):
        assert [each["flags"] for each in entities] == ["\nslicegap\nprovisional\n", ""]
    [first, _] = series_entities(loaded, every(loaded), VERSION, 1)
    assert items_of(first["flagsAsWritten"]) == ["sliceGap"]
    assert row_of(first).record["flags"] == ["sliceGap"]


def noise(n_bytes, seed=1):
    return base64.b64encode(random.Random(seed).randbytes(n_bytes)).decode()


def test_evidence_is_left_out_of_a_record_that_is_too_long():
    said = {"evidence": {"plane": {"value": noise(60_000)}}, "plane": "axial"}
    loaded = loaded_of([row("s1", 1, "w", record=said)])
    [entity] = series_entities(loaded, every(loaded), None, 1)
    assert len(entity["row"]) < 1_000
    record = row_of(entity).record
    assert (record["evidence"], record["plane"]) == ({}, "axial")


def test_of_a_record_that_is_too_long_without_evidence_long_values_are_left_out():
    said = {"model": noise(60_000), "flags": ["sliceGap"], "plane": "axial", "frames": 3}
    loaded = loaded_of([row("s1", 1, "w", record=said)])
    [entity] = series_entities(loaded, every(loaded), None, 1)
    assert len(entity["row"]) < 1_000
    record = row_of(entity).record
    kept = {name: record[name] for name in said}
    assert kept == said | {"model": "", "flags": ["sliceGap", "shortened"]}


def test_texts_keep_their_numbers_where_a_record_is_shortened():
    long = [noise(60_000), "head", noise(300)]
    many = [noise(300, number) for number in range(2_000)]
    rows = [row(f"s{n}", 1, "w", record={"texts": texts}) for n, texts in enumerate((long, many))]
    loaded = loaded_of(rows)
    entities = series_entities(loaded, every(loaded), None, 1)
    assert all(len(entity["row"]) <= MAX_BYTES for entity in entities)
    found = [row_of(entity).record["texts"] for entity in entities]
    assert found[0] == [text[:200] for text in long]
    assert found[1] == [text[:200] for text in many[: len(found[1])]]
    assert len(found[1]) == 32


def test_texts_and_lists_are_cut_where_milvus_takes_no_more():
    long = "\u00e9" * 40_000
    said = {"manufacturer": long, "sequence": ["a" * 40_000, "b" * 40_000]}
    loaded = loaded_of([row("s1", 1, "w", record=said)])
    [entity] = series_entities(loaded, every(loaded), None, 1)
    for name in ("manufacturer", "manufacturerAsWritten"):
        assert entity[name] == long[: 65_535 // 2]
    for name in ("sequence", "sequenceAsWritten"):
        assert items_of(entity[name]) == ["a" * 40_000]


@pytest.mark.parametrize("text", ["", "no base64", base64.b64encode(b"no zlib").decode()])
def test_an_entity_that_holds_no_row_is_told(text):
    with pytest.raises(CorruptIndexError, match="holds no row"):
        row_of({"row": text})
