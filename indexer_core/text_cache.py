"""Vectors of texts that were embedded before, kept beside the index.

Archives repeat their texts, so each distinct text is embedded once. Only hashes of texts are
stored, never texts. Vectors lie in small immutable files under
``text-cache/<hash of the encoder id>/<write id>``; a file is written once and later only replaced
by files with new names, so a crash between any two steps loses at most cached work. It is a cache:
a damaged file is dropped and counted, and a store that cannot answer is done without.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from indexer_core.array_file import ArrayFile, arrays_to_bytes, parse_arrays
from indexer_core.errors import (
    CorruptIndexError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.ports import BlobStore, Ids, TextEncoder

KIND = "text-cache"
FORMAT_VERSION = 1
PREFIX = "text-cache/"
DEFAULT_MAX_VECTORS = 50_000
MAX_FILES = 64
_HASH_BYTES = 32

Vector = NDArray[np.float32]
Entries = dict[bytes, Vector]


def text_hash(text: str) -> bytes:
    """The 32 bytes that stand for a text: sha256 of its UTF-8 form."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def check_cache_file(data: bytes) -> None:
    """Make sure that bytes are an intact file of a cache, whatever its encoder.

    Raises
    ------
    CorruptIndexError
        They are not.
    InvalidInputError
        Its format is newer than this program.
    """
    arrays = parse_arrays(data, KIND, FORMAT_VERSION).arrays
    if not {"hashes", "vectors"} <= arrays.keys():
        raise CorruptIndexError("not a file of the text cache")


@dataclass(slots=True)
class CacheCounters:
    """What a cache met, for the log line of a batch and for tests."""

    n_loaded_files: int = 0
    n_corrupt_files: int = 0
    n_store_failures: int = 0


