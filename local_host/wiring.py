"""The objects of the one-machine program: the same core, functions and worker as on Azure."""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import InvalidInputError, NotFoundError, UnavailableError
from indexer_core.ports import Row, VectorFiles
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources
from local_host.roots import LocalSource
from local_host.settings import Settings

if TYPE_CHECKING:
    # Loaded where they are first used, so that `status` or `rejects` load none of them.
    from function_app.handlers import Services
    from gpu_worker.loop import Worker
    from indexer_core.adapters.onnx_text import OnnxTextEncoder
    from indexer_core.assembly import Assembly
    from indexer_core.index.reader import Reader
    from indexer_core.indexing import Describer, Indexer
    from indexer_core.text_cache import CachedTextEncoder

_SECRET_BYTES = 32
_SECRET_MIN_BYTES = 16


class LocalSystem:
    """Everything over one data directory; parts are made when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.ids = RandomIds()
        state = settings.data / "state.sqlite"
        self.blobs = SqliteRows(state, "blobs")
        self.instances = SqliteRows(state, "instances")
        self.open_series = SqliteRows(state, "open_series")
        self._reject_rows = SqliteRows(state, "rejects")
        self.rejects = Rejects(self._reject_rows, self.clock)
        self.blob_events = SqliteQueue(state, "blob-events", self.clock, self.ids)
        self.series_checks = SqliteQueue(state, "series-check", self.clock, self.ids)
        self.series_ready = SqliteQueue(state, "series-ready", self.clock, self.ids)
        self.poison = SqliteQueue(state, "poison", self.clock, self.ids)
        self.index = FolderBlobs(settings.data / "index")
        self._roots = SqliteRows(state, "roots")

    @cached_property
    def source(self) -> LocalSource:
        """The indexed folders; read when needed, so that searching opens no state database."""
        return LocalSource(self._roots)

    @cached_property
    def sources(self) -> Sources:
        """Where blobs may be read from."""
        return Sources([self.source])

    @cached_property
    def vector_files(self) -> VectorFiles:
        """The format of vector files."""
        from indexer_core.adapters.faiss_vectors import FlatFp16Vectors

        return FlatFp16Vectors()

    @cached_property
    def encoder(self) -> "OnnxTextEncoder":
        """The text encoder for queries and texts, exported from its package at first use."""
        from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder

        folder = self.settings.data / "encoders" / "minilm-l6-v2"
        if not (folder / MANIFEST_NAME).exists():
            # torch is loaded here and only here, once per data directory.
            from gpu_worker.encoders.export import export_text_encoder

            export_text_encoder(folder)
        return OnnxTextEncoder.load(folder)

    @cached_property
    def describer(self) -> "Describer":
        """Rules and templates in force."""
        from indexer_core.descriptor import ImageDescriptor
        from indexer_core.indexing import Describer
        from indexer_core.rules import load_rules
        from indexer_core.templates import load_templates

        rules = load_rules(self.settings.rules)
        return Describer(
            rules=rules,
            templates=load_templates(self.settings.templates, rules),
            image_encoder_id=ImageDescriptor().encoder_id,
        )

    @cached_property
    def cached_encoder(self) -> "CachedTextEncoder":
        """The text encoder behind a cache: each distinct text is embedded once."""
        from indexer_core.text_cache import CachedTextEncoder, TextVectorCache

        cache = TextVectorCache(
            self.index,
            self.ids,
            encoder_id=self.encoder.encoder_id,
            dimension=self.encoder.dimension,
        )
        return CachedTextEncoder(self.encoder, cache)

    @cached_property
    def indexer(self) -> "Indexer":
        """The index writer, opened."""
        from indexer_core.descriptor import DIMENSION
        from indexer_core.indexing import Indexer

        indexer = Indexer(
            blobs=self.index,
            vector_files=self.vector_files,
            text_encoder=self.cached_encoder,
            image_dimension=DIMENSION,
            describer=self.describer,
            clock=self.clock,
            ids=self.ids,
        )
        indexer.open()
        return indexer

    @cached_property
    def assembly(self) -> "Assembly":
        """Series assembly."""
        from indexer_core.assembly import Assembly, AssemblySettings
        from indexer_core.handover import HandOver

        return Assembly(
            instances=self.instances,
            open_series=self.open_series,
            checks=self.series_checks,
            lists=self.index,
            hand=HandOver(ready=self.series_ready, indexer=lambda: self.indexer),
            clock=self.clock,
            ids=self.ids,
            settings=AssemblySettings(
                quiet_s=self.settings.quiet_s, max_wait_s=self.settings.max_wait_s
            ),
        )

    @cached_property
    def services(self) -> "Services":
        """What the functions need."""
        from function_app.handlers import Services
        from indexer_core.look import Looker

        looker = Looker(
            sources=self.sources,
            blobs=self.blobs,
            instances=self.instances,
            rejects=self.rejects,
            assembly=self.assembly,
            clock=self.clock,
            patient_secret=patient_secret(self.settings.patient_key_file),
        )
        return Services(looker=looker, assembly=self.assembly, rejects=self.rejects)

    @cached_property
    def worker(self) -> "Worker":
        """What the worker's loop needs."""
        from gpu_worker.loop import Worker, WorkerSettings
        from indexer_core.descriptor import ImageDescriptor

        return Worker(
            ready=self.series_ready,
            poison=self.poison,
            looks=self.blob_events,
            rejects=self.rejects,
            assembly=self.assembly,
            indexer=self.indexer,
            sources=self.sources,
            image_encoder=ImageDescriptor(),
            threads=ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)),
            settings=WorkerSettings(retry_s=0.0),
        )

    def assembly_keys(self) -> Iterator[str]:
        """Series that are not settled yet."""
        return (row.key for row in self.open_series.scan())

    def look_again(self, url: str) -> None:
        """Put a look at a file on the queue, one that reads it although it has not changed."""
        from indexer_core.events import look_message

        self.services.looker.forget(url)
        self.blob_events.send(look_message(url))

    def send_again(self, row: Row) -> None:
        """Put a rejected message back on its queue."""
        queues = {
            "blob-events": self.blob_events,
            "series-check": self.series_checks,
            "series-ready": self.series_ready,
        }
        queues[str(row.values["queue"])].send(str(row.values["body"]))

    def close(self) -> None:
        """Let go of files and threads."""
        if "worker" in self.__dict__:
            self.worker.threads.shutdown()
        for store in (
            self._roots,
            self.blobs,
            self.instances,
            self.open_series,
            self._reject_rows,
            self.blob_events,
            self.series_checks,
            self.series_ready,
            self.poison,
        ):
            store.close()

    def reader(self) -> "Reader":
        """A reader of the index.

        Raises
        ------
        NotFoundError
            Nothing has been indexed yet.
        """
        from indexer_core.index.reader import Reader

        reader = Reader(self.index, self.vector_files)
        if reader.refresh().manifest.number == 0:
            raise NotFoundError(
                f"nothing is indexed in {self.settings.data} yet: run dicom-indexer index FOLDER"
            )
        return reader


def patient_secret(path: Path) -> bytes:
    """The secret of the patient hash; made at first use, readable by its owner only.

    Raises
    ------
    UnavailableError
        It can neither be read nor made.
    InvalidInputError
        It is too short to keep a secret.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        if not path.exists():
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)  # only if nobody else made one meanwhile
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"the patient-hash key {path} cannot be read or made; "
            "set DICOM_INDEXER_PATIENT_KEY_FILE to a file of your own"
        ) from error
    if len(secret) < _SECRET_MIN_BYTES:
        raise InvalidInputError(
            f"the patient-hash key {path} is too short: give it at least {_SECRET_MIN_BYTES} "
            "random bytes, or delete it to have a new one made"
        )
    return secret
