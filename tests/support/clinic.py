"""A whole indexer over stores in memory, with one series planted in every one of them."""

from functools import cached_property

from function_app.handlers import ingest, series_check
from function_app.wiring import build_services
from gpu_worker.loop import Worker, WorkerSettings, work_once
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.announcements import Nobody
from indexer_core.cohorts.drawing import draw
from indexer_core.cohorts.model import Draft, Question
from indexer_core.cohorts.store import Cohorts
from indexer_core.descriptor import DIMENSION
from indexer_core.events import look_message
from indexer_core.index.commit import Manifests
from indexer_core.index.pins import Pins
from indexer_core.index.reader import Reader
from indexer_core.index.rows import rows_of, table_of
from indexer_core.indexing import Indexer, open_index
from indexer_core.messages import SeriesReady, dump_ready
from indexer_core.ports import WorkQueue
from indexer_core.purge import ALONE, PurgePolicy, Purger
from indexer_core.purge_stores import purger_of
from indexer_core.rules import load_rules
from indexer_core.sources import Sources
from indexer_core.stores import Stores
from indexer_core.templates import load_templates
from indexer_core.testing.faults import (
    Around,
    PassThrough,
    WrappedBlobs,
    WrappedQueue,
    WrappedRows,
)
from indexer_core.testing.memory import (
    ManualClock,
    MemoryBlobs,
    MemoryQueue,
    MemoryRows,
    SequentialIds,
)
from indexer_core.thumbnails import Thumbnails
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import PREFIX, MemorySource
from tests.support.pipeline import CountingImageEncoder, HashTextEncoder, Inline

TABLES = ("blobs", "instances", "open_series", "reject_rows", "jobs", "audit")
QUEUES = ("blob_events", "series_checks", "series_ready", "poison")
WORD = "quokka"
"""Occurs in the descriptions of the planted series, and so in its texts, and nowhere else."""
PLANTED, KEPT = (
    series_key("inbox", uid("study"), uid("study", name)) for name in ("planted", "kept")
)


