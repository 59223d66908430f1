"""`dicom-indexer similar`: by UID, by file; and on the sample files every upload finds itself."""

import csv
import io
import json
from random import Random

import numpy as np
import pytest
from PIL import Image

from function_app.pages import PageRequest
from function_app.similar import SimilarRequest, UploadRequest, similar, similar_to_upload
from indexer_core.adapters.decoding import DecodingChildren
from indexer_core.adapters.local_files import path_of
from indexer_core.pixels import Stack, stack_of_object
from indexer_core.search import blobs_of, listing
from indexer_core.selection import select
from indexer_core.similar import with_images
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.uploads import UploadReader
from tests.support.cli import Cli, uid_of
from tests.support.dicom import dicom_object


def pixels(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 500, (16, 16), dtype=np.uint16).tobytes()


@pytest.fixture
def indexed(run) -> Cli:
    for seed, name in enumerate("abc"):
        run.put(f"{name}.dcm", series=name, PixelData=pixels(seed), StudyInstanceUID="1.2.3")
    run.put("d.dcm", series="d", pixels=False)
    run.index()
    return run


def found(run: Cli, *arguments: object) -> dict:
    return json.loads(run.run("similar", *arguments, "--format", "json"))


def test_look_alikes_of_a_series_by_its_uid_or_what_a_table_shows_of_it(indexed):
    answer = found(indexed, uid_of("a"))
    assert {hit["seriesInstanceUid"] for hit in answer["value"]} == {uid_of("b"), uid_of("c")}
    assert answer["count"] == 2
    assert found(indexed, f"\u2026{uid_of('a')[-8:]}") == answer
    assert len(indexed.run("similar", uid_of("a"), "--top", "1").splitlines()) == 2
    rows = list(csv.DictReader(io.StringIO(indexed.run("similar", uid_of("a"), "--format", "csv"))))
    assert [row["seriesInstanceUid"] for row in rows] == [
        hit["seriesInstanceUid"] for hit in answer["value"]
    ]
    assert "no series passes" in indexed.run("similar", uid_of("a"), "--filter", "modality=MR")


def test_look_alikes_by_study(indexed):
    (study,) = found(indexed, uid_of("a"), "--level", "study")["value"]
    assert (study["groupKey"], study["groupCount"]) == ("1.2.3", 2)


def test_look_alikes_of_a_file_and_nothing_of_it_is_kept(indexed, tmp_path):
    path = tmp_path / "upload.dcm"
    path.write_bytes(dicom_object(series="x", PixelData=pixels(1)))
    before = sorted(each for each in indexed.data.rglob("*") if each.is_file())
    first, *_ = found(indexed, "--file", path)["value"]
    assert first["seriesInstanceUid"] == uid_of("b")
    assert first["score"] == pytest.approx(1.0, abs=1e-3)
    assert sorted(each for each in indexed.data.rglob("*") if each.is_file()) == before


def test_look_alikes_of_a_picture(indexed, tmp_path):
    stack = stack_of_object(dicom_object(PixelData=pixels(2)))
    assert isinstance(stack, Stack)
    path = tmp_path / "shot.png"
    Image.fromarray(np.rint(stack.slices[0] * 255).astype(np.uint8)).save(path)
    first, *_ = found(indexed, "--file", path)["value"]
    assert first["seriesInstanceUid"] == uid_of("c")
    assert first["score"] > 0.99


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a series by its UID, or give --file FILE or --text"),
        (("1.2.3", "--file", "x"), "name a series by its UID, or give --file FILE or --text"),
        (("1.2.3.9",), "no indexed series has that UID"),
        ((uid_of("d"),), "no image to be compared"),
        (("--file", "/nowhere/at-all"), "No such file"),
        (("--file", __file__), "neither a DICOM object nor a PNG or JPEG"),
        ((uid_of("a"), "--top", "0"), "top is a number"),
        (("--text", "a brain"), "words cannot be compared with pictures here"),
        (("--text", " "), "say what the pictures show"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(indexed, arguments, said):
    indexed.run("similar", *arguments, status=1)
    assert said in indexed.error
    assert indexed.error.count("\n") == 1


def test_every_sample_of_one_file_finds_itself_when_it_is_uploaded(sample_searcher):
    snapshot, system = sample_searcher.snapshot, sample_searcher.system
    every = list(listing(snapshot, with_images(snapshot, select(snapshot))))
    alone = [hit for hit in every if len(blobs_of(hit)) == 1]
    chosen = Random(1).sample(alone, min(60, len(alone)))
    assert len(chosen) >= 40
    with DecodingChildren() as children:
        reader = UploadReader(
            decoding=children, find_encoder=system.encoders.images.find, rules=system.rules
        )
        for hit in chosen:
            data = path_of(blobs_of(hit)[0]).read_bytes()
            page = PageRequest(top=1000)
            answer = similar_to_upload(
                UploadRequest(data=data, page=page), SnapshotIndex(snapshot), reader
            )
            scores = {each["seriesKey"]: each["score"] for each in answer["value"]}
            assert scores[hit.key] == pytest.approx(1.0, abs=1e-3)
            # The same picture is indexed more than once, in several transfer syntaxes.
            assert answer["value"][0]["score"] == pytest.approx(1.0, abs=1e-3)
            others = similar(SimilarRequest(uid=hit.key, page=page), SnapshotIndex(snapshot))
            assert hit.key not in {each["seriesKey"] for each in others["value"]}
            assert len(others["value"]) == len(answer["value"]) - 1
