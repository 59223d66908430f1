"""An index of made-up series for tests of cohorts, without a pipeline."""

from collections.abc import Mapping
from typing import Any

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.cohorts.drawing import draw
from indexer_core.cohorts.erasure import SavedCohorts
from indexer_core.cohorts.model import Draft, Question
from indexer_core.cohorts.store import Cohorts
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.erasure import Segments, suppress
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader, Snapshot, open_at
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment, Restore, Suppress
from indexer_core.ports import BlobStore
from indexer_core.purge import Subject
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import LINEAGE, OPEN, PROJECTION, PROJECTOR_FILE, row, write_segment

CT = Question(text="all computed tomography", filters=("modality=CT",))


class House:
    """What outlives processes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.blobs = MemoryBlobs(self.clock)
        self.files = FlatFp16Vectors()
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)

    @property
    def newest(self) -> Manifest:
        return Manifests(self.blobs).newest()

    def commit(self, update, blobs: BlobStore | None = None):
        self.clock.advance(1)
        return commit(
            Manifests(blobs or self.blobs), update, commit_id=self.ids.new_id(), lineage=LINEAGE
        )

    def add(self, revision: int = 1, alive: bool = True, **records: Mapping[str, Any]) -> None:
        """Series of these keys; their Series UIDs are ``1.2.`` and the number in the key."""
        self.clock.advance(1)
        write_id = self.ids.new_id()
        rows = [
            row(key, revision, write_id, alive=alive, record=_said(key, said))
            for key, said in sorted(records.items())
        ]
        segment = write_segment(SegmentWriter(self.blobs, self.files), write_id, rows)
        self.commit(AddSegment(segment=segment))

    def snapshot(self, blobs: BlobStore | None = None) -> Snapshot:
        return Reader(blobs or self.blobs, self.files).refresh()

    def at(self, number: int) -> Snapshot:
        return open_at(self.blobs, self.files, number)

    def cohorts(self, blobs: BlobStore | None = None) -> Cohorts:
        return Cohorts(blobs or self.blobs, self.clock, self.ids)

    def save(self, name: str = "ct", question: Question = CT, blobs: BlobStore | None = None):
        """Save the answer to a question as another process would."""

        def drawn() -> Draft:
            return draw(self.snapshot(blobs), question)

        return self.cohorts(blobs).save(name, drawn, purpose="a test")

    def delete(self, *keys: str) -> None:
        self.commit(Suppress(series_keys=frozenset(keys)))

    def restore(self, *keys: str) -> None:
        self.commit(Restore(series_keys=frozenset(keys)))

    def purge(self, *keys: str, blobs: BlobStore | None = None) -> dict[str, int]:
        """Hide and erase, all at once; what was erased of cohorts and segments."""
        blobs = blobs or self.blobs
        series = frozenset(keys)
        suppress(Manifests(blobs), series, clock=self.clock, ids=self.ids)
        self.clock.advance(1)
        stores = (
            SavedCohorts(blobs),
            Segments(
                blobs,
                self.files,
                clock=self.clock,
                ids=self.ids,
                behind_s=self.clock.now_s(),
            ),
        )
        subject = Subject(series=series)
        for store in stores:
            subject |= store.find(series)
        found: dict[str, int] = {}
        for store in stores:
            found |= store.erase(subject).counts
        return found

    def pins(self) -> dict[str, int]:
        return {name: number for number, names in self.newest.pins.items() for name in names}

    def traces(self, *needles: str) -> list[str]:
        """Names of the saved cohorts that hold one of the needles."""
        found = []
        for entry in self.blobs.list("cohorts/"):
            text = self.blobs.get(entry.name).data.decode()
            found += [entry.name] if any(f'"{needle}"' in text for needle in needles) else []
        return found


def uid_of(key: str) -> str:
    return f"1.2.{key[1:]}"


def _said(key: str, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"seriesInstanceUid": uid_of(key), "scope": "inbox", "modality": "CT", **said}


def keys_of(drawn: Draft) -> list[str]:
    return [member.series_key for member in drawn.members]


def filled() -> House:
    """Five series: s1 to s3 are CT, s4 is MR, and of s5 the modality is unknown."""
    house = House()
    house.add(s1={"sex": "F"}, s2={"sex": "M"}, s4={"modality": "MR"})
    house.add(s3={"sex": None}, s5={"modality": None})
    return house
