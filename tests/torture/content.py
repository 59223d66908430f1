"""Made-up series whose every bit follows from their name: anybody can check them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.entries import Entry
from indexer_core.index.rows import IndexRow
from indexer_core.projector import Projector, bootstrap_projector

TEXT_ENCODER, IMAGE_ENCODER = "torture-text", "torture-image"
TEXT_DIMENSION, IMAGE_DIMENSION = 24, 8
N_TEXTS = 5
OWN_TEXT = 1
"""Number of a text that no other row has."""

PURGED = "purged-"
"""How the keys of series begin that are written to be purged."""

FILES = FlatFp16Vectors()


@dataclass(frozen=True, slots=True)
class Content:
    """One content of a series. tag: tells contents of one revision apart."""

    key: str
    revision: int
    tag: str
    alive: bool

    @property
    def digest(self) -> str:
        name = f"{self.key}/{self.revision}/{self.tag}/{self.alive}"
        return hashlib.sha256(name.encode()).hexdigest()

    @property
    def has_image(self) -> bool:
        return int(self.digest[:2], 16) % 5 > 0

    @property
    def texts(self) -> tuple[str, ...]:
        shared = (f"CT of part {self.revision % 3}", f"series of {self.tag[:1]}")
        own = [f"{self.key} {self.revision} {self.tag} {n}" for n in range(N_TEXTS - len(shared))]
        return (shared[0], *own, shared[1])

    def record(self) -> Mapping[str, object] | None:
        if not self.alive:
            return None
        return {
            "seriesInstanceUid": self.key,
            "studyInstanceUid": "1.2",
            "revision": self.revision,
            "modality": "CT" if self.revision % 2 else "MR",
            "sequence": ["T1"] if self.revision % 3 else [],
            "flags": [],
            "instances": self.revision,
            "texts": list(self.texts),
        }

    def facts(self) -> Mapping[str, object] | None:
        return {"format_version": 1, "tag": self.tag} if self.alive else None

    def entry(self, prepared: str) -> Entry:
        """What a writer hands to the indexer."""
        return Entry(
            series=self.key,
            revision=self.revision,
            digest=self.digest,
            record=self.record(),
            facts=self.facts(),
            blobs=(f"mem://{self.key}/{self.tag}",) if self.alive else (),
            texts=self.texts if self.alive else (),
            images={IMAGE_ENCODER: self.image()} if self.alive and self.has_image else {},
            prepared=prepared,
        )

    def image(self) -> np.ndarray:
        return vector_of(f"image {self.digest}", IMAGE_DIMENSION)

    def stored_texts(self) -> bytes:
        """The text vectors as a vector file gives them back."""
        return _stored(tuple(self.texts), TEXT_DIMENSION) if self.alive else b""

    def stored_image(self) -> bytes:
        if not (self.alive and self.has_image):
            return b""
        return _stored((f"image {self.digest}",), IMAGE_DIMENSION)

    def stored_point(self) -> bytes:
        if not (self.alive and self.has_image):
            return b""
        # Of the vector as it is stored, in half precision.
        image = self.image().astype(np.float16).astype(np.float32)
        return projector().project(image[None, :]).tobytes()


def content_of(row: IndexRow) -> Content:
    """The content that a row says it has; of a tombstone only what can be told."""
    tag = "" if row.facts is None else str(row.facts["tag"])
    return Content(row.series_key, row.revision, tag, row.alive)


def differences(row: IndexRow, content: Content) -> list[str]:
    """What of a row is not as it was written."""
    wrong = []
    if row.alive and row.digest != content.digest:
        wrong.append("digest")
    if row.record != content.record():
        wrong.append("record")
    if row.facts != content.facts():
        wrong.append("facts")
    if row.blobs != ((f"mem://{content.key}/{content.tag}",) if content.alive else ()):
        wrong.append("blobs")
    if row.text_count != (N_TEXTS if content.alive else 0):
        wrong.append("text count")
    if row.image_count != int(content.alive and content.has_image):
        wrong.append("image count")
    return wrong


class TextEncoder:
    """Implements `indexer_core.ports.TextEncoder`."""

    encoder_id = TEXT_ENCODER
    dimension = TEXT_DIMENSION

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [vector_of(text, self.dimension)[None, :] for text in texts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])


@dataclass(frozen=True, slots=True)
class Rules:
    """Stands for `indexer_core.entries.Describer`: rules of a name, which describe nothing."""

    digest: str
    image_encoder_id: str = IMAGE_ENCODER

    @property
    def rules(self) -> "Rules":
        return self

    @property
    def templates(self) -> "Rules":
        return self


@lru_cache(maxsize=4096)
def vector_of(name: str, dimension: int) -> np.ndarray:
    """The unit vector of a name: float32 (dimension,), read-only."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    vector /= np.linalg.norm(vector)
    vector.setflags(write=False)
    return vector


@lru_cache(maxsize=4096)
def _stored(names: tuple[str, ...], dimension: int) -> bytes:
    vectors = np.stack([vector_of(name, dimension) for name in names])
    return FILES.open(FILES.build(vectors)).reconstruct().tobytes()


@lru_cache(maxsize=1)
def projector() -> Projector:
    return bootstrap_projector(IMAGE_DIMENSION, IMAGE_ENCODER)