class TextVectorCache:
    """Vectors by text hash, for one encoder.

    Memory holds at most `max_vectors`, the least recently used leaving first; the files hold all.
    One cache is used by one thread; any number of processes may share the store.
    """

    def __init__(
        self,
        blobs: BlobStore,
        ids: Ids,
        *,
        encoder_id: str,
        dimension: int,
        max_vectors: int = DEFAULT_MAX_VECTORS,
    ) -> None:
        """`ids` names new files; `dimension` is that of the encoder's vectors."""
        self.encoder_id = encoder_id
        self.dimension = dimension
        self.counters = CacheCounters()
        self._blobs = blobs
        self._ids = ids
        self._max_vectors = max_vectors
        self._prefix = _prefix_of(encoder_id)
        self._entries: OrderedDict[bytes, Vector] = OrderedDict()
        self._loaded = False

    def get(self, hashes: Collection[bytes]) -> Entries:
        """The vectors that are known, each float32 of shape (dimension,), read-only."""
        self._load_once()
        found: Entries = {}
        for key in hashes:
            vector = self._entries.get(key)
            if vector is not None:
                self._entries.move_to_end(key)
                found[key] = vector
        return found

    def put(self, entries: Mapping[bytes, Vector]) -> None:
        """Keep vectors, in memory and as one new file; a store that fails is only counted."""
        if not entries:
            return
        self._load_once()
        kept = {key: _read_only(vector) for key, vector in entries.items()}
        self._remember(kept)
        try:
            self._write(kept)
        except (UnavailableError, UnknownOutcomeError):
            self.counters.n_store_failures += 1

    def forget(self, hashes: Collection[bytes]) -> int:
        """Erase vectors from memory and from every file, for a purge.

        Files are rewritten until a whole pass finds none of the hashes, because another process
        may be joining files meanwhile.

        Returns
        -------
        int
            Files that were rewritten or, being damaged, deleted.

        Raises
        ------
        UnavailableError
            When the store cannot answer: an erasure must not pass over that.
        """
        unwanted = frozenset(hashes)
        for key in unwanted:
            self._entries.pop(key, None)
        n_rewritten = 0
        while n_changed := sum(self._forget_in(name, unwanted) for name in self._names()):
            n_rewritten += n_changed
        return n_rewritten

    def _forget_in(self, name: str, unwanted: frozenset[bytes]) -> bool:
        entries = self._read(name)
        if entries is None or not unwanted.isdisjoint(entries):
            kept = {k: v for k, v in (entries or {}).items() if k not in unwanted}
            # Written before the old one goes: after a crash in between, a later pass ends it.
            self._write(kept)
            self._blobs.delete(name)
            return True
        return False

    def _load_once(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            names = self._names()
            self._load(names)
            if len(names) > MAX_FILES:
                self._join(names)
        except (UnavailableError, UnknownOutcomeError):
            self.counters.n_store_failures += 1

    def _load(self, names: Sequence[str]) -> None:
        # Newest first, until memory is full; then oldest of these first into the order of use.
        recent: list[Entries] = []
        n_vectors = 0
        for name in reversed(names):
            if n_vectors >= self._max_vectors:
                break
            entries = self._read(name)
            if entries is not None:
                recent.append(entries)
                n_vectors += len(entries)
                self.counters.n_loaded_files += 1
            else:
                self._blobs.delete(name)
        for entries in reversed(recent):
            self._remember(entries)

    def _join(self, names: Sequence[str]) -> None:
        """Join many small files into one, so that a start reads few."""
        joined: Entries = {}
        for name in names:
            joined.update(self._read(name) or {})
        new_name = self._write(joined)
        still_there = [self._blobs.delete(name) for name in names]
        # Another process deleted one of them meanwhile. It may have been erasing entries, which
        # the new file would bring back.
        if new_name is not None and not all(still_there):
            self._blobs.delete(new_name)

    def _names(self) -> list[str]:
        return [entry.name for entry in self._blobs.list(self._prefix)]

    def _read(self, name: str) -> Entries | None:
        """Entries of a file; none when it is gone meanwhile; None when it is damaged or foreign."""
        blob = self._blobs.get(name)
        if blob is None:
            return {}
        try:
            content = parse_arrays(blob.data, KIND, FORMAT_VERSION)
            hashes, vectors = content.arrays["hashes"], content.arrays["vectors"]
        except (CorruptIndexError, InvalidInputError, KeyError):
            self.counters.n_corrupt_files += 1
            return None
        expected = (len(hashes), self.dimension)
        if content.fields.get("encoder_id") != self.encoder_id or vectors.shape != expected:
            self.counters.n_corrupt_files += 1
            return None
        return {row.tobytes(): vector for row, vector in zip(hashes, vectors, strict=True)}

    def _write(self, entries: Mapping[bytes, Vector]) -> str | None:
        if not entries:
            return None
        hashes = np.frombuffer(b"".join(entries), dtype=np.uint8).reshape(-1, _HASH_BYTES)
        content = ArrayFile(
            fields={"encoder_id": self.encoder_id},
            arrays={"hashes": hashes, "vectors": np.stack(list(entries.values()))},
        )
        name = f"{self._prefix}{self._ids.new_id()}"
        # The name is new; if it were taken after all, the entries would merely not be kept.
        self._blobs.put_if_absent(name, arrays_to_bytes(KIND, FORMAT_VERSION, content))
        return name

    def _remember(self, entries: Mapping[bytes, Vector]) -> None:
        for key, vector in entries.items():
            self._entries[key] = vector
            self._entries.move_to_end(key)
        while len(self._entries) > self._max_vectors:
            self._entries.popitem(last=False)


@dataclass(slots=True)
class EncodeCounters:
    """Texts asked for, distinct ones among them per call, and those that had to be embedded."""

    n_texts: int = 0
    n_distinct: int = 0
    n_encoded: int = 0


class CachedTextEncoder:
    """`indexer_core.ports.TextEncoder` that embeds each distinct text once.

    Counting happens per instance, over its life.
    """

    def __init__(self, inner: TextEncoder, cache: TextVectorCache) -> None:
        """Wrap `inner`.

        Raises
        ------
        InvalidInputError
            When the cache is another encoder's.
        """
        if (cache.encoder_id, cache.dimension) != (inner.encoder_id, inner.dimension):
            raise InvalidInputError("the text cache belongs to another encoder")
        self.encoder_id = inner.encoder_id
        self.dimension = inner.dimension
        self.counters = EncodeCounters()
        self._inner = inner
        self._cache = cache

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised, in input order."""
        keys = [text_hash(text) for text in texts]
        distinct = dict(zip(keys, texts, strict=True))
        known = self._cache.get(distinct)
        missing = {key: text for key, text in distinct.items() if key not in known}
        fresh = self._embed(missing)
        self._cache.put(fresh)
        self._count(len(texts), len(distinct), len(missing))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, key in enumerate(keys):
            vectors[row] = known[key] if key in known else fresh[key]
        return vectors

    def _embed(self, texts: Mapping[bytes, str]) -> Entries:
        if not texts:
            return {}
        vectors = self._inner.encode(list(texts.values()))
        return dict(zip(texts, vectors, strict=True))

    def _count(self, n_texts: int, n_distinct: int, n_encoded: int) -> None:
        self.counters.n_texts += n_texts
        self.counters.n_distinct += n_distinct
        self.counters.n_encoded += n_encoded


def drop_other_caches(blobs: BlobStore, encoder_ids: Collection[str]) -> int:
    """Delete the caches of all encoders but these, which the index has done with.

    Returns
    -------
    int
        Files deleted.
    """
    kept = {_prefix_of(encoder_id) for encoder_id in encoder_ids}
    n_deleted = 0
    for entry in list(blobs.list(PREFIX)):
        if entry.name.rpartition("/")[0] + "/" not in kept:
            n_deleted += blobs.delete(entry.name)
    return n_deleted


def _prefix_of(encoder_id: str) -> str:
    return f"{PREFIX}{sha256(encoder_id.encode()).hexdigest()[:16]}/"


def forget_everywhere(blobs: BlobStore, ids: Ids, hashes: Collection[bytes]) -> int:
    """Erase vectors from the caches of all encoders; see `TextVectorCache.forget`.

    A file that cannot be read might hold them, so it is deleted: it is a cache.
    """
    n_changed = 0
    known: dict[str, TextVectorCache] = {}
    for entry in list(blobs.list(PREFIX)) if hashes else ():
        folder = entry.name.rpartition("/")[0]
        if folder in known:
            continue
        blob = blobs.get(entry.name)
        cache = None if blob is None else _cache_of(blob.data, blobs, ids)
        if cache is not None:
            known[folder] = cache
        elif blob is not None:
            n_changed += blobs.delete(entry.name)
    return n_changed + sum(cache.forget(hashes) for cache in known.values())


def _cache_of(data: bytes, blobs: BlobStore, ids: Ids) -> TextVectorCache | None:
    """The cache that a file belongs to, None when it cannot be read."""
    try:
        content = parse_arrays(data, KIND, FORMAT_VERSION)
        encoder_id, dimension = content.fields["encoder_id"], content.arrays["vectors"].shape[1]
    except (CorruptIndexError, InvalidInputError, KeyError, IndexError):
        return None
    return TextVectorCache(blobs, ids, encoder_id=encoder_id, dimension=dimension)


def _read_only(vector: Vector) -> Vector:
    copy = np.array(vector, dtype=np.float32)
    copy.flags.writeable = False
    return copy
