"""Merging and collecting from the command line, and by themselves after indexing."""

import json
import shutil
from pathlib import Path

import pytest

from indexer_core.index.segment import PREFIX
from local_host import commands
from local_host.opening import writing
from tests.support.cli import Cli
from tests.support.dicom import dicom_object
from tests.support.system import settings_for

N_SEGMENTS = 9


def segments(cli: Cli) -> int:
    return json.loads(cli.run("status", "--format", "json"))["segments"]


def files(cli: Cli) -> int:
    return len(list((cli.data / "index" / PREFIX).iterdir()))


@pytest.fixture(scope="module")
def nine_runs(tmp_path_factory, exported) -> Path:
    """The data of nine series, indexed one by one; without upkeep that would be nine segments."""
    root = tmp_path_factory.mktemp("grown")
    settings = settings_for(root / "data")
    settings.data.mkdir()
    (settings.data / "encoders").symlink_to(exported)
    with writing(settings) as system:
        for number in range(N_SEGMENTS):
            file = root / f"{number}.dcm"
            file.write_bytes(dicom_object(series=f"s{number}", value=number))
            assert commands.index_paths(system, [file]).went_well
    return settings.data


@pytest.fixture
def grown(run, nine_runs) -> Cli:
    run.data.rename(run.data.with_name("empty"))
    shutil.copytree(nine_runs, run.data, symlinks=True)
    return run


def test_indexing_merges_by_itself_and_gc_deletes_what_was_merged(grown):
    assert segments(grown) < N_SEGMENTS
    records = grown.records()
    assert len(records) == N_SEGMENTS
    n_files = files(grown)
    told = json.loads(grown.run("gc", "--keep-days", "0", "--dry-run", "--format", "json"))
    assert files(grown) == n_files
    done = grown.run("gc", "--keep-days", "0")
    assert f"{told['n_expired']} manifests expired, {told['n_files']} files deleted" in done
    assert told["n_files"] > 0
    assert files(grown) == n_files - told["n_files"]
    assert grown.records() == records
    assert "every checksum fits" in grown.run("verify")
    grown.run("search", "anything", "--at", "2", status=1)
    assert "manifest 2 has expired" in grown.error


def test_retention_keeps_manifests_and_what_they_name(grown):
    n_files = files(grown)
    assert "0 manifests expired, 0 files deleted" in grown.run("gc")
    assert files(grown) == n_files
    assert len(grown.search("anything", "--at", "4")["value"]) == 2


def test_a_pinned_manifest_is_searchable_after_gc(grown):
    grown.run("pin", "cohort", "--at", "4")
    grown.run("gc", "--keep-days", "0")
    assert len(grown.search("anything", "--at", "cohort")["value"]) == 2
    grown.run("pin", "late", "--at", "3", status=1)
    assert "3" in grown.error
    grown.run("unpin", "cohort")
    grown.run("gc", "--keep-days", "0")
    grown.run("search", "anything", "--at", "4", status=1)
    assert "manifest 4 has expired" in grown.error


def test_compact_full_leaves_one_segment_with_the_same_series(grown):
    records = grown.records()
    done = json.loads(grown.run("compact", "--full", "--format", "json"))
    assert done["n_segments"][1] == segments(grown) == 1
    assert grown.records() == records
    assert "nothing to merge: 1 segments" in grown.run("compact", "--full")
    assert "every checksum fits" in grown.run("verify")


def test_the_log_tells_of_merges_and_collections(grown):
    told = grown.run("log")
    assert "merge" in told
    assert "collect" not in told
    grown.run("gc", "--keep-days", "0")
    assert "collect" in grown.run("log")


def test_upkeep_of_nothing_says_how_to_begin(run):
    for command in ("compact", "gc"):
        run.run(command, status=1)
        assert "nothing is indexed" in run.error


def test_days_that_are_none_are_refused(run):
    for days in ("-1", "nan", "soon"):
        with pytest.raises(SystemExit):
            run.run("gc", "--keep-days", days)
