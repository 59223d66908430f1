"""The objects of the worker, and the only place that reads its settings."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu_worker.background import BackgroundKeeper, Keeper, Keepers
from gpu_worker.encoders.finding import FindImageEncoder, ImageEncoders
from gpu_worker.halving import Halving
from gpu_worker.health import HealthSettings, read_port
from gpu_worker.pixel_models import open_pixel_model, texts_by
from gpu_worker.pixel_settings import PixelSettings, read_pixel_settings
from gpu_worker.projection.keeping import IndexMap
from gpu_worker.seeing import PixelClassifier
from gpu_worker.worker import Worker, WorkerSettings
from indexer_core.adapters.azure.settings import READING, THUMBNAILS, Settings, read_settings
from indexer_core.adapters.decoding import DecodingChildren
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.announcements import Announcer
from indexer_core.assembly import Assembly
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.encoders import ReadFile, export_in_store, in_store, loaded_once
from indexer_core.errors import ConflictError, CorruptIndexError, InvalidInputError
from indexer_core.handover import build_assembly
from indexer_core.index.adoption import text_encoder_of
from indexer_core.index.commit import Manifests
from indexer_core.index.upkeep import Upkeep, upkeep_settings
from indexer_core.indexing import Indexer, open_index
from indexer_core.pixels.stack import Decode
from indexer_core.ports import BlobStore, ImageEncoder, TextEncoder, Written
from indexer_core.rules import load_rules
from indexer_core.stores import Stores
from indexer_core.telemetry import SILENT, WORKER_ROLE, Telemetry
from indexer_core.telemetry_settings import (
    TelemetrySettings,
    read_hourly_price,
    telemetry_if_usable,
)
from indexer_core.telling import Telling
from indexer_core.templates import load_templates
from indexer_core.thumbnails import Thumbnails

FEWEST_THREADS, MOST_THREADS = 4, 16
"""They fetch and decode. More than one per core: fetching is mostly waiting."""

ERRANDS = 8
"""Calls at once that only wait for an answer."""

SEEN_TOGETHER = 32
"""Series whose pictures a model is given at once, until it runs out of memory."""

_RACES = 4

BATCH = "INDEXER_WORKER_BATCH"
VISIBILITY = "INDEXER_WORKER_VISIBILITY_S"
GRACE = "INDEXER_WORKER_GRACE_S"
PRICE = "INDEXER_HOURLY_PRICE"
LOG_FORMAT = "INDEXER_LOG_FORMAT"
STALL = "INDEXER_WORKER_STALL_S"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """Settings of ``python -m gpu_worker``.

    grace_s: how long a batch that is under way may take to end once the process is told to end. A
    container that is told to end is killed after 30 seconds, unless its platform is told otherwise.
    log_format: ``json`` (lines for machines) or ``text`` (for people).
    """

    azure: Settings
    worker: WorkerSettings
    pixels: PixelSettings
    grace_s: float = 25.0
    log_format: str = "json"
    health: HealthSettings = field(default_factory=HealthSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)


def read_program_settings(environment: Mapping[str, str]) -> ProgramSettings:
    """Settings from the environment.

    Raises
    ------
    InvalidInputError
        Names are missing (all are listed) or cannot be used. Values are never repeated.
    """
    defaults = WorkerSettings()
    return ProgramSettings(
        azure=read_settings(environment),
        worker=WorkerSettings(
            batch=int(_number(environment, BATCH, defaults.batch, 1)),
            visibility_s=_number(environment, VISIBILITY, defaults.visibility_s, 1),
            hourly_price=read_hourly_price(environment, PRICE),
        ),
        pixels=read_pixel_settings(environment, READING),
        grace_s=_number(environment, GRACE, 25.0, 0),
        log_format=read_log_format(environment),
        health=HealthSettings(
            port=read_port(environment),
            stall_s=_number(environment, STALL, HealthSettings().stall_s, 1),
        ),
        telemetry=telemetry_if_usable(environment),
    )


def read_log_format(environment: Mapping[str, str]) -> str:
    """How the worker writes its log.

    Raises
    ------
    InvalidInputError
        It is neither ``json`` nor ``text``.
    """
    value = environment.get(LOG_FORMAT) or "json"
    if value not in {"json", "text"}:
        raise InvalidInputError(f"{LOG_FORMAT} is json or text")
    return value


def build_worker(
    stores: Stores,
    *,
    assembly: Assembly,
    indexer: Indexer,
    image_encoders: Sequence[ImageEncoder],
    announcer: Announcer,
    settings: WorkerSettings,
    decode: Decode,
    classifier: PixelClassifier | None = None,
    upkeep: Keeper | None = None,
    thumbnails: Thumbnails | None = None,
    telemetry: Telemetry = SILENT,
) -> Worker:
    """What the loop needs, over any stores."""
    return Worker(
        ready=stores.series_ready,
        poison=stores.poison,
        looks=stores.blob_events,
        rejects=stores.rejects,
        assembly=assembly,
        indexer=indexer,
        sources=stores.sources,
        image_encoders=image_encoders,
        classifier=classifier,
        announcer=announcer,
        threads=ThreadPoolExecutor(n_threads(), "loading"),
        errands=ThreadPoolExecutor(ERRANDS, "errands"),
        decode=decode,
        settings=settings,
        upkeep=upkeep,
        thumbnails=thumbnails,
        together=Halving(_together((*image_encoders, classifier))),
        telling=Telling(clock=stores.clock, telemetry=telemetry),
    )


def index_map(stores: Stores, announcer: Announcer) -> IndexMap:
    """What fits the map of an index and teaches it."""
    from indexer_core.adapters.faiss_vectors import FlatFp16Vectors

    return IndexMap(
        stores.index,
        FlatFp16Vectors(),
        clock=stores.clock,
        ids=stores.ids,
        announcer=announcer,
        files=stores.files,
    )


def thumbnails_of(index: BlobStore, setting: str) -> Thumbnails:
    """What keeps thumbnails beside an index; `setting` is the variable that turns them off.

    Raises
    ------
    InvalidInputError
        What encodes them is not installed.
    """
    from indexer_core.adapters.webp import check_webp, encode_webp

    check_webp(setting)
    return Thumbnails(index, encode_webp)


def n_threads() -> int:
    """How many fetch and decode on this machine."""
    return min(max(os.cpu_count() or 1, FEWEST_THREADS), MOST_THREADS)


def _together(looking: Sequence[ImageEncoder | PixelClassifier | None]) -> int:
    """How many series are seen at once: models gain by it, the descriptor does not."""
    is_simple = all(one is None or isinstance(one, ImageDescriptor) for one in looking)
    return 1 if is_simple else SEEN_TOGETHER


def build_azure_worker(settings: ProgramSettings) -> Worker:
    """The worker of an index in an Azure storage account.

    The text encoder is exported beside the index first, where no worker has done so.

    Raises
    ------
    InvalidInputError
        The index was made with other encoders.
    """
    from indexer_core.adapters.azure.configured import ENCODER_PREFIX, Accounts, announcer_of
    from indexer_core.adapters.azure.stores import azure_stores
    from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
    from indexer_core.adapters.file_cache import cached_files
    from indexer_core.adapters.onnx_text import OnnxTextEncoder

    clock, ids = SystemClock(), RandomIds()
    azure = settings.azure
    accounts = Accounts(azure)
    sources = [listing.source for listing in accounts.listings()]
    stores = azure_stores(accounts.index, sources, clock, ids)
    stores = replace(stores, files=cached_files(stores.index, azure.reading, azure.storage))
    rules = load_rules()
    find_encoder = loaded_once(in_store(stores.index, OnnxTextEncoder.load, (ENCODER_PREFIX,)))
    used = text_encoder_of(Manifests(stores.index).newest())
    model = open_pixel_model(settings.pixels, stores.index, ids)
    own = (ImageDescriptor(), *([model.encoder] if model else ()))
    images = ImageEncoders(own, _images_in(stores.index))
    indexer = open_index(
        stores,
        # The one of a new index is left beside it for the functions.
        text_encoder=(used and find_encoder(used)) or _text_encoder(stores.index),
        find_encoder=find_encoder,
        vector_files=FlatFp16Vectors(),
        image_encoder_id=ImageDescriptor().encoder_id,
        image_dimension=DIMENSION,
        image_encoder_ids=images.ids,
        rules=rules,
        templates=load_templates((), rules),
        around=texts_by(lambda _: model),
    )
    announcer = announcer_of(azure, clock)
    telemetry = telemetry_of(settings.telemetry, WORKER_ROLE)
    assembly = build_assembly(
        stores,
        indexer=lambda: indexer,
        announcer=announcer,
        quiet_s=azure.quiet_s,
        max_wait_s=azure.max_wait_s,
        telemetry=telemetry,
    )
    return build_worker(
        stores,
        assembly=assembly,
        indexer=indexer,
        image_encoders=images.wanted(lambda: indexer.image_encoder_ids),
        classifier=model.classifier if model else None,
        announcer=announcer,
        settings=settings.worker,
        telemetry=telemetry,
        # They end with this process, which closes what they read from.
        decode=DecodingChildren(),
        thumbnails=thumbnails_of(stores.index, THUMBNAILS) if azure.thumbnails else None,
        upkeep=BackgroundKeeper(
            Keepers(
                Upkeep(
                    stores.index,
                    FlatFp16Vectors(),
                    clock=clock,
                    ids=ids,
                    files=stores.files,
                    settings=upkeep_settings(azure.retention_days, azure.merge_mb),
                ),
                index_map(stores, announcer),
            )
        ),
    )


def _images_in(index: BlobStore) -> FindImageEncoder:
    """Finds the exports of image encoders beside the index."""

    def find(encoder_id: str) -> ImageEncoder | None:
        from gpu_worker.encoders.onnx_image import OnnxImageEncoder

        read = export_in_store(index, encoder_id)
        return None if read is None else OnnxImageEncoder.load(read)

    return find


def _text_encoder(index: BlobStore) -> TextEncoder:
    from indexer_core.adapters.azure.configured import ENCODER_PREFIX
    from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder

    files = _files_of(index, ENCODER_PREFIX)
    try:
        return OnnxTextEncoder.load(files)
    except (CorruptIndexError, InvalidInputError):  # none is there yet, or half of one
        leave_export(index, ENCODER_PREFIX, MANIFEST_NAME)
        return OnnxTextEncoder.load(files)


def leave_export(
    index: BlobStore,
    prefix: str,
    manifest_name: str,
    export: Callable[[Path], object] | None = None,
    read: Callable[[ReadFile], object] | None = None,
) -> None:
    """Leave the export of an encoder beside the index, so that no program needs torch.

    Without `export` it is that of the text encoder that ships with the program; `read` raises what
    tells that an export is not intact, by default that of a text encoder.

    The manifest comes last: whoever finds it finds all that it names. Workers that start at once
    may each make an export, of other bytes where their images differ; what one of them left half
    written is written over.

    Raises
    ------
    ConflictError
        Others keep writing other exports.
    """
    read = read or _read_text_export
    files_there = _files_of(index, prefix)
    if index.properties(prefix + manifest_name) is not None and _is_intact(files_there, read):
        return
    with TemporaryDirectory() as folder:
        (export or _default_export)(Path(folder) / "export")
        files = sorted((Path(folder) / "export").iterdir(), key=lambda f: f.name == manifest_name)
        for _ in range(_RACES):
            for file in files:
                _put(index, prefix + file.name, file.read_bytes())
            if _is_intact(files_there, read):
                return
    raise ConflictError("others keep writing other exports of the encoder; start again")


def _default_export(folder: Path) -> None:
    # Loaded only where there is something to export: torch takes seconds.
    from gpu_worker.encoders.export import export_text_encoder

    export_text_encoder(folder)


def _put(index: BlobStore, name: str, data: bytes) -> None:
    if isinstance(index.put_if_absent(name, data), Written):
        return
    found = index.get(name)
    if found is not None and found.data != data:
        index.put_if_match(name, data, found.etag)


def _read_text_export(files: ReadFile) -> object:
    from indexer_core.adapters.onnx_text import read_export

    return read_export(files)


def _is_intact(files: ReadFile, read: Callable[[ReadFile], object]) -> bool:
    try:
        read(files)
    except (CorruptIndexError, InvalidInputError):
        return False
    return True


def _files_of(index: BlobStore, prefix: str) -> ReadFile:
    def read(name: str) -> bytes:
        found = index.get(prefix + name)
        if found is None:
            raise InvalidInputError(f"{prefix}{name} is missing beside the index")
        return found.data

    return read


def _number(environment: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < least:
        raise InvalidInputError(f"{name} is a number, at least {least:g}")
    return value
