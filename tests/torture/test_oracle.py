"""The oracle notices what it is there for, and a run that has seen too little proves nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.system import RandomIds
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import MergeSegments
from tests.support.segments import LINEAGE
from tests.torture.actors import RECIPES, indexer_of
from tests.torture.content import FILES, Content
from tests.torture.director import MINIMUMS, REQUIRED, Report
from tests.torture.journal import Journal
from tests.torture.oracle import Oracle
from tests.torture.store import Fate, TortureBlobs


@dataclass
class Run:
    """An index with two series, as a writer's journal tells of it."""

    folder: Path
    oracle: Oracle

    def __post_init__(self) -> None:
        self.blobs = FolderBlobs(self.folder / "index")
        self.indexer = indexer_of(self.blobs, RandomIds(), RECIPES[0], None)
        self.indexer.open()
        self.n_operations = 0
        for content in (Content("a", 3, "t", True), Content("b", 7, "t", False)):
            self.write(content)

    def write(self, content: Content, *, told: Content | None = None) -> str:
        """Commit a content; tell the oracle of it, or of another one."""
        self.n_operations += 1
        op = f"op {self.n_operations}"
        told = told or content
        manifest = self.indexer.write([content.entry(RandomIds().new_id())], "index")
        write_id = manifest.segments[-1].id
        row = [told.key, told.revision, told.tag, told.alive]
        self.learn(e="op", op=op, rows=[row], recipe=RECIPES[0])
        self.learn(e="id", op=op, id=write_id)
        self.learn(e="ack", op=op, write_id=write_id, keys=[told.key])
        return write_id

    def learn(self, **event: object) -> None:
        self.oracle.learn("writer", event)

    def verdict(self) -> list[str]:
        return list(self.oracle.judge(self.folder))


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path, Oracle())


def lost(run: Run) -> None:
    """A commit was acknowledged and is not there."""
    run.learn(e="op", op="lost", rows=[["a", 9, "t", True]], recipe=RECIPES[0])
    run.learn(e="id", op="lost", id="f" * 32)
    run.learn(e="ack", op="lost", write_id="f" * 32, keys=["a"])


def gone(run: Run) -> None:
    """A segment went, and its series with it."""
    (first, *_) = Manifests(run.blobs).newest().segments
    update = MergeSegments(inputs=(first.id,), output=None)
    commit(Manifests(run.blobs), update, commit_id="x", lineage=LINEAGE)


def went_back(run: Run) -> None:
    """A reader had seen a later row."""
    run.learn(e="seen", rows={"a": [[8, 1, "0" * 32], True]})


def missed(run: Run) -> None:
    """A reader saw a series no more that nobody deleted."""
    run.learn(e="gone", manifest=9, key="a", order=[3, 1, "0" * 32], forgotten="f" * 32)


def missed_too_early(run: Run) -> None:
    """A reader saw a series no more whose deletion was too young to be forgotten."""
    run.learn(e="gone", manifest=9, key="b", order=[3, 1, "0" * 32], forgotten="0" * 32)


def unknown(run: Run) -> None:
    """A row is in force that nobody wrote."""
    run.write(Content("a", 5, "t", True), told=Content("b", 8, "t", False))


def other_content(run: Run) -> None:
    """The row in force holds another content than the one that was written."""
    run.write(Content("a", 5, "other", True), told=Content("a", 5, "t", True))


def undead(run: Run) -> None:
    """A deletion was acknowledged; the row in force is alive."""
    run.write(Content("a", 5, "t", True), told=Content("a", 5, "t", False))


def orphan(run: Run) -> None:
    """A file that nothing names."""
    SegmentWriter(run.blobs, FILES).write("0" * 32, [], [])


def missing_file(run: Run) -> None:
    """A live file was deleted."""
    run.learn(e="deleted", name=Manifests(run.blobs).newest().segments[0].rows.name)


def shown(run: Run) -> None:
    """A series was hidden and is shown."""
    run.learn(e="hide", op="h", key="a", hidden=True)
    run.learn(e="hidden", op="h", key="a", hidden=True)


