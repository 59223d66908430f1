"""`dicom-indexer encoder`: another text encoder, while files are indexed and searched."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from indexer_core.encoders import folder_of
from indexer_core.errors import InvalidInputError
from indexer_core.snapshot_index import SnapshotIndex
from local_host.encoders import DEFAULT_NAME, LocalEncoders
from tests.support.bag_of_words import DIMENSION, write_bag_of_words
from tests.support.cli import Cli, uid_of

QUESTION = "axial CT of the chest"


@pytest.fixture(scope="session")
def export(exported, tmp_path_factory) -> Path:
    """The folder of another encoder, as somebody would bring it."""
    folder = tmp_path_factory.mktemp("export") / "bag-of-words"
    write_bag_of_words(folder, exported / DEFAULT_NAME / "tokenizer.json")
    return folder


@pytest.fixture
def encoder_id(export) -> str:
    return json.loads((export / "encoder.json").read_text())["encoder_id"]


@pytest.fixture
def cli(run, exported) -> Cli:
    """Two series are indexed; the encoders folder is this test's own."""
    folder = run.data / "encoders"
    folder.unlink()
    folder.mkdir()
    (folder / DEFAULT_NAME).symlink_to(exported / DEFAULT_NAME)
    run.put("ct/1.dcm", series="ct")
    run.put("sr/1.dcm", series="sr", pixels=False)
    run.index()
    return run


def state(cli) -> dict:
    found = json.loads(cli.run("encoder", "status", "--format", "json"))
    return {space["space"]: space for space in found["spaces"]}


def found(cli, *arguments) -> set[str]:
    return {hit["seriesInstanceUid"] for hit in cli.search(QUESTION, *arguments)["value"]}


def test_an_encoder_is_built_switched_to_and_left_again(cli, export, encoder_id):
    minilm = state(cli)["text"]["live"]
    before = cli.newest()
    both = {uid_of("ct"), uid_of("sr")}
    assert f"built {encoder_id}" in cli.run("encoder", "build", export)
    text = state(cli)["text"]
    assert (text["live"], text["building"]) == (minilm, encoder_id)
    assert text["filledVectors"] == text["vectors"] == 10
    assert json.loads(cli.run("status", "--format", "json"))["building"] == {"text": encoder_id}
    assert f"{encoder_id} is being built" in cli.run("status")
    assert found(cli) == both
    # What is indexed meanwhile has both.
    cli.put("mr/1.dcm", series="mr", Modality="MR")
    cli.index()
    assert state(cli)["text"]["filledSegments"] == state(cli)["text"]["segments"]
    printed = cli.run("encoder", "switch")
    assert printed == f"searched with {encoder_id} from manifest {cli.newest()} on\n"
    assert state(cli)["text"] | {"live": encoder_id, "building": None} == state(cli)["text"]
    assert found(cli) == both | {uid_of("mr")}
    # What was searched before can be searched again, by the encoder of that time.
    assert found(cli, "--at", before) == both
    cli.put("mr2/1.dcm", series="mr2", Modality="MR")
    cli.index()
    assert uid_of("mr2") in found(cli)
    assert "every checksum fits" in cli.run("verify")
    # And back, to the one that ships with the program.
    cli.run("encoder", "build", DEFAULT_NAME)
    cli.run("encoder", "switch")
    assert state(cli)["text"]["live"] == minilm
    assert uid_of("mr2") in found(cli)


def test_a_build_is_carried_on_and_abandoned(cli, export, encoder_id):
    cli.run("encoder", "build", export)
    cli.put("mr/1.dcm", series="mr")
    # A program that lacks the encoder brings the live one alone.
    mine = cli.data / "encoders" / folder_of(encoder_id)
    away = mine.rename(cli.data / "elsewhere")
    cli.index()
    text = state(cli)["text"]
    assert (text["hasBuilding"], text["filledSegments"]) == (False, text["segments"] - 1)
    cli.run("encoder", "switch", status=1)
    assert "not in" in cli.error
    assert "encoder build FOLDER" in cli.error
    away.rename(mine)
    cli.run("encoder", "build")
    assert state(cli)["text"]["filledSegments"] == text["segments"]
    assert cli.run("encoder", "abandon").startswith(f"abandoned {encoder_id}")
    assert state(cli)["text"]["building"] is None
    assert "every checksum fits" in cli.run("verify")
    assert uid_of("mr") in found(cli)


def test_a_build_goes_on_beside_a_program_that_indexes(cli, export):
    """The writer lock is no obstacle: only one program may index, but another may build."""
    from local_host.locking import writer_lock

    with writer_lock(cli.data):
        cli.run("encoder", "build", export)
        cli.run("encoder", "switch")
    assert found(cli) == {uid_of("ct"), uid_of("sr")}


