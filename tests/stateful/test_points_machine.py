"""Pages that keep their map by changes alone: whatever is committed, merged, hidden, published or
expires between two looks, they have what a page has that asks for all of it.
"""

import hashlib
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from function_app.points import PointsRequest, points
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Committed, Manifests, commit
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.outcomes import with_files
from indexer_core.index.reader import Reader
from indexer_core.index.recent import RecentSnapshots
from indexer_core.index.segment import IMAGE_SPACE, Points, SegmentWriter
from indexer_core.index.updates import AddSegment, PublishProjection, Restore, Suppress
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.points import KeptMap, PointsFile, parse_points
from tests.support.segments import (
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    row,
    write_segment,
)

SCOPES = ("here", "there")
SERIES = {hashlib.sha256(bytes([n])).hexdigest(): SCOPES[n % 2] for n in range(6)}
KEYS = st.sampled_from(sorted(SERIES))
COLUMNS = ("manufacturer", "sequence", "flags", "scope", "studyDate")
SAID = st.fixed_dictionaries(
    {
        "manufacturer": st.sampled_from(["A", "a", "B", None]),
        "sequence": st.lists(st.sampled_from(["T1", "t1", "FLAIR"]), max_size=2),
        "flags": st.lists(st.sampled_from(["headerPixelDisagreement", "localizer"]), max_size=1),
        "studyDate": st.sampled_from(["2019-01-02", "2020-03-04", None]),
    }
)
ROWS = st.dictionaries(
    KEYS,
    st.tuples(st.integers(1, 4), st.sampled_from(["seen", "seen", "unseen", "gone"]), SAID),
    min_size=1,
)
PAGES = {"all": None, **{scope: frozenset({scope}) for scope in SCOPES}}
UPKEEP = UpkeepSettings(
    merge=MergePolicy(fan_in=2, smallest_bytes=1 << 20),
    retention=RetentionPolicy(keep_s=0.0, keep_newest=2, grace_s=0.0),
)
Place = tuple[tuple[int, int, str], float, float, bool]


class PointsMachine(RuleBasedStateMachine):
    """The model: by page, the row and the place of each point that it was told last."""

    @initialize()
    def start(self):
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)
        self.ids = SequentialIds(self.clock)
        self.files = FlatFp16Vectors()
        self.projection = PROJECTION
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)
        self.reader = Reader(self.blobs, self.files)
        self.start_again()
        self.pages = {name: KeptMap() for name in PAGES}
        self.seen: dict[str, dict[str, Place]] = {name: {} for name in PAGES}

    def commit(self, update) -> None:
        self.clock.advance(1.0)
        manifests = Manifests(self.blobs)
        outcome = commit(manifests, update, commit_id=self.ids.new_id(), lineage=LINEAGE)
        assert isinstance(outcome, Committed)

    def coordinates(self, segment):
        """A file with places of its points on the map in force."""
        n = segment.n_points
        xy = np.random.default_rng(n).random((n, 2), dtype=np.float32)
        writer = SegmentWriter(self.blobs, self.files)
        points = Points(projection=self.projection.version, xy=xy)
        return writer.write_points(self.ids.new_id(), points)

    @rule(rows=ROWS, provisional=st.sets(KEYS))
    def add(self, rows, provisional):
        write_id = self.ids.new_id()
        made = []
        for key, (revision, state, said) in sorted(rows.items()):
            record = {**said, "scope": SERIES[key]}
            one = row(key, revision, write_id, alive=state != "gone", record=record)
            made.append(replace(one, image_count=int(state == "seen")))
        writer = SegmentWriter(self.blobs, self.files)
        segment = write_segment(writer, write_id, made, provisional=provisional)
        if self.projection is not PROJECTION and segment.n_points:
            file = self.coordinates(segment)
            segment = with_files(segment, coordinates=(file,))
        self.commit(AddSegment(segment=segment))

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def suppress(self, keys):
        self.commit(Suppress(series_keys=keys))

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def restore(self, keys):
        self.commit(Restore(series_keys=keys))

    @rule(full=st.booleans())
    def merge(self, full):
        self.upkeep().compact(full=full)

    @rule()
    def expire(self):
        self.clock.advance(10.0)
        self.upkeep().collect(UPKEEP.retention)

    def upkeep(self) -> Upkeep:
        return Upkeep(self.blobs, self.files, clock=self.clock, ids=self.ids, settings=UPKEEP)

    @rule()
    def publish(self):
        """Another map, on which everything is elsewhere."""
        newest = Manifests(self.blobs).newest()
        number = int(self.projection.version.partition(".")[0]) + 1
        self.projection = replace(PROJECTION, version=f"{number}.0")
        made = {
            segment.id: self.coordinates(segment) for segment in newest.segments if segment.n_points
        }
        self.commit(PublishProjection(projection=self.projection, coordinates=made))

    def start_again(self):
        """A process that has seen none of the past."""
        self.recent = RecentSnapshots(self.reader, keep=2)

    @rule(name=st.sampled_from(sorted(PAGES)), again=st.booleans())
    def look(self, name, again):
        if again:
            self.start_again()
        page, before, snapshot = self.pages[name], self.seen[name], self.reader.refresh()
        self.recent.note(snapshot)
        past = None if page.manifest is None else self.recent.at(page.manifest)
        file = self.told(name, snapshot, past)
        now = self.placed(snapshot, PAGES[name])
        assert file.head["total"] == len(now)
        if file.head["since"] is None:
            assert set(file.ids) == set(now)
        else:
            # Nothing is told that the page has already.
            assert set(file.ids) == {key for key in now if before.get(key) != now[key]}
            assert set(file.removed) == before.keys() - now.keys()
        page.take(file)
        self.seen[name] = now
        assert folded(page.points) == folded(self.told(name, snapshot).points())

    def told(self, name, snapshot, past=None) -> PointsFile:
        request = PointsRequest(columns=COLUMNS, scopes=PAGES[name])
        return parse_points(points(request, snapshot, past).data)

    def placed(self, snapshot, scopes) -> dict[str, Place]:
        """By short key, the row of each series that may be seen, and where it is."""
        found: dict[str, Place] = {}
        for segment, number in snapshot.rows():
            loaded = segment.loaded
            key, order, _ = loaded.orders[number]
            point = loaded.point(self.projection.version, number)
            if point is None or (scopes is not None and SERIES[key] not in scopes):
                continue
            assert loaded.counts(IMAGE_SPACE)[number] == 1
            found[key[:16]] = (order, *point)
        return found

    def teardown(self):
        if not hasattr(self, "pages"):
            return
        for name in PAGES:
            self.look(name, again=False)


def folded(points):
    """Points with their texts without regard to case, as a page compares them."""
    return {
        key: tuple(each.lower() if isinstance(each, str) else each for each in said)
        for key, said in points.items()
    }


TestPoints = PointsMachine.TestCase
TestPoints.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
