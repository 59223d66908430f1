"""Vectors of real template texts, and more that lie between them.

Encoding 600,000 texts takes an hour on two cores, so some thousands are encoded and the others are
put between near ones: what lies together stays together. Questions are those of tests/relevance.
Both are turned into another space of the wanted dimension, which leaves all angles as they are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.made_up_series import texts_of
from indexer_core.adapters.faiss_vectors import bulk

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
_QUERIES = ROOT / "tests" / "relevance" / "queries.yaml"
_NEIGHBOURS = 10
_CHUNK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RealVectors:
    """texts float32 (n, dimension) and questions float32 (m, dimension), rows L2-normalised.

    share_distinct: distinct texts among all that the series have.
    """

    texts: NDArray[np.float32]
    questions: NDArray[np.float32]
    share_distinct: float


def real_vectors(n_series: int) -> RealVectors:
    """Texts of made-up series, encoded by the default encoder; kept in `.bench/`."""
    kept = CACHE / f"texts-of-{n_series}-series.npz"
    if not kept.exists():
        _encode(n_series, kept)
    with np.load(kept) as arrays:
        return RealVectors(
            texts=arrays["texts"].astype(np.float32),
            questions=arrays["questions"].astype(np.float32),
            share_distinct=float(arrays["share_distinct"]),
        )


def _encode(n_series: int, kept: Path) -> None:
    from gpu_worker.encoders.export import export_text_encoder
    from indexer_core.adapters.onnx_text import OnnxTextEncoder

    folder = CACHE / "minilm-l6-v2"
    CACHE.mkdir(exist_ok=True)
    export_text_encoder(folder)
    encoder = OnnxTextEncoder.load(folder)
    texts = [text for five in texts_of(n_series) for text in five]
    distinct = list(dict.fromkeys(texts))
    questions = [entry["text"] for entry in yaml.safe_load(_QUERIES.read_text(encoding="utf-8"))]
    np.savez(
        kept,
        texts=encoder.encode(distinct).astype(np.float16),
        questions=encoder.encode(questions),
        share_distinct=len(distinct) / len(texts),
    )


class Between:
    """More vectors like some: each on the way from one of them to one of its nearest."""

    def __init__(self, some: NDArray[np.float32], dimension: int, seed: int) -> None:
        _, nearest = bulk.nearest(some, some, _NEIGHBOURS + 1, gpu=False)
        self._some, self._nearest = some, nearest[:, 1:]
        self._random = np.random.default_rng(seed)
        turned = np.random.default_rng(0).standard_normal((max(dimension, some.shape[1]),) * 2)
        self._turn = np.linalg.qr(turned)[0][: some.shape[1], :dimension].astype(np.float32)

    def turned(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same vectors in the space of those that are made: float32 (n, dimension)."""
        return np.ascontiguousarray(vectors @ self._turn)

    def made(self, n_vectors: int) -> NDArray[np.float32]:
        """float32 (n_vectors, dimension), rows L2-normalised."""
        out = np.empty((n_vectors, self._turn.shape[1]), np.float32)
        for start in range(0, n_vectors, _CHUNK):
            chunk = out[start : start + _CHUNK]
            first = self._random.integers(0, len(self._some), len(chunk))
            second = self._nearest[first, self._random.integers(0, _NEIGHBOURS, len(chunk))]
            way = self._random.random((len(chunk), 1), dtype=np.float32)
            between = self._some[first] + way * (self._some[second] - self._some[first])
            between /= np.linalg.norm(between, axis=1, keepdims=True)
            chunk[:] = between @ self._turn
        return out
