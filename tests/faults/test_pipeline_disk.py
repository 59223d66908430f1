"""A full disk, or an index that cannot be written: one clear line, and later it carries on."""

import resource
import shutil
from dataclasses import replace

import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.encoders import nowhere
from indexer_core.errors import CorruptIndexError, InvalidInputError, UnavailableError
from indexer_core.index.reader import Reader
from indexer_core.index.verify import verify
from indexer_core.testing.faults import FaultPlan, WrappedBlobs, WriteFault
from local_host.file_events import walk_events
from local_host.runner import Runner
from local_host.wiring import LocalSystem
from tests.support.command_line import CommandLine, copy_files, exported_encoder, pydicom_files
from tests.support.dicom import dicom_object
from tests.support.system import settings_for


@pytest.fixture(scope="session")
def text_encoder(request):
    return exported_encoder(request.config)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "files"
    path.mkdir()
    for number in (1, 2):
        (path / f"ct{number}.dcm").write_bytes(dicom_object(series="ct", instance=number))
    (path / "mr.dcm").write_bytes(dicom_object(series="mr", Modality="MR"))
    (path / "sr.dcm").write_bytes(dicom_object(series="sr", pixels=False))
    return path


@pytest.fixture
def data(tmp_path, text_encoder):
    path = tmp_path / "data"
    (path / "encoders").mkdir(parents=True)
    (path / "encoders" / text_encoder.name).symlink_to(text_encoder)
    return path


def run(data, folder, prepare=lambda system: None):
    """`index` without the command line."""
    system = LocalSystem(settings_for(data))
    try:
        prepare(system)
        system.source.add([folder])
        runner = Runner(system)
        runner.reclaim()
        runner.emit(walk_events([folder], [], system.clock))
        return runner.run_until_idle()
    finally:
        system.close()


def expect_everything(data, folder):
    assert run(data, folder).went_well
    blobs, files = FolderBlobs(data / "index"), FlatFp16Vectors()
    assert Reader(blobs, files).refresh().n_series == 3
    assert verify(blobs, files).problems == []
    system = LocalSystem(settings_for(data))
    assert system.poison.length() == 0
    assert list(system.rejects.all()) == []
    assert list(system.open_series.scan()) == []
    system.close()


@pytest.mark.parametrize("at", [1, 4, 8, 14])
def test_an_index_that_cannot_be_written_ends_the_run_and_the_next_one_carries_on(data, folder, at):
    plan = FaultPlan(at, WriteFault.DISK_FULL)

    def fill(system):
        full = WrappedBlobs(FolderBlobs(data / "index"), plan)
        system.stores = replace(system.stores, index=full)

    with pytest.raises(UnavailableError, match="no space left"):
        run(data, folder, fill)
    assert plan.has_struck
    expect_everything(data, folder)


def test_an_index_of_another_encoder_ends_the_run_and_loses_nothing(data, folder):
    class Other:
        def __init__(self, system):
            self._open = system.encoder
            self.encoder_id = "another"
            self.dimension = 384

        def encode(self, texts):
            return self._open.encode(texts)

    def without_the_one_of_the_index(system):
        system.__dict__.update(encoder=Other(system))
        system.encoders.find = nowhere

    (folder / "sr.dcm").rename(folder.parent / "sr.dcm")
    run(data, folder)
    (folder.parent / "sr.dcm").rename(folder / "sr.dcm")
    with pytest.raises(InvalidInputError, match="vectors of two encoders never meet"):
        run(data, folder, without_the_one_of_the_index)
    expect_everything(data, folder)


def test_a_damaged_index_ends_the_run_and_sets_nothing_aside(data, folder):
    run(data, folder)
    rows = min((data / "index" / "segments").glob("*.rows.arrow"))
    kept = rows.read_bytes()
    rows.write_bytes(b"damaged")
    (folder / "sr.dcm").write_bytes(dicom_object(series="sr", pixels=False, instance=2))
    with pytest.raises(CorruptIndexError):
        run(data, folder)
    rows.write_bytes(kept)
    expect_everything(data, folder)


@pytest.mark.parametrize("limit_bytes", [16_384, 65_536, 400_000])
def test_files_that_must_not_grow_end_the_command_with_one_line(
    tmp_path, text_encoder, limit_bytes
):
    command = CommandLine(tmp_path / "data", text_encoder, tmp_path / "patient.key")
    folder = tmp_path / "files"
    copy_files(folder, pydicom_files()[::3])

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    full = command.run("index", str(folder), preexec_fn=limit)
    assert full.returncode == 1
    assert full.stdout == ""
    [line] = full.stderr.splitlines()
    assert line.startswith("dicom-indexer: ")
    assert "disk" in line or "space" in line or "ulimit" in line
    command.ask("index", str(folder))
    command.ask("verify")
    assert command.queued("poison") == 0
    shutil.rmtree(command.data)
