"""The objects of the one-machine program: the same core, functions and worker as on Azure."""

import os
import secrets
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from indexer_core.adapters.system import usable_memory_bytes
from indexer_core.announcements import Announcer, Nobody
from indexer_core.errors import InvalidInputError, NotFoundError, UnavailableError
from indexer_core.ports import Row, VectorFiles, WorkQueue
from indexer_core.reading import Reading
from local_host.homes import Home, LocalHome
from local_host.roots import LocalSource
from local_host.settings import Settings

if TYPE_CHECKING:
    # Loaded where they are first used, so that `status` or `rejects` load none of them.
    from function_app.handlers import Services
    from gpu_worker.pixel_models import PixelModel
    from gpu_worker.projection.keeping import IndexMap, MapSettings
    from gpu_worker.worker import Worker
    from indexer_core.adapters.azure.announcer import EventGridAnnouncer
    from indexer_core.adapters.decoding import DecodingChildren
    from indexer_core.assembly import Assembly
    from indexer_core.index.reader import Reader, Snapshot
    from indexer_core.index.upkeep import Upkeep
    from indexer_core.indexing import Indexer
    from indexer_core.ports import ImageEncoder, ImageTextEncoder, TextEncoder
    from indexer_core.purge import Purger
    from indexer_core.rules import Rules
    from indexer_core.stores import Stores
    from indexer_core.templates import Templates
    from indexer_core.thumbnails import Thumbnails
    from local_host.encoders import LocalEncoders

_SECRET_BYTES = 32
_SECRET_MIN_BYTES = 16