def test_what_a_build_is_writing_is_left_alone_by_who_begins_to_index(cli):
    temporaries = cli.data / "index" / ".tmp"
    young, old = temporaries / "young", temporaries / "old"
    for file in (young, old):
        file.write_bytes(b"half a file")
    os.utime(old, (0, 0))
    cli.index()
    assert (young.exists(), old.exists()) == (True, False)


def test_searches_never_fail_while_the_encoder_is_changed(cli, export, encoder_id):
    """A service keeps answering by what it has; when it has the encoder, by that."""
    from function_app.search import SearchRequest, search
    from indexer_core.encoders import InBackground
    from indexer_core.index.adoption import QueryReader
    from indexer_core.index.commit import Manifests
    from indexer_core.index.reader import Reader
    from local_host.wiring import LocalSystem
    from tests.support.system import settings_for

    system = LocalSystem(settings_for(cli.data))
    background = InBackground(system.encoders.find, retry_s=0.0)
    queries = QueryReader(
        Reader(system.index, system.vector_files),
        Manifests(system.index),
        find=background,
        first=background.now,
    )
    names = tuple(template.name for template in system.templates.templates)
    used: list[str] = []
    over = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        ready = queries.refresh()
        answer = search(
            SearchRequest(text=QUESTION), SnapshotIndex(ready.snapshot), ready.encoder, names
        )
        assert answer["value"]
        if used[-1:] != [ready.encoder.encoder_id]:
            used.append(ready.encoder.encoder_id)

    def keep_asking() -> None:
        try:
            while not over.is_set() or used[-1] != encoder_id:
                ask()
        except BaseException as error:  # noqa: BLE001 - told by the first thread
            failures.append(error)

    ask()
    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        cli.run("encoder", "build", export)
        cli.put("mr/1.dcm", series="mr")
        cli.index()
        cli.run("encoder", "switch")
        cli.put("mr2/1.dcm", series="mr2")
        cli.index()
    finally:
        over.set()
        asking.join(120.0)
    assert failures == []
    assert used == [system.encoders.default.encoder_id, encoder_id]
    system.close()


def test_what_cannot_be_done_is_told_in_one_line(cli):
    for arguments, told in (
        (("switch",), "no encoder is being built"),
        (("abandon",), "no encoder is being built"),
        (("build",), "no encoder is being built"),
        (("build", "nowhere"), "export it first"),
        (("switch", "folder"), "takes no folder"),
    ):
        cli.run("encoder", *arguments, status=1)
        assert told in cli.error
        assert len(cli.error.splitlines()) == 1
    assert "already" in cli.run("encoder", "build", DEFAULT_NAME)
    assert state(cli)["text"]["building"] is None


def test_nothing_is_built_where_nothing_is_indexed(run, export):
    run.run("encoder", "build", export, status=1)
    assert "nothing is indexed" in run.error


def test_a_damaged_export_is_not_taken_in(cli, export, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in export.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.onnx").write_bytes(b"damaged")
    cli.run("encoder", "build", damaged, status=1)
    assert "wrong sha256" in cli.error
    assert [f.name for f in (cli.data / "encoders").iterdir()] == [DEFAULT_NAME]


def test_an_interrupted_copy_is_made_anew(cli, export, encoder_id):
    half = cli.data / "encoders" / folder_of(encoder_id)
    half.mkdir()
    (half / "model.onnx").write_bytes(b"half")
    assert LocalEncoders(cli.data / "encoders").find(encoder_id) is None
    cli.run("encoder", "build", export)
    assert LocalEncoders(cli.data / "encoders").find(encoder_id).dimension == DIMENSION


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_damaged_export_of_the_default_encoder_is_made_again(
    exported, tmp_path, monkeypatch, name
):
    encoders = LocalEncoders(tmp_path)
    made = []

    def export_again(folder: Path) -> None:
        made.append(folder)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(exported / DEFAULT_NAME, folder)

    # What it does itself is tested where it is; here it would only take its time.
    monkeypatch.setattr("gpu_worker.encoders.export.export_text_encoder", export_again)
    export_again(encoders.default_folder)
    (encoders.default_folder / name).write_bytes(b"damaged")
    encoder_id = json.loads((exported / DEFAULT_NAME / "encoder.json").read_text())["encoder_id"]
    assert encoders.find(encoder_id).encoder_id == encoder_id
    assert LocalEncoders(tmp_path).default.encoder_id == encoder_id
    assert len(made) == 2


def test_a_damaged_copy_of_another_encoder_says_how_to_replace_it(cli, export, encoder_id):
    cli.run("encoder", "build", export)
    model = cli.data / "encoders" / folder_of(encoder_id) / "model.onnx"
    model.write_bytes(b"damaged")
    with pytest.raises(InvalidInputError, match="encoder build EXPORT"):
        LocalEncoders(cli.data / "encoders").find(encoder_id)
    cli.run("encoder", "build", export)
    assert LocalEncoders(cli.data / "encoders").find(encoder_id).dimension == DIMENSION