class Clinic:
    """What outlives processes; `system` starts one over it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.inbox = MemoryBlobs(self.clock)
        self.index = MemoryBlobs(self.clock)
        self.tables = {name: MemoryRows() for name in TABLES}
        self.queues = {name: MemoryQueue(self.clock, self.ids) for name in QUEUES}

    def copy(self) -> "Clinic":
        """The same content, going its own way from here."""
        other = Clinic()
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        for mine, others in ((self.inbox, other.inbox), (self.index, other.index)):
            others._written = mine._written
            others._blobs.update(mine._blobs)
        for name, table in self.tables.items():
            other.tables[name]._written = table._written
            other.tables[name]._rows.update(table._rows)
        for name, queue in self.queues.items():
            other.queues[name]._queued.update(queue._queued)
        return other

    def system(self, around: Around | None = None, policy: PurgePolicy = ALONE) -> "System":
        return System(self, around or PassThrough(), policy)

    def put(self, name: str, **attributes: object) -> None:
        self.inbox.overwrite(name, dicom_object(**attributes))
        self.queues["blob_events"].send(look_message(PREFIX + name))

    def settle(self) -> None:
        """Work until nothing is to be done."""
        system = self.system()
        for _ in range(20):
            system.work()
            self.clock.advance(60)
            if not any(self.queues[name].length() for name in QUEUES if name != "poison"):
                return
        raise AssertionError("it never settles")

    def contents(self) -> list[str]:
        """Everything stored, as text: what a file holds packed is unpacked, too."""
        found = [f"{name} {row}" for name, t in self.tables.items() for row in t.scan()]
        found += [q.message.body for queue in self.queues.values() for q in queue._queued.values()]
        for entry in self.index.list():
            data = self.index.get(entry.name).data
            found.append(f"{entry.name} {data.decode('latin-1')}")
            if ".rows." in entry.name:
                found += map(str, rows_of(table_of(data, entry.name)))
        return found

    def traces(self, *needles: str) -> list[str]:
        """The contents that hold one of the needles."""
        return [text for text in self.contents() if any(needle in text for needle in needles)]


def planted() -> Clinic:
    """A clinic whose planted series is in every store, in several revisions, and pinned."""
    clinic = Clinic()
    words = {"series": "planted", "SeriesDescription": f"Abdomen {WORD} axial"}
    for number in (1, 2):
        clinic.put(f"p/{number}.dcm", instance=number, **words)
    clinic.put("moved.dcm", instance=3, **words)
    clinic.put("k/1.dcm", series="kept", SeriesDescription="Chest", PatientID="somebody-else")
    clinic.settle()
    system = clinic.system()
    manifests = Manifests(clinic.index)
    drawn = _everything(clinic)
    Pins(manifests, clinic.clock, clinic.ids).pin("paper", drawn.manifest)
    Cohorts(clinic.index, clinic.clock, clinic.ids).save("paper", lambda: drawn)
    clinic.put("p/1.dcm", instance=1, value=5, **words)
    clinic.put("moved.dcm", series="kept", instance=7, SeriesDescription="Chest")
    clinic.settle()
    clinic.inbox.overwrite("p/2.dcm", b"junk")
    clinic.queues["blob_events"].send(look_message(PREFIX + "p/2.dcm"))
    clinic.settle()
    ready = SeriesReady(series=PLANTED, revision=1, digest="0" * 64)
    system.stores.rejects.series(ready, "a reason")
    system.stores.rejects.message("blob-events", f"about {PREFIX}p/1.dcm", "not an event")
    system.stores.rejects.message("blob-events", look_message(PREFIX + "k/1.dcm"), "kept")
    for name, body in (
        ("poison", look_message(PREFIX + "p/1.dcm")),
        ("poison", dump_ready(ready)),
        ("poison", look_message(PREFIX + "k/1.dcm")),
        ("series_ready", dump_ready(ready)),
        ("blob_events", look_message(PREFIX + "p/1.dcm")),
        ("blob_events", look_message(PREFIX + "k/1.dcm")),
    ):
        clinic.queues[name].send(body)
    place = {"cursor": f"{PREFIX}p/1.dcm", "n_enqueued": 3}
    clinic.tables["jobs"].insert("jobs", "backfill-1", place)
    clinic.tables["jobs"].insert("jobs", "backfill-2", {**place, "cursor": f"{PREFIX}k/1.dcm"})
    return clinic


def _everything(clinic: Clinic) -> Draft:
    """All series, asked for in a way that names the planted one."""
    snapshot = Reader(clinic.index, FlatFp16Vectors()).refresh()
    name = uid("study", "planted")
    either = ((f"seriesInstanceUid={name}",), (f"seriesInstanceUid!={name}",))
    return draw(snapshot, Question(text=f"{name}, and others", alternatives=either))


class System:
    """One process over a clinic."""

    def __init__(self, clinic: Clinic, around: Around, policy: PurgePolicy) -> None:
        self.clinic = clinic
        self.stores = Stores(
            index=WrappedBlobs(clinic.index, around),
            **{name: WrappedRows(table, around) for name, table in clinic.tables.items()},
            **{name: WrappedQueue(queue, around) for name, queue in clinic.queues.items()},
            sources=Sources([MemorySource(clinic.inbox)]),
            clock=clinic.clock,
            ids=clinic.ids,
        )
        self.vector_files = FlatFp16Vectors()
        self.services = build_services(
            self.stores,
            indexer=lambda: self.indexer,
            announcer=Nobody(),
            patient_secret=b"secret",
            quiet_s=0.0,
            max_wait_s=0.0,
        )
        self.purger: Purger = purger_of(
            self.stores,
            vector_files=self.vector_files,
            assembly=self.services.assembly,
            handle_event=lambda body: ingest(body, self.services),
            policy=policy,
        )

    @cached_property
    def indexer(self) -> Indexer:
        rules = load_rules()
        return open_index(
            self.stores,
            text_encoder=HashTextEncoder(),
            vector_files=self.vector_files,
            image_encoder_id=CountingImageEncoder.encoder_id,
            image_dimension=DIMENSION,
            rules=rules,
            templates=load_templates((), rules),
        )

    def work(self) -> None:
        """Do what the queues ask for, over and over."""
        worker = Worker(
            ready=self.stores.series_ready,
            poison=self.stores.poison,
            looks=self.stores.blob_events,
            rejects=self.stores.rejects,
            assembly=self.services.assembly,
            indexer=self.indexer,
            sources=self.stores.sources,
            image_encoders=(CountingImageEncoder(),),
            announcer=Nobody(),
            threads=Inline(),
            settings=WorkerSettings(retry_s=0.0),
            thumbnails=Thumbnails(self.stores.index, lambda picture: picture.tobytes()),
        )
        while (
            self._each(self.stores.blob_events, lambda body: ingest(body, self.services))
            | self._each(self.stores.series_checks, lambda b: series_check(b, self.services))
            | (work_once(worker) is not None)
        ):
            pass

    def _each(self, queue: WorkQueue, handle) -> bool:
        messages = queue.receive(32, 60.0)
        for message in messages:
            handle(message.body)
            queue.delete(message)
        return bool(messages)
