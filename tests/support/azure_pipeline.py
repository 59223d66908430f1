"""The whole pipeline over an Azurite: events, assembly, worker and index."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from azure.storage.blob import ContainerClient

from function_app.handlers import Services, ingest, series_checks
from function_app.wiring import build_services
from gpu_worker.loop import BatchReport, Worker, WorkerSettings, work_once
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.events import parse_azure_events
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import azure_stores, create_stores
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.errors import IndexerError
from indexer_core.events import look_message
from indexer_core.index.reader import Reader
from indexer_core.index.rows import IndexRow, row_at
from indexer_core.index.verify import verify
from indexer_core.indexing import Indexer, open_index
from indexer_core.ports import QueueMessage, WorkQueue
from indexer_core.rules import load_rules
from indexer_core.templates import load_templates
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import Announced, HashTextEncoder

SCOPE = "clinic"
INBOX = "inbox"
SECRET = b"0123456789abcdef"
VISIBILITY_S = 30.0


class AzurePipeline:
    """Functions and worker in this process, over one storage account.

    Parameters
    ----------
    connection
        Of the account that holds index, tables and queues.
    inbox
        Of the account that holds the users' files; the same if not given.
    """

    def __init__(
        self, connection: str, inbox: str | None = None, *, read_timeout_s: float = 60.0
    ) -> None:
        self._accounts = [
            AzureStorage(account, read_timeout_s=read_timeout_s)
            for account in (connection, inbox or connection)
        ]
        self.storage, self.inbox_storage = self._accounts
        self.inbox: ContainerClient = self.inbox_storage.container(INBOX)
        self.source = AzureContainerSource(self.inbox, scope=SCOPE)
        self.stores = azure_stores(self.storage, [self.source], SystemClock(), RandomIds())
        self.announcer = Announced()
        self.text_encoder = HashTextEncoder()
        self.threads = ThreadPoolExecutor(2)
        self._indexer: Indexer | None = None
        self._services: Services | None = None
        self.retry_s = 0.0
        self.most_tries = 0
        """How often a message of the functions was received, at most."""

    def create(self) -> "AzurePipeline":
        create_stores(self.storage)
        self.inbox_storage.create_container(INBOX)
        return self

    def close(self) -> None:
        self.threads.shutdown()
        for account in self._accounts:
            account.close()

    @property
    def services(self) -> Services:
        if self._services is None:
            self._services = build_services(
                self.stores,
                indexer=lambda: self.indexer,
                announcer=self.announcer,
                patient_secret=SECRET,
                quiet_s=0.0,
                max_wait_s=0.0,
                parse=parse_azure_events,
            )
        return self._services

    @property
    def indexer(self) -> Indexer:
        if self._indexer is None:
            rules = load_rules()
            self._indexer = open_index(
                self.stores,
                text_encoder=self.text_encoder,
                vector_files=FlatFp16Vectors(),
                image_encoder_id=ImageDescriptor().encoder_id,
                image_dimension=DIMENSION,
                rules=rules,
                templates=load_templates((), rules),
            )
        return self._indexer

    @property
    def worker(self) -> Worker:
        return Worker(
            ready=self.stores.series_ready,
            poison=self.stores.poison,
            looks=self.stores.blob_events,
            rejects=self.stores.rejects,
            assembly=self.services.assembly,
            indexer=self.indexer,
            sources=self.stores.sources,
            image_encoders=(ImageDescriptor(),),
            announcer=self.announcer,
            threads=self.threads,
            settings=WorkerSettings(visibility_s=VISIBILITY_S, retry_s=self.retry_s),
        )

    def put(self, name: str, data: bytes) -> None:
        """A user's upload."""
        self.inbox.upload_blob(name, data, overwrite=True)

    def remove(self, name: str) -> None:
        """A user's deletion."""
        self.inbox.delete_blob(name)

    def tell(self, *names: str) -> None:
        """Events of blobs."""
        for name in names:
            self.stores.blob_events.send(look_message(self.source.url_of(name)))

    def ingest_all(self) -> bool:
        """Handle the events that are visible; a failed one comes back at once."""
        return self._each(
            self.stores.blob_events, lambda bodies: [ingest(b, self.services) for b in bodies]
        )

    def check_all(self) -> bool:
        return self._each(
            self.stores.series_checks, lambda bodies: series_checks(bodies, self.services)
        )

    def work(self) -> BatchReport | None:
        return work_once(self.worker)

    def step(self) -> bool:
        """Handle what is visible of every queue; whether there was any."""
        return any([self.ingest_all(), self.check_all(), self.work() is not None])

    def _each(self, queue: WorkQueue, handle) -> bool:
        """Handle each by itself, as the host does: one that fails keeps no other from its turn."""
        messages = queue.receive(32, VISIBILITY_S)
        failed = [error for message in messages if (error := self._one(queue, message, handle))]
        if failed:
            raise failed[0]
        return bool(messages)

    def _one(self, queue: WorkQueue, message: QueueMessage, handle) -> IndexerError | None:
        self.most_tries = max(self.most_tries, message.dequeue_count)
        try:
            handle([message.body])
        except IndexerError as error:
            queue.extend(message, 0.0)  # as the host does, by its visibilityTimeout
            return error
        try:
            queue.delete(message)
        except IndexerError as error:
            return error
        return None

    @property
    def lengths(self) -> Mapping[str, int]:
        queues = {
            "blob-events": self.stores.blob_events,
            "series-check": self.stores.series_checks,
            "series-ready": self.stores.series_ready,
            "poison": self.stores.poison,
        }
        return {name: queue.length() for name, queue in queues.items()}

    @property
    def is_idle(self) -> bool:
        lengths = dict(self.lengths)
        lengths.pop("poison")
        return not any(lengths.values()) and not list(self.services.assembly.open_keys())

    def live(self) -> dict[str, IndexRow]:
        """The searchable rows; every series once."""
        reader = Reader(self.stores.index, FlatFp16Vectors())
        reader.refresh()
        rows: dict[str, IndexRow] = {}
        for segment, number in reader.snapshot.rows():
            row = row_at(segment.loaded.table, number)
            assert row.series_key not in rows
            rows[row.series_key] = row
        return rows

    def problems(self) -> list[str]:
        return verify(self.stores.index, FlatFp16Vectors()).problems


def empty(storage: AzureStorage) -> None:
    """Leave no container, queue or table in an account."""
    for container in list(storage._blobs.list_containers()):
        storage.container(container.name).delete_container()
    for queue in list(storage._queues.list_queues()):
        storage.queue(queue.name).delete_queue()
    for table in list(storage._tables.list_tables()):
        storage.table(table.name).delete_table()


def written_rows(pipeline: AzurePipeline) -> Counter[tuple[str, int]]:
    """How often every revision lies in the index, searchable or not."""
    reader = Reader(pipeline.stores.index, FlatFp16Vectors())
    reader.refresh()
    found: Counter[tuple[str, int]] = Counter()
    for segment in reader.snapshot.segments:
        for number in range(segment.loaded.table.num_rows):
            row = row_at(segment.loaded.table, number)
            found[row.series_key, row.revision] += 1
    return found


def key_of(series: str, study: str = "study") -> str:
    return series_key(SCOPE, uid(study), uid(study, series))
