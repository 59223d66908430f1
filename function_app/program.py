"""The one program behind the functions of an app instance: made at its first message."""

import os
from functools import cache, partial
from threading import Lock
from typing import Any

from function_app.handlers import Services
from function_app.search import SearchRequest, search
from function_app.wiring import Settings, build_services, read_settings
from indexer_core.adapters.azure.announcer import EventGridAnnouncer
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import ContainerListing, azure_stores
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.announcements import Announcer, Nobody
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.errors import NotFoundError, UnavailableError
from indexer_core.filters import Filter
from indexer_core.index.reader import Reader
from indexer_core.indexing import Indexer, open_index
from indexer_core.reconcile import ReconcileReport, reconcile
from indexer_core.rules import load_rules
from indexer_core.templates import load_templates

ENCODER_PREFIX = "encoders/text/"
"""Where the worker leaves the exported text encoder, in the index container."""


class Program:
    """Services for the queue triggers, and search; parts are made when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        clock, ids = SystemClock(), RandomIds()
        self._listings = list_sources(settings)
        sources = [listing.source for listing in self._listings]
        storage = AzureStorage(settings.storage)
        self.stores = azure_stores(storage, sources, clock, ids)
        self.announcer: Announcer = announcer_of(settings, clock)
        self.services: Services = build_services(
            self.stores,
            indexer=self._indexer_if_ready,
            announcer=self.announcer,
            patient_secret=settings.patient_secret,
            quiet_s=settings.quiet_s,
            max_wait_s=settings.max_wait_s,
        )
        self._reader = Reader(self.stores.index, FlatFp16Vectors())
        self._encoder: OnnxTextEncoder | None = None
        self._indexer: Indexer | None = None
        self._lock = Lock()

    def search(self, text: str, filters: tuple[Filter, ...], top: int) -> dict[str, Any]:
        """Answer a search from the newest manifest."""
        with self._lock:  # the reader follows the manifests for one request at a time
            encoder = self._text_encoder()
            snapshot = self._reader.refresh()
        if snapshot.manifest.number == 0:
            raise NotFoundError("nothing is indexed yet")
        names = tuple(template.name for template in load_templates().templates)
        return search(SearchRequest(text=text, filters=filters, top=top), snapshot, encoder, names)

    def reconcile(self) -> list[ReconcileReport]:
        """Compare every source with the index and enqueue looks where they differ."""
        return [
            reconcile(
                listing,
                blobs=self.stores.blobs,
                instances=self.stores.instances,
                looks=self.stores.blob_events,
                assembly=self.services.assembly,
                reader=self._reader,
                holds=partial(_holds, listing.source),
            )
            for listing in self._listings
        ]

    def _text_encoder(self) -> OnnxTextEncoder:
        if self._encoder is None:
            self._encoder = OnnxTextEncoder.load(self._encoder_file)
        return self._encoder

    def _encoder_file(self, name: str) -> bytes:
        found = self.stores.index.get(ENCODER_PREFIX + name)
        if found is None:
            raise UnavailableError("the worker has not exported its text encoder yet")
        return found.data

    def _indexer_if_ready(self) -> Indexer | None:
        with self._lock:
            if self._indexer is None and self._has_encoder():
                rules = load_rules()
                self._indexer = open_index(
                    self.stores,
                    text_encoder=self._text_encoder(),
                    vector_files=FlatFp16Vectors(),
                    image_encoder_id=ImageDescriptor().encoder_id,
                    image_dimension=DIMENSION,
                    rules=rules,
                    templates=load_templates((), rules),
                )
            return self._indexer

    def _has_encoder(self) -> bool:
        return self.stores.index.properties(ENCODER_PREFIX + MANIFEST_NAME) is not None


def _holds(source: AzureContainerSource, url: str) -> bool:
    return source.locate(url) is not None


def list_sources(settings: Settings) -> list[ContainerListing]:
    """The configured sources, with what lists them."""
    listings = []
    for source in settings.sources:
        container = AzureStorage(source.account).container(source.container)
        listings.append(
            ContainerListing(
                container=container,
                source=AzureContainerSource(container, scope=source.scope, prefix=source.prefix),
                name=f"{source.container}-{source.prefix}",
                prefix=source.prefix,
            )
        )
    return listings


def announcer_of(settings: Settings, clock: SystemClock) -> Announcer:
    """Who is told what happens."""
    if not settings.topic:
        return Nobody()
    from azure.identity import DefaultAzureCredential

    return EventGridAnnouncer(settings.topic, DefaultAzureCredential(), clock)


@cache
def program() -> Program:
    """The program of this process, from its environment."""
    return Program(read_settings(os.environ))
