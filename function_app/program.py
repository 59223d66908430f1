"""The one program behind the functions of an app instance: made at its first message."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from threading import Lock
from typing import cast

from function_app.api.callers import azure_callers
from function_app.api.router import Router
from function_app.api.service import Service
from function_app.api.wiring import build_router
from function_app.handlers import Services
from function_app.homes import Home, MilvusAnswers, SegmentsHome
from function_app.milvus_home import MILVUS_SETTINGS, milvus_home
from function_app.wiring import build_services
from indexer_core.adapters.azure.configured import ENCODER_PREFIX, Accounts, announcer_of
from indexer_core.adapters.azure.events import parse_azure_events
from indexer_core.adapters.azure.settings import Settings, read_settings
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import ContainerListing, azure_stores, queues_by_name
from indexer_core.adapters.decoding import ChildLimits, DecodingChildren
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.file_cache import cached_files
from indexer_core.adapters.milvus.settings import MilvusSettings, read_milvus_settings
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock, usable_memory_bytes
from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.encoders import (
    EXPORT_MANIFEST,
    InBackground,
    ReadFile,
    encoder_id_of,
    in_store,
    loaded_once,
)
from indexer_core.entries import Due, Entry, Vector
from indexer_core.errors import IndexerError, InvalidInputError, UnavailableError
from indexer_core.index.adoption import QueryReader, text_encoder_of
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.upkeep import Upkeep, upkeep_settings
from indexer_core.indexing import Indexer, open_index
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady
from indexer_core.ports import ImageEncoder, TextEncoder
from indexer_core.reconcile import ReconcileReport, reconcile
from indexer_core.rules import load_rules
from indexer_core.telemetry import FUNCTIONS_ROLE
from indexer_core.telemetry_settings import TelemetrySettings, telemetry_if_usable
from indexer_core.templates import load_templates
from indexer_core.uploads import UploadReader

log = logging.getLogger(__name__)

# What a merge takes of the memory of an app instance; the worker makes larger ones.
_MERGE_MB = 64.0
# What an upload takes of it; and a request has no more seconds anyway.
_DECODING = ChildLimits(seconds=20, memory_bytes=1 << 30)


class Program:
    """Services for the queue triggers, and the API; parts are made when they are first used."""

    def __init__(
        self,
        settings: Settings,
        telemetry: TelemetrySettings,
        milvus: MilvusSettings | None = None,
    ) -> None:
        self.settings = settings
        clock, ids = SystemClock(), RandomIds()
        accounts = Accounts(settings)
        self._listings = accounts.listings()
        sources = [listing.source for listing in self._listings]
        stores = azure_stores(accounts.index, sources, clock, ids)
        files = cached_files(stores.index, settings.reading, settings.storage)
        self.stores = replace(stores, files=files)
        self.services: Services = build_services(
            self.stores,
            indexer=self._indexer_if_ready,
            announcer=announcer_of(settings, clock),
            patient_secret=settings.patient_secret,
            quiet_s=settings.quiet_s,
            max_wait_s=settings.max_wait_s,
            parse=parse_azure_events,
            telemetry=telemetry_of(telemetry, FUNCTIONS_ROLE),
            queues=queues_by_name(accounts.index) if telemetry.is_on else {},
            upkeep=Upkeep(
                self.stores.index,
                FlatFp16Vectors(),
                clock=clock,
                ids=ids,
                files=self.stores.files,
                settings=upkeep_settings(
                    settings.retention_days, min(settings.merge_mb, _MERGE_MB)
                ),
            ),
        )
        reader = self.stores.reader(
            FlatFp16Vectors(),
            searched=[TEXT_SPACE],
            limit_bytes=settings.reading.memory_bytes or usable_memory_bytes(),
        )
        self._manifests = Manifests(self.stores.index)
        self._find_encoder = loaded_once(in_store(self.stores.index, _load, (ENCODER_PREFIX,)))
        background = InBackground(self._find_encoder)
        home: Home
        if milvus is None:
            queries = QueryReader(reader, self._manifests, find=background, first=background.now)
            home = SegmentsHome(reader, queries)
        else:
            home = MilvusAnswers(
                milvus_home(milvus, self.stores.index),
                self._manifests,
                find=background,
                first=background.now,
                setting=f"{MILVUS_SETTINGS}URI",
            )
        self._rules = load_rules()
        self.api: Router = build_router(
            self.stores,
            Service(
                self.stores,
                home,
                tracing=self.stores.reader(FlatFp16Vectors()),
                exact=settings.reading.exact,
                uploads=UploadReader(
                    decoding=DecodingChildren(_DECODING),
                    find_encoder=_image_encoder,
                    rules=self._rules,
                ),
                viewer=settings.viewer,
            ),
            authenticate=azure_callers(settings.access, easy_auth=settings.easy_auth),
            secret=settings.patient_secret,
        )
        self._indexer: Indexer | None = None
        self._lock = Lock()

    def reconcile(self) -> list[ReconcileReport]:
        """Compare every source with the index and enqueue looks where they differ.

        Raises
        ------
        IndexerError
            What went wrong with a source; the others have been compared all the same.
        """
        reports, errors = [], []
        for listing in self._listings:
            try:
                reports.append(self._reconcile(listing))
            except IndexerError as error:
                log.error("reconcile source failed kind=%s", error.kind.value)  # noqa: TRY400 - raised below
                errors.append(error)
        if errors:
            raise errors[0]
        return reports

    def _reconcile(self, listing: ContainerListing) -> ReconcileReport:
        return reconcile(
            listing,
            blobs=self.stores.blobs,
            instances=self.stores.instances,
            looks=self.stores.blob_events,
            assembly=self.services.assembly,
            # Not the one of `search`: a reader is for one thread at a time.
            reader=self.stores.reader(FlatFp16Vectors()),
            holds=partial(_holds, listing.source),
            rejects=self.stores.rejects,
        )

    def _indexer_if_ready(self) -> Indexer | None:
        with self._lock:
            if self._indexer is None and (encoder := self._text_encoder()) is not None:
                opened = open_index(
                    self.stores,
                    text_encoder=encoder,
                    find_encoder=self._find_encoder,
                    vector_files=FlatFp16Vectors(),
                    image_encoder_id=ImageDescriptor().encoder_id,
                    image_dimension=DIMENSION,
                    image_encoder_ids=(),  # what has pixels goes to the worker
                    rules=self._rules,
                    templates=load_templates((), self._rules),
                )
                self._indexer = cast(Indexer, _OneAtATime(opened))
            return self._indexer

    def _text_encoder(self) -> TextEncoder | None:
        """The text encoder of the index, or of a new one; None before a worker has left it."""
        used = text_encoder_of(self._manifests.newest())
        if used is not None:
            return self._find_encoder(used)
        left = self.stores.index.get(ENCODER_PREFIX + EXPORT_MANIFEST)
        return None if left is None else self._find_encoder(encoder_id_of(left.data))


def _image_encoder(encoder_id: str) -> ImageEncoder | None:
    """What sees pictures here: the descriptor, which needs no model."""
    descriptor = ImageDescriptor()
    return descriptor if descriptor.encoder_id == encoder_id else None


def _load(read: ReadFile) -> TextEncoder:
    try:
        return OnnxTextEncoder.load(read)
    except InvalidInputError as error:
        # Not the fault of whoever searches: it must not be answered with 400.
        raise UnavailableError("the exported text encoder cannot be used") from error


class _OneAtATime:
    """What a hand-over needs of an index writer, which is for one thread at a time.

    The host runs two dozen checks at once, on as many threads. No lock is held between two calls:
    to the index, other threads are what other programs are to it anyway.
    """

    def __init__(self, indexer: Indexer) -> None:
        self._indexer = indexer
        self._turn = Lock()

    @property
    def manifest_number(self) -> int:
        with self._turn:
            return self._indexer.manifest_number

    def due(self, ready: SeriesReady) -> Due:
        with self._turn:
            return self._indexer.due(ready)

    def entry(
        self, ready: SeriesReady, assembled: AssembledSeries, images: Mapping[str, Vector]
    ) -> Entry:
        return self._indexer.entry(ready, assembled, images)  # pure

    def write(self, entries: Sequence[Entry], reason: str) -> Manifest:
        with self._turn:
            return self._indexer.write(entries, reason)


def _holds(source: AzureContainerSource, url: str) -> bool:
    return source.locate(url) is not None


def program() -> Program:
    """The program of this process, from its environment; one, whichever thread is first.

    Raises
    ------
    UnavailableError
        The settings cannot be used. That is nobody's request's fault.
    """
    with _first:
        return _program()


_first = Lock()


@cache
def _program() -> Program:
    try:
        return Program(
            read_settings(os.environ),
            telemetry_if_usable(os.environ),
            read_milvus_settings(os.environ, MILVUS_SETTINGS),
        )
    except InvalidInputError as error:
        log.error("settings cannot be used: %s", error)  # noqa: TRY400 - names, never values
        raise UnavailableError("the settings of the app cannot be used") from error
