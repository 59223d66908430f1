"""What the core needs from outside, as small protocols.

Expected outcomes of conditional writes are values (`Written`, `PreconditionFailed`) that the
caller must look at. Exceptions are those of `indexer_core.errors`: `UnavailableError` for a
dependency that cannot answer, `UnknownOutcomeError` for a write whose answer was lost.
Behaviour around a port (counting, failing, delaying) is added by wrappers, not by flags.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # It comes with all that decodes pixels, which most who need a port do not.
    from indexer_core.pixels.recipe import PixelRecipe

# What supports the buffer protocol: collections.abc.Buffer, from Python 3.12 on.
Buffer = bytes | bytearray | memoryview | mmap


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write took place; `etag` names the stored version."""

    etag: str


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """A conditional write did not take place because the stored version differs."""


WriteResult = Written | PreconditionFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobProperties:
    """What is known of a blob without reading it.

    content_digest is the stored hash of the whole content (Azure: Content-MD5), None where the
    store keeps none; `archived` blobs cannot be read until they are rehydrated.
    """

    etag: str
    size_bytes: int
    modified_s: float
    content_digest: str | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRange:
    """Bytes of a blob together with the version they belong to."""

    data: bytes
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobEntry:
    """One line of a listing."""

    name: str
    properties: BlobProperties


class BlobReader(Protocol):
    """Versioned bytes that are only read: users' files, or one side of a blob store."""

    def properties(self, name: str) -> BlobProperties | None:
        """Properties, or None when there is no such blob."""

    def get(self, name: str) -> BlobRange | None:
        """The whole blob, or None when there is no such blob."""

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), shorter at the end of the blob, empty past it.

        Returns None when there is no such blob, PreconditionFailed when its etag is not `if_match`.
        """


class BlobStore(BlobReader, Protocol):
    """Named immutable-or-versioned bytes: one container, or one private folder.

    Names are `/`-separated relative paths.
    """

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        """Create the blob durably; PreconditionFailed when one exists."""

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        """Replace the blob when its etag is still `etag`; PreconditionFailed otherwise."""

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Entries whose name starts with `prefix`, in name order."""

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        """Delete; False when it was absent or its etag differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """A received message; it returns to the queue when its visibility runs out undeleted."""

    id: str
    receipt: str
    body: str
    dequeue_count: int


class WorkQueue(Protocol):
    """At-least-once, unordered work."""

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        """Enqueue; the message becomes visible after `delay_s`."""

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Up to `max_messages` visible messages, hidden from others for `visibility_s`."""

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        """Hide for `visibility_s` from now, with a new receipt; None when it is no longer ours."""

    def delete(self, message: QueueMessage) -> bool:
        """Acknowledge; False when the message is no longer ours."""

    def length(self) -> int:
        """Approximate number of messages, invisible ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stored row: `values` maps names to JSON scalars (str, int, float, bool, None)."""

    partition: str
    key: str
    values: Mapping[str, Any]
    etag: str


class RowStore(Protocol):
    """One table of small rows, addressed by (partition, key)."""

    def get(self, partition: str, key: str) -> Row | None:
        """The row, or None."""

    def insert(self, partition: str, key: str, values: Mapping[str, Any]) -> WriteResult:
        """Create the row; PreconditionFailed when it exists."""

    def merge(self, row: Row, values: Mapping[str, Any]) -> WriteResult:
        """Set these values, keep the others, if the stored etag is still `row.etag`."""

    def delete(self, row: Row) -> bool:
        """Delete if the stored etag is still `row.etag`; False otherwise."""

    def query(self, partition: str) -> Iterator[Row]:
        """Rows of a partition in key order."""

    def scan(self) -> Iterator[Row]:
        """Every row of the table, by partition then key (maintenance and sweeps only)."""


