"""`dicom-indexer encoder set biomedclip`, on a folder of its architecture made here."""

import json
from contextlib import closing
from importlib.util import find_spec

import numpy as np
import pytest

from local_host.encoders import DEFAULT_NAME, DESCRIPTOR_NAME
from local_host.settings import read_settings
from local_host.wiring import LocalSystem
from tests.support.cli import uid_of
from tests.support.clip_directory import make_clip_directory

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)


@pytest.fixture
def cli(run, exported):
    """Two series are indexed; the encoders folder is this test's own."""
    folder = run.data / "encoders"
    folder.unlink()
    folder.mkdir()
    (folder / DEFAULT_NAME).symlink_to(exported / DEFAULT_NAME)
    run.put("ct/1.dcm", series="ct")
    run.put("sr/1.dcm", series="sr", pixels=False)
    run.index()
    return run


def spaces(cli) -> dict[str, dict]:
    found = json.loads(cli.run("encoder", "status", "--format", "json"))["spaces"]
    return {space["space"]: space for space in found}


def live(cli, space="text") -> str:
    return spaces(cli)[space]["live"]


def test_biomedclip_takes_the_place_of_the_default_and_gives_it_back(cli, tmp_path):
    minilm = live(cli)
    weights = make_clip_directory(tmp_path / "model")
    printed = cli.run("encoder", "set", "biomedclip", "--weights", weights)
    assert "searched with biomedclip/" in printed
    assert "searched with biomedclip-image/" in printed
    assert live(cli).startswith("biomedclip/")
    assert live(cli, "image").startswith("biomedclip-image/")
    assert spaces(cli)["image"]["hasLive"] is True
    # The weights may go: what searching needs lies beside the index.
    (weights / "open_clip_pytorch_model.bin").unlink()
    found = {hit["seriesInstanceUid"] for hit in cli.search("axial CT")["value"]}
    assert found == {uid_of("ct"), uid_of("sr")}
    cli.put("mr/1.dcm", series="mr", Modality="MR")
    cli.index()
    assert "every checksum fits" in cli.run("verify")
    cli.run("encoder", "set", DEFAULT_NAME)
    assert live(cli) == minilm
    assert "searched with" in cli.run("encoder", "set", DEFAULT_NAME)
    assert live(cli, "image").startswith("biomedclip-image/")
    cli.run("encoder", "set", DESCRIPTOR_NAME)
    assert live(cli, "image").startswith("image-descriptor/")
    assert spaces(cli)["image"]["hasLive"] is None
    assert "every checksum fits" in cli.run("verify")


def test_pictures_are_seen_again_as_they_are_when_they_are_indexed(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    cli.put("mr/1.dcm", series="mr", Modality="MR", value=9)
    cli.index()
    cli.run("encoder", "set", "biomedclip", "--weights", weights, "--only", "image")
    assert live(cli).startswith(f"{DEFAULT_NAME}/")
    seen_again = image_vectors(cli)
    assert seen_again.keys() == {uid_of("ct"), uid_of("mr")}
    # The same pictures in series that are new: the worker sees them with the same encoder.
    cli.put("ct2/1.dcm", series="ct2")
    cli.put("mr2/1.dcm", series="mr2", Modality="MR", value=9)
    cli.index()
    indexed = image_vectors(cli)
    for old, new in (("ct", "ct2"), ("mr", "mr2")):
        np.testing.assert_array_equal(indexed[uid_of(new)], seen_again[uid_of(old)])
        assert np.linalg.norm(indexed[uid_of(new)]) == pytest.approx(1, abs=1e-3)
    assert "every checksum fits" in cli.run("verify")
    assert len({record["projectionVersion"] for record in shown(cli)}) == 1


def test_a_series_whose_file_has_gone_gets_no_vector_and_is_told_of(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    (cli.folder / "ct/1.dcm").unlink()
    printed = cli.run("encoder", "set", "biomedclip", "--weights", weights, "--only", "image")
    assert "1 series could not be seen again" in printed
    assert not image_vectors(cli)[uid_of("ct")].any()
    cli.index()
    assert uid_of("ct") not in image_vectors(cli)


def test_what_is_indexed_while_pictures_are_seen_again_has_both_vectors(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    cli.run("encoder", "build", "biomedclip", "--weights", weights, "--only", "image")
    cli.put("mr/1.dcm", series="mr", Modality="MR")
    cli.index()
    image = spaces(cli)["image"]
    assert (image["filledSegments"], image["filledVectors"]) == (image["segments"], 2)
    cli.run("encoder", "switch", "--only", "text", status=1)
    assert "no encoder is being built" in cli.error
    cli.run("encoder", "switch")
    assert image_vectors(cli).keys() == {uid_of("ct"), uid_of("mr")}


def image_vectors(cli) -> dict[str, np.ndarray]:
    with closing(LocalSystem(read_settings(str(cli.data), {}))) as system:
        reader = system.reader()
        encoder_id = reader.snapshot.manifest.space("image").live
        places = [place for _, place in reader.winners() if place.alive]
        rows = [(place, reader.row(place)) for place in places]
        return {
            row.record["seriesInstanceUid"]: reader.image_of(place, encoder_id)[0]
            for place, row in rows
            if row.image_count
        }


def shown(cli) -> list[dict]:
    lines = cli.run("export", "--format", "ndjson").splitlines()
    return [record for record in map(json.loads, lines) if record["hasPixels"]]


def test_a_build_that_was_begun_goes_on_without_loading_the_model_again(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    assert "built biomedclip/" in cli.run("encoder", "build", "biomedclip", "--weights", weights)
    (weights / "tokenizer.json").unlink()  # it could not be loaded any more
    cli.run("encoder", "set", "biomedclip", "--weights", weights)
    assert live(cli).startswith("biomedclip/")
    assert "already" in cli.run("encoder", "set", "biomedclip", "--weights", weights)


def test_int8_stays_in_single_precision_where_nothing_proves_it_good_enough(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    asked = ("encoder", "set", "biomedclip", "--weights", weights, "--int8", "--only", "text")
    printed = cli.run(*asked)
    assert "texts are too few to measure it on; in single precision" in printed
    assert live(cli).endswith("-cls-l2")
    cli.search("axial CT")


def test_weights_that_nobody_trained_are_refused(cli, tmp_path):
    minilm = live(cli)
    weights = make_clip_directory(tmp_path / "random", trained=False)
    cli.run("encoder", "set", "biomedclip", "--weights", weights, status=1)
    assert "random, not trained" in cli.error
    assert live(cli) == minilm


def test_what_is_missing_is_asked_for(cli, tmp_path):
    cli.run("encoder", "set", "biomedclip", status=1)
    assert "--weights FOLDER" in cli.error
    cli.run("encoder", "set", "biomedclip", "--weights", tmp_path / "absent", status=1)
    assert "there is no folder" in cli.error
    cli.run("encoder", "set", DEFAULT_NAME, "--weights", tmp_path, status=1)
    assert "--weights goes with biomedclip" in cli.error
    cli.run("encoder", "set", DEFAULT_NAME, "--int8", status=1)
    assert "--int8 goes with biomedclip" in cli.error
