"""`dicom-indexer encoder set biomedclip`, on a folder of its architecture made here."""

import json
from importlib.util import find_spec

import pytest

from local_host.encoders import DEFAULT_NAME
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


def live(cli) -> str:
    spaces = json.loads(cli.run("encoder", "status", "--format", "json"))["spaces"]
    return {space["space"]: space["live"] for space in spaces}["text"]


def test_biomedclip_takes_the_place_of_the_default_and_gives_it_back(cli, tmp_path):
    minilm = live(cli)
    weights = make_clip_directory(tmp_path / "model")
    printed = cli.run("encoder", "set", "biomedclip", "--weights", weights)
    assert "searched with biomedclip/" in printed
    assert live(cli).startswith("biomedclip/")
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


def test_a_build_that_was_begun_goes_on_without_loading_the_model_again(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    assert "built biomedclip/" in cli.run("encoder", "build", "biomedclip", "--weights", weights)
    (weights / "tokenizer.json").unlink()  # it could not be loaded any more
    cli.run("encoder", "set", "biomedclip", "--weights", weights)
    assert live(cli).startswith("biomedclip/")
    assert "already" in cli.run("encoder", "set", "biomedclip", "--weights", weights)


def test_int8_stays_in_single_precision_where_nothing_proves_it_good_enough(cli, tmp_path):
    weights = make_clip_directory(tmp_path / "model")
    printed = cli.run("encoder", "set", "biomedclip", "--weights", weights, "--int8")
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