class LocalSystem:
    """Everything over one data directory; parts are made when they are first used."""

    def __init__(self, settings: Settings, announcer: Announcer | None = None) -> None:
        self.settings = settings
        self._opening = Lock()
        self._own_announcer = Nobody() if announcer else _announcer(settings)
        self.announcer: Announcer = announcer or self._own_announcer
        self.home: Home = _home(settings)
        self.stores = self.home.stores
        self.clock = self.stores.clock
        self.ids = self.stores.ids
        self.blobs = self.stores.blobs
        self.instances = self.stores.instances
        self.open_series = self.stores.open_series
        self.rejects = self.stores.rejects
        self.blob_events = self.stores.blob_events
        self.series_checks = self.stores.series_checks
        self.series_ready = self.stores.series_ready
        self.poison = self.stores.poison
        self.index = self.stores.index
        self.sources = self.stores.sources
        self.teaching: Callable[[int, int], None] = _untold
        """Told how far the map is when it is taught between two batches."""

    @property
    def source(self) -> LocalSource:
        """The indexed folders of a data directory.

        Raises
        ------
        InvalidInputError
            The index lies in Azure, where containers are configured and not added.
        """
        if not isinstance(self.home, LocalHome):
            raise InvalidInputError("this needs a data directory: leave --store azure out")
        return self.home.source

    @property
    def reading(self) -> Reading:
        """How this program reads the index."""
        return (self.settings.azure or self.settings).reading

    @cached_property
    def vector_files(self) -> VectorFiles:
        """The format of vector files."""
        from indexer_core.adapters.faiss_vectors import FlatFp16Vectors

        return FlatFp16Vectors()

    @cached_property
    def encoders(self) -> "LocalEncoders":
        """The encoders that this program has."""
        from local_host.encoders import LocalEncoders

        folder = self.settings.data / "encoders"
        if self.settings.azure is None:
            return LocalEncoders(folder, further=self._of_pixel_model)
        from indexer_core.adapters.azure.configured import ENCODER_PREFIX

        return LocalEncoders(folder, self.index, (ENCODER_PREFIX,), further=self._of_pixel_model)

    def _of_pixel_model(self, encoder_id: str) -> "ImageEncoder | None":
        """The pixel model as an image encoder, if that is its id; it is not opened in vain."""
        if not self.settings.pixels.may_have_made(encoder_id) or self.pixel_model is None:
            return None
        encoder = self.pixel_model.encoder
        return encoder if encoder.encoder_id == encoder_id else None

    def as_worker(self, encoder: "TextEncoder") -> "TextEncoder":
        """The text encoder as the worker uses it: on a GPU where the pixel model has it there."""
        from gpu_worker.pixel_models import texts_by

        def model_for(encoder_id: str) -> "PixelModel | None":
            # It takes seconds to open.
            return self.pixel_model if self.settings.pixels.may_have_read(encoder_id) else None

        return texts_by(model_for)(encoder)

    @cached_property
    def encoder(self) -> "TextEncoder":
        """The text encoder that the index uses, or a new index would.

        Raises
        ------
        NotFoundError
            The index was switched to one that is not here.
        """
        from indexer_core.index.adoption import text_encoder_of
        from indexer_core.index.commit import Manifests

        wanted = text_encoder_of(Manifests(self.index).newest())
        return self.encoders.default if wanted is None else self.encoders.needed(wanted)

    def encoder_of(self, snapshot: "Snapshot") -> "TextEncoder":
        """The text encoder whose vectors a snapshot holds.

        Raises
        ------
        NotFoundError
            It is not here.
        """
        from indexer_core.index.adoption import text_encoder_of

        return self.encoder_named(text_encoder_of(snapshot.manifest))

    def encoder_named(self, encoder_id: str | None) -> "TextEncoder":
        """The text encoder of this id; without one, that of the index.

        Raises
        ------
        NotFoundError
            It is not here.
        """
        return self.encoders.needed(encoder_id) if encoder_id else self.encoder

    def image_texts(
        self, image_encoder_id: str, encoder: "TextEncoder"
    ) -> "ImageTextEncoder | None":
        """What puts words into the space of an image encoder, or None.

        A text encoder that is a tower of the same model, or the pixel model, if it is that one; it
        is not opened in vain.
        """
        from gpu_worker.classifying import LabelEncoder
        from indexer_core.image_texts import text_tower

        if (tower := text_tower(image_encoder_id, encoder)) is not None:
            return tower
        if not self.settings.pixels.may_have_made(image_encoder_id):
            return None
        with self._opening:  # requests come from several threads
            model = self.pixel_model
        return None if model is None else LabelEncoder(model.encoder.eye)

    @cached_property
    def rules(self) -> "Rules":
        """Rules in force."""
        from indexer_core.rules import load_rules

        return load_rules(self.settings.rules)

    @cached_property
    def templates(self) -> "Templates":
        """Templates in force."""
        from indexer_core.templates import load_templates

        return load_templates(self.settings.templates, self.rules)

    @cached_property
    def indexer(self) -> "Indexer":
        """The index writer, opened: it writes whatever image encoder the index uses.

        Most commands see no pixels, and a series must be deletable although a model is gone. Who
        does see some asks `check_sight`.
        """
        from indexer_core.encoders import EXPORT_MANIFEST

        if (self.encoders.default_folder / EXPORT_MANIFEST).exists():
            self.home.leave_encoder(self.encoders.default_folder)
        return self.indexer_over(self.stores)

    def indexer_over(self, stores: "Stores") -> "Indexer":
        """The same writer over other stores."""
        from indexer_core.descriptor import DIMENSION, ImageDescriptor
        from indexer_core.indexing import open_index

        return open_index(
            stores,
            text_encoder=self.encoder,
            find_encoder=self.encoders.find,
            vector_files=self.vector_files,
            image_encoder_id=ImageDescriptor().encoder_id,
            image_dimension=DIMENSION,
            image_encoder_ids=(),
            rules=self.rules,
            templates=self.templates,
            around=self.as_worker,
        )

    def check_sight(self) -> None:
        """Make sure that series with pixels can be indexed now.

        Raises
        ------
        NotFoundError
            The image encoder that the index uses is not here.
        """
        self.indexer.check_fitness()
        self.encoders.needed_image(self.indexer.image_encoder_ids[0])

    @property
    def assembly(self) -> "Assembly":
        """Series assembly."""
        return self.services.assembly

    @cached_property
    def services(self) -> "Services":
        """What the functions need."""
        from function_app.wiring import build_services

        timing = self.settings.azure or self.settings
        return build_services(
            self.stores,
            indexer=lambda: self.indexer,
            announcer=self.announcer,
            patient_secret=self.secret(),
            quiet_s=timing.quiet_s,
            max_wait_s=timing.max_wait_s,
        )

    def secret(self) -> bytes:
        """The secret of the patient hash."""
        if self.settings.azure is not None:
            return self.settings.azure.patient_secret
        return patient_secret(self.settings.patient_key_file)

    @cached_property
    def _decoding(self) -> "DecodingChildren":
        from indexer_core.adapters.decoding import DecodingChildren

        return DecodingChildren()

    @cached_property
    def pixel_model(self) -> "PixelModel | None":
        """What names the pictures of series, and has vectors of them, where one is set."""
        from gpu_worker.pixel_models import open_pixel_model

        return open_pixel_model(self.settings.pixels, self.index, self.ids)

    @property
    def needed_pixel_model(self) -> "PixelModel":
        """The pixel model.

        Raises
        ------
        InvalidInputError
            None is set.
        """
        if self.pixel_model is None:
            raise InvalidInputError(
                "no pixel model is set: name one in DICOM_INDEXER_PIXEL_MODEL (docs/encoders.md)"
            )
        return self.pixel_model

    @cached_property
    def worker(self) -> "Worker":
        """What the worker's loop needs."""
        from gpu_worker.background import Keepers
        from gpu_worker.wiring import build_worker
        from gpu_worker.worker import WorkerSettings

        return build_worker(
            self.stores,
            assembly=self.assembly,
            indexer=self.indexer,
            image_encoders=self.encoders.images.wanted(lambda: self.indexer.image_encoder_ids),
            classifier=model.classifier if (model := self.pixel_model) else None,
            announcer=self.announcer,
            settings=WorkerSettings(retry_s=0.0),
            decode=self._decoding,
            upkeep=Keepers(self.upkeep, self.index_map()),
            thumbnails=self._thumbnails,
        )

    @property
    def _thumbnails(self) -> "Thumbnails | None":
        from gpu_worker.wiring import thumbnails_of
        from indexer_core.adapters.azure.settings import THUMBNAILS as ON_AZURE
        from local_host.settings import THUMBNAILS

        azure = self.settings.azure
        if not (azure or self.settings).thumbnails:
            return None
        return thumbnails_of(self.index, ON_AZURE if azure else THUMBNAILS)

    @cached_property
    def upkeep(self) -> "Upkeep":
        """What merges and collects."""
        from indexer_core.index.upkeep import Upkeep, upkeep_settings

        chosen = self.settings.azure or self.settings
        return Upkeep(
            self.index,
            self.vector_files,
            clock=self.clock,
            ids=self.ids,
            files=self.stores.files,
            settings=upkeep_settings(chosen.retention_days, chosen.merge_mb),
        )

    def _teaching(self, done: int, total: int) -> None:
        self.teaching(done, total)

    def index_map(self, settings: "MapSettings | None" = None) -> "IndexMap":
        """What fits the map of the index and teaches it."""
        from gpu_worker.projection.keeping import IndexMap

        return IndexMap(
            self.index,
            self.vector_files,
            clock=self.clock,
            ids=self.ids,
            announcer=self.announcer,
            settings=settings,
            files=self.stores.files,
            teaching=self._teaching,
        )

    @cached_property
    def purger(self) -> "Purger":
        """What erases series from every store."""
        from function_app.handlers import ingest
        from indexer_core.purge_stores import purger_of
        from local_host.milvus_copies import MilvusCopies

        return purger_of(
            self.stores,
            vector_files=self.vector_files,
            assembly=self.assembly,
            handle_event=lambda body: ingest(body, self.services),
            policy=self.home.purge_policy,
            further=(*self.home.further_stores(), MilvusCopies(self.index)),
            scrub=self.home.scrub,
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
        """Put a rejected message back on its queue.

        Raises
        ------
        InvalidInputError
            This version cannot read it, so nobody is sent it.
        """
        from indexer_core.messages import parse_check, parse_ready

        kinds: dict[str, tuple[WorkQueue, Callable[[str], object]]] = {
            "blob-events": (self.blob_events, self.services.parse),
            "series-check": (self.series_checks, parse_check),
            "series-ready": (self.series_ready, parse_ready),
        }
        name = str(row.values["queue"])
        if name not in kinds:
            raise InvalidInputError(f"this version has no queue {name}")
        queue, parse = kinds[name]
        body = str(row.values["body"])
        parse(body)
        queue.send(body)

    def close(self) -> None:
        """Let go of files and threads."""
        if "worker" in self.__dict__:
            self.worker.threads.shutdown()
            self._decoding.close()
        if (model := self.__dict__.get("pixel_model")) is not None:
            model.close()
        self._own_announcer.close()
        self.home.close()

    def reader(self, *, searched: Collection[str] = ()) -> "Reader":
        """A reader of the index, which opens the vectors of these spaces as well.

        Raises
        ------
        NotFoundError
            Nothing has been indexed yet.
        UnavailableError
            Searching it would take more memory than is allowed.
        """
        reader = self.stores.reader(
            self.vector_files,
            searched=searched,
            limit_bytes=self.reading.memory_bytes or usable_memory_bytes(),
        )
        if reader.refresh().manifest.number == 0:
            raise self.nothing_indexed()
        return reader

    def snapshot(self, at: str | None = None, *, searched: Collection[str] = ()) -> "Snapshot":
        """The newest manifest, or the one that has this number or name.

        Raises
        ------
        NotFoundError
            Nothing has been indexed yet, or there is no such manifest any more.
        """
        reader = self.reader(searched=searched)
        if at is None:
            return reader.snapshot
        from indexer_core.index.pins import number_of

        return reader.at(number_of(reader.snapshot.manifest, at))

    def nothing_indexed(self) -> NotFoundError:
        """What to say where there is no index yet."""
        command = "index FOLDER" if self.settings.azure is None else "--store azure backfill"
        return NotFoundError(
            f"nothing is indexed in {self.home.place} yet: run dicom-indexer {command}"
        )


def _untold(done: int, total: int) -> None:
    del done, total


def _home(settings: Settings) -> Home:
    if settings.azure is None:
        return LocalHome(settings.data)
    try:
        from local_host.azure_home import AzureHome
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "--store azure needs Azure's packages: pip install 'dicom-indexer[azure]'"
        ) from error
    return AzureHome(settings.azure, settings.data / "copies")


def _announcer(settings: Settings) -> "EventGridAnnouncer | Nobody":
    """Who is told what happens: on Azure whoever listens to the configured topic."""
    if settings.azure is None or not settings.azure.topic:
        return Nobody()
    from indexer_core.adapters.azure.configured import announcer_of
    from indexer_core.adapters.system import SystemClock

    return announcer_of(settings.azure, SystemClock())


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
