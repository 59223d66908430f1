"""Whatever happens to blobs, events and processes, what is searchable equals the inbox."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from indexer_core.look import content_of
from indexer_core.search import search_text
from indexer_core.selection import select
from indexer_core.testing.faults import FaultPlan, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import PREFIX, Pipeline, renamed_describer, slice_of, survive

NAMES = st.sampled_from(["a.dcm", "b.dcm", "c.dcm"])
SERIES = st.sampled_from(["one", "two"])
KEYS = {name: series_key("inbox", uid("study"), uid("study", name)) for name in ("one", "two")}
FAULTS = st.none() | st.sampled_from(list(WriteFault))


class PipelineMachine(RuleBasedStateMachine):
    """The model: name -> (series, has pixels) of the live blobs, and what is suppressed."""

    @initialize()
    def start(self):
        self.pipeline = Pipeline()
        self.model: dict[str, tuple[str, bool]] = {}
        self.suppressed: set[str] = set()
        self.untold: list[str] = []  # events on their way, in no order
        self.revisions: dict[str, int] = {}

    @rule(name=NAMES, series=SERIES, value=st.integers(0, 2), pixels=st.booleans())
    def upload(self, name, series, value, pixels):
        data = slice_of(series=series, instance=ord(name[0]), value=value, pixels=pixels)
        self.pipeline.upload(name, data, tell=False)
        self.model[name] = (series, pixels)
        self.untold.append(name)

    @rule(name=NAMES)
    def upload_junk(self, name):
        self.pipeline.upload(name, b"not an image", tell=False)
        self.model.pop(name, None)
        self.untold.append(name)

    @rule(name=NAMES)
    def remove(self, name):
        self.pipeline.inbox.delete(name)
        self.model.pop(name, None)
        self.untold.append(name)

    @rule(name=NAMES)
    def tell_again(self, name):
        self.untold.append(name)

    @precondition(lambda self: self.untold)
    @rule(data=st.data())
    def tell_one(self, data):
        index = data.draw(st.integers(0, len(self.untold) - 1))
        self.pipeline.tell(self.untold.pop(index))

    @rule(seconds=st.sampled_from([1.0, 31.0, 700.0]))
    def wait(self, seconds):
        self.pipeline.clock.advance(seconds)

    @rule(at=st.integers(1, 12), fault=FAULTS, stage=st.sampled_from(["events", "checks", "work"]))
    def run_a_process(self, at, fault, stage):
        plan = None if fault is None else FaultPlan(at, fault)
        survive(getattr(self.pipeline.process(plan), stage))

    @rule(series=SERIES)
    def suppress(self, series):
        self.pipeline.process().opened().suppress(frozenset({KEYS[series]}))
        self.suppressed.add(series)

    @rule(series=SERIES)
    def restore(self, series):
        self._restore(series)

    @rule(at=st.integers(1, 6), fault=FAULTS, number=st.integers(1, 3))
    def reprocess_with_other_rules(self, at, fault, number):
        self.pipeline.describer = renamed_describer(f"rules {number}")  # earlier ones come back
        n_images = self.pipeline.image_encoder.n_series
        process = self.pipeline.process(None if fault is None else FaultPlan(at, fault))
        survive(lambda: _reprocess(process))
        assert self.pipeline.image_encoder.n_series == n_images

    @invariant()
    def revisions_never_fall(self):
        if not hasattr(self, "pipeline"):
            return
        for key, row in self.pipeline.live().items():
            assert row.revision >= self.revisions.get(key, 0)
            self.revisions[key] = row.revision

    def teardown(self):
        if not hasattr(self, "pipeline"):
            return
        for series in sorted(self.suppressed):
            self._restore(series)
        for name in self.untold:
            self.pipeline.tell(name)
        process = self.pipeline.process()
        self.pipeline.settle(process)
        _reprocess(process)
        self._expect_what_is_in_the_inbox()
        self._expect_no_work_for_unchanged_series()
        self._expect_one_embedding_for_a_late_slice()
        assert self.pipeline.problems() == []
        assert self.pipeline.queues["poison"].length() == 0

    def _restore(self, series):
        process = self.pipeline.process()
        process.opened().restore(frozenset({KEYS[series]}))
        process.assembly.resend(KEYS[series])
        self.suppressed.discard(series)

    def _expect_what_is_in_the_inbox(self):
        live = self.pipeline.live()
        expected: dict[str, set[str]] = {}
        for name, (series, _) in self.model.items():
            expected.setdefault(KEYS[series], set()).add(PREFIX + name)
        assert {key: set(row.blobs) for key, row in live.items()} == expected
        for key, row in live.items():
            marker = self.pipeline.rows["instances"].get(key, "_series").values
            assert (marker["digest"], marker["revision"]) == (row.digest, row.revision)
            newest = self.pipeline.reader().snapshot.manifest.recipes[-1]
            assert (row.recipe, newest.digest) == (newest.number, self.pipeline.describer.digest)
            pixels = any(p for s, p in self.model.values() if KEYS[s] == key)
            assert (row.record["hasPixels"], row.image_count) == (pixels, int(pixels))
            for url in row.blobs:
                content = content_of(self.pipeline.inbox.properties(url.removeprefix(PREFIX)))
                kept = self.pipeline.rows["instances"].query(key)
                assert content in {r.values["content"] for r in kept if r.key != "_series"}
        snapshot = self.pipeline.reader().snapshot
        query = self.pipeline.text_encoder.encode(["query"])[0]
        hits = search_text(snapshot, query, select(snapshot), top=10)
        assert {hit.segment.loaded.orders[hit.row][0] for hit in hits} == set(expected)

    def _expect_no_work_for_unchanged_series(self):
        before = self.pipeline.live(), self.pipeline.n_commits()
        for name in self.model:
            self.pipeline.tell(name)
        self.pipeline.settle(self.pipeline.process())
        assert (self.pipeline.live(), self.pipeline.n_commits()) == before

    def _expect_one_embedding_for_a_late_slice(self):
        before, n_images = self.pipeline.live(), self.pipeline.image_encoder.n_series
        self.pipeline.upload("late.dcm", slice_of(series="one", instance=200))
        self.pipeline.settle(self.pipeline.process())
        after = self.pipeline.live()
        assert self.pipeline.image_encoder.n_series == n_images + 1
        assert PREFIX + "late.dcm" in after[KEYS["one"]].blobs
        assert after.get(KEYS["two"]) == before.get(KEYS["two"])


def _reprocess(process):
    outdated = list(process.opened().outdated())
    if outdated:
        process.indexer.reprocess(outdated)


TestPipeline = PipelineMachine.TestCase
TestPipeline.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