class Clock(Protocol):
    """Time from outside."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""


class Ids(Protocol):
    """Fresh names from outside."""

    def new_id(self) -> str:
        """A name never given before: 12 hex digits of milliseconds, then 20 random ones."""


class TextEncoder(Protocol):
    """Texts to vectors. Vectors of two `encoder_id`s never meet in one search."""

    encoder_id: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised, C-contiguous."""


class ImageEncoder(Protocol):
    """One representative stack of slices to one vector."""

    encoder_id: str
    dimension: int
    recipe: "PixelRecipe"
    """By which it wants its slices prepared; its id is part of the encoder id."""

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Stacks of shape (n_slices, rows, columns), values in [0, 1].

        Returns float32 of shape (len(stacks), dimension), rows L2-normalised.
        """


class ImageTextEncoder(Protocol):
    """Texts to vectors of an image space, so that words can be compared with pictures.

    `encoder_id` is that of the image encoder whose space it is.
    """

    encoder_id: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised, C-contiguous."""


class PictureTextEncoder(Protocol):
    """Pictures and texts to vectors of one space, so that texts can name what is on pictures.

    Safe for several threads.
    """

    encoder_id: str
    dimension: int
    recipe: "PixelRecipe"
    """By which it wants its slices prepared; its id is part of the encoder id."""
    wording: str
    """How the texts that it was trained on are worded; label sets have wordings of that name."""

    def encode_slices(self, slices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Pictures of shape (rows, columns), values in [0, 1].

        Returns float32 of shape (len(slices), dimension), rows L2-normalised.
        """

    def encode_labels(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised."""

    @property
    def scale(self) -> float:
        """What multiplies a cosine before the softmax, no logarithm any more."""


class VectorSelection(Protocol):
    """Vectors of one file that a search may find, prepared once and used for many searches."""

    n_selected: int


class VectorFileReader(Protocol):
    """An opened vector file of one segment; safe for concurrent searches."""

    n_vectors: int
    dimension: int
    recall: float | None
    """Measured recall@10 of approximate search in this file; None where all search is exact."""

    def select(self, rows: NDArray[np.bool_]) -> VectorSelection:
        """Prepare a selection of this file: vector i may be found where rows[i] is true."""

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        selection: VectorSelection,
        *,
        exact: bool = True,
        ties: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Best k selected vectors by inner product.

        queries: float32 (n, dimension). Returns scores float32 (n, k') and vector numbers int64
        (n, k'), best first, equal scores by number, k' = min(k, n_selected). A vector's score does
        not depend on k, on the selection or on the other queries. `exact` false permits a search
        that misses some, where the file was built for one (`recall`). `ties`, for one query alone,
        wants all that score as the k-th does, so that k' may be larger.
        """

    def reconstruct(self, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Stored vectors from `start` on (None: all), float32 (count, dimension)."""


class VectorFiles(Protocol):
    """Builds and opens the vector file of a segment; knows its format, not its place."""

    kind: str

    def build(self, vectors: NDArray[np.float32]) -> bytes:
        """Serialise float32 (n, dimension) rows, n >= 0, in the given order."""

    def open(self, data: Buffer, *, verified: bool = False) -> VectorFileReader:
        """Open without copying; the buffer is kept and must not change.

        `verified` says that the caller has checked a digest of the whole. `CorruptIndexError` when
        the bytes are not such a file.
        """

    def join(self, readers: Sequence[VectorFileReader]) -> VectorFileReader:
        """Several files, at least one, to be searched as one: the vectors of each in turn.

        It takes time and memory by their number; what is stored stays where it lies. All search of
        it is exact. `InvalidInputError` when dimensions differ.
        """

    def concatenate(
        self,
        parts: Sequence[tuple[VectorFileReader, NDArray[np.int64]]],
        order: NDArray[np.int64] | None = None,
    ) -> bytes:
        """One file of the given vectors of each reader, in that order, at least one part.

        Stored values are taken over bit by bit; `InvalidInputError` when dimensions differ. With
        `order`, vector i of the file is number order[i] of all that the parts give.
        """