def not_purged(run: Run) -> None:
    """A series was purged and its row is there."""
    run.indexer.suppress(frozenset({"a"}))
    run.learn(e="purge", key="a")


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lost, "a is at (3, 1"),
        (gone, "a is gone; acknowledged up to (3, 1"),
        (went_back, "a went back from (8, 1"),
        (missed, "writer: a has gone with its row (3, 1"),
        (missed_too_early, "writer: b has gone with its row (3, 1"),
        (unknown, "which nobody wrote"),
        (other_content, "holds Content(key='a', revision=5, tag='other'"),
        (undead, "has the wrong alive flag"),
        (orphan, "is an orphan that outlived the collector"),
        (missing_file, "was deleted and is named"),
        (shown, "a is hidden or shown against what was acknowledged last"),
        (not_purged, "holds a, which was purged"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_oracle_notices(run, mistake: Callable[[Run], None], said):
    assert run.verdict() == []
    mistake(run)
    assert any(said in wrong for wrong in run.verdict()), run.verdict()


def test_commit_without_an_answer_may_be_there_or_not(run):
    """A writer was killed between the two: either is right."""
    run.learn(e="op", op="unknown", rows=[["a", 9, "t", True]], recipe=RECIPES[0])
    run.learn(e="id", op="unknown", id="f" * 32)
    assert run.verdict() == []
    content = Content("a", 9, "t", True)
    manifest = run.indexer.write([content.entry(RandomIds().new_id())], "index")
    assert any("which nobody wrote" in wrong for wrong in run.verdict())
    run.learn(e="id", op="unknown", id=manifest.segments[-1].id)
    assert run.verdict() == []


def test_purge_takes_the_rows_of_its_series_in_any_order(run):
    content = Content("purged-1", 1, "p", True)
    run.write(content)
    run.learn(e="seen", rows={"purged-1": [[2, 1, "0" * 32], True]})
    assert any("purged-1 went back from (2" in wrong for wrong in run.verdict())
    run.indexer.suppress(frozenset({"purged-1"}))
    assert not any("went back" in wrong for wrong in run.verdict())


def test_reader_that_looks_rarely_may_find_a_deletion_forgotten(run):
    run.learn(e="gone", manifest=9, key="b", order=[3, 1, "0" * 32], forgotten="f" * 32)
    assert run.verdict() == []


def test_run_without_kills_conflicts_and_collections_is_vacuous():
    report = Report()
    assert len(report.missing) == len(MINIMUMS) + len(REQUIRED)
    for what, minimum in MINIMUMS.items():
        report.counts[what] = minimum
    for point in REQUIRED:
        report.kills[point] = 1
    assert report.missing == []
    report.reached.add("commit.something-new.before")
    assert report.missing == ["no kill at commit.something-new.before"]
    assert "VACUOUS: no kill at commit.something-new.before" in list(report.lines())


def test_every_point_of_a_commit_a_merge_and_a_collection_is_required():
    operations = {point.partition(".")[0] for point in REQUIRED}
    assert operations >= {"commit", "merge", "collect", "purge", "hide", "show", "pin", "any"}
    assert all(
        replacement in REQUIRED
        for replacement in ("collect.manifest.before", "collect.stub.after", "merge.rows.during")
    )


def test_process_does_not_sleep_over_files_it_has_committed(tmp_path):
    """A merge may write nothing; what was committed before may go by a purge, behind no fence."""
    journal = Journal(tmp_path / "merger.jsonl")
    fate = Fate(sleep_at="merge.manifest.before")
    blobs = TortureBlobs(tmp_path / "index", journal, fate, seed=4)
    blobs.operation = "commit"
    indexer = indexer_of(blobs, RandomIds(), RECIPES[0], None)
    indexer.open()
    manifest = indexer.write([Content("a", 3, "t", True).entry(RandomIds().new_id())], "index")
    (segment,) = manifest.segments
    for file in segment.files():
        FolderBlobs(tmp_path / "index").delete(file.name)

    blobs.operation = "merge"
    nothing = MergeSegments(inputs=(segment.id,), output=None)
    commit(Manifests(blobs), nothing, commit_id=RandomIds().new_id(), lineage=LINEAGE)

    assert Manifests(blobs).newest().segments == ()
    assert '"slept"' not in (tmp_path / "merger.jsonl").read_text()
