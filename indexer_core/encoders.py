"""Text encoders by their id: how a program comes by the one that an index asks for.

An index may change its text encoder while programs run (`indexer_core.index.switching`), so a
program does not have one encoder but a way to find one by its id. Exports lie beside the index,
each in a folder of its own, where every program of the index looks for them.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from threading import Lock, Thread

from indexer_core.errors import CorruptIndexError, IndexerError, InvalidInputError
from indexer_core.ports import BlobReader, TextEncoder

log = logging.getLogger(__name__)

FindEncoder = Callable[[str], TextEncoder | None]
"""The encoder of an id, or None where there is none (yet)."""

ReadFile = Callable[[str], bytes]
"""From the name of a file of an export to its bytes; `InvalidInputError` when it is missing."""

EXPORT_MANIFEST = "encoder.json"
"""The file of an export that names its encoder; it is written last."""

_PREFIX = "encoders/"
_RETRY_S = 5.0
_MAX_LOADED = 2


def folder_of(encoder_id: str) -> str:
    """The name of the folder that holds the export of an encoder."""
    return sha256(encoder_id.encode()).hexdigest()[:16]


def prefix_of(encoder_id: str) -> str:
    """Where the export of an encoder lies in the blob store of its index."""
    return f"{_PREFIX}{folder_of(encoder_id)}/"


def known(*encoders: TextEncoder) -> FindEncoder:
    """Finds one of these."""
    return {encoder.encoder_id: encoder for encoder in encoders}.get


def nowhere(encoder_id: str) -> TextEncoder | None:
    """Finds none."""
    del encoder_id
    return None


def first_of(*finders: FindEncoder) -> FindEncoder:
    """Asks one after the other."""

    def find(encoder_id: str) -> TextEncoder | None:
        found = (finder(encoder_id) for finder in finders)
        return next((encoder for encoder in found if encoder is not None), None)

    return find


def loaded_once(find: FindEncoder) -> FindEncoder:
    """Keeps what was found: a model takes seconds to load. Safe for several threads.

    It keeps the two that were asked for last: an index needs no more while it changes from one to
    the other, and a model takes hundreds of megabytes.
    """
    loaded = _LastUsed()
    lock = Lock()

    def find_or_load(encoder_id: str) -> TextEncoder | None:
        with lock:
            encoder = loaded.get(encoder_id) or find(encoder_id)
            if encoder is not None:
                loaded.keep(encoder)
            return encoder

    return find_or_load


class _LastUsed:
    """A few encoders, the least recently used leaving first; for one thread at a time."""

    def __init__(self) -> None:
        self._encoders: dict[str, TextEncoder] = {}

    def get(self, encoder_id: str) -> TextEncoder | None:
        return self._encoders.get(encoder_id)

    def keep(self, encoder: TextEncoder) -> None:
        self._encoders.pop(encoder.encoder_id, None)
        self._encoders[encoder.encoder_id] = encoder
        while len(self._encoders) > _MAX_LOADED:
            del self._encoders[next(iter(self._encoders))]


def in_store(
    blobs: BlobReader, load: Callable[[ReadFile], TextEncoder], prefixes: Iterable[str] = ()
) -> FindEncoder:
    """Finds exports in a blob store: in the folder of their id, else below one of `prefixes`.

    What is there but cannot be used raises what `load` raises for it.
    """

    def find(encoder_id: str) -> TextEncoder | None:
        read = export_in_store(blobs, encoder_id, prefixes)
        return None if read is None else load(read)

    return find


def export_in_store(
    blobs: BlobReader, encoder_id: str, prefixes: Iterable[str] = ()
) -> ReadFile | None:
    """Reads the export of an encoder; None where there is none. See `in_store`."""
    for prefix in (prefix_of(encoder_id), *prefixes):
        head = blobs.get(prefix + EXPORT_MANIFEST)
        if head is not None and encoder_id_of(head.data) == encoder_id:
            return _reader(blobs, prefix)
    return None


def encoder_id_of(export_manifest: bytes) -> str:
    """The id that an export's manifest names.

    Raises
    ------
    CorruptIndexError
        It is not such a manifest.
    """
    try:
        return str(json.loads(export_manifest)["encoder_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptIndexError(f"{EXPORT_MANIFEST} of a text encoder is unreadable") from error


class InBackground:
    """A `FindEncoder` that keeps nobody waiting: it answers None until the encoder is loaded.

    A search service asks it at every request and answers from what it has meanwhile. What could
    not be found is tried again by a later request, not more often than every `retry_s`.
    """

    def __init__(self, find: FindEncoder, *, retry_s: float = _RETRY_S) -> None:
        """`find` may take its time; it is called by one thread at a time per encoder."""
        self._find = find
        self._retry_s = retry_s
        self._loaded = _LastUsed()
        self._next_try_s: dict[str, float] = {}
        self._lock = Lock()

    def __call__(self, encoder_id: str) -> TextEncoder | None:
        """The encoder if it is loaded; else its loading begins, unless it is under way."""
        with self._lock:
            encoder = self._loaded.get(encoder_id)
            if encoder is not None:
                self._loaded.keep(encoder)
            elif time.monotonic() >= self._next_try_s.get(encoder_id, 0.0):
                self._next_try_s[encoder_id] = float("inf")
                Thread(target=self._load, args=(encoder_id,), daemon=True).start()
            return encoder

    def now(self, encoder_id: str) -> TextEncoder | None:
        """The encoder, waiting for it: for who has nothing else to answer from."""
        encoder = self._find(encoder_id)
        if encoder is not None:
            with self._lock:
                self._loaded.keep(encoder)
        return encoder

    def _load(self, encoder_id: str) -> None:
        encoder = None
        try:
            encoder = self._find(encoder_id)
        except Exception as error:  # noqa: BLE001 - searches go on without it
            kind = error.kind if isinstance(error, IndexerError) else type(error).__name__
            log.warning("text encoder not loaded kind=%s", kind)
        finally:
            with self._lock:
                if encoder is not None:
                    self._loaded.keep(encoder)
                self._next_try_s[encoder_id] = time.monotonic() + self._retry_s


def _reader(blobs: BlobReader, prefix: str) -> ReadFile:
    def read(name: str) -> bytes:
        found = blobs.get(prefix + name)
        if found is None:
            raise InvalidInputError(f"{prefix}{name} is missing beside the index")
        return found.data

    return read
