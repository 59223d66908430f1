"""An exported text encoder in 8-bit integers, where it finds what single precision finds.

Weights of matrix products become 8-bit integers, activations while it runs: a quarter of the bytes
read, and less time on a CPU. What that does to a ranking depends on the weights and on the texts.
So it is measured when the encoder is exported, on texts of the index that it is for, and single
precision stays where the nearest texts are not the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.onnx_text import Export, OnnxTextEncoder
from indexer_core.errors import InvalidInputError

NEAREST = 10
BAR = 0.99
"""Share of the ten nearest texts in single precision that must be found in 8 bits."""

FEWEST_TEXTS = 100
"""Among fewer texts the ten nearest are too easily found."""

MOST_TEXTS = 2_000
ID_SUFFIX = "-int8"

# Two scores that are equal but for rounding; the nearest of equals is nobody's fault.
_TIE = 1e-6

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """8 bits against single precision on `n_texts` texts; no recall where these are too few."""

    n_texts: int
    recall: float | None = None

    @property
    def is_good_enough(self) -> bool:
        """Whether 8 bits may take the place of single precision."""
        return self.recall is not None and self.recall >= BAR

    def to_json(self) -> dict[str, Any]:
        """As the export's manifest keeps it."""
        return {
            "wanted": "int8",
            "used": "int8" if self.is_good_enough else "fp32",
            "texts": self.n_texts,
            f"recall_at_{NEAREST}": None if self.recall is None else round(self.recall, 6),
            "bar": BAR,
        }


def quantised(model: bytes) -> bytes:
    """The model with its matrix products in 8 bits.

    Weights get 7 of the 8 bits, one scale for each output: on processors without VNNI two products
    of full range overflow 16 bits, and vectors would depend on where they are made. The embedding
    tables stay, since looking up is no arithmetic and rounding them costs accuracy.

    Raises
    ------
    InvalidInputError
        The onnx package is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
    except ImportError as error:
        raise InvalidInputError("int8 needs the onnx package: pip install onnx") from error
    graph = onnx.load_from_string(model)
    # Otherwise it advises on every call to have constants folded, which the exporter has done.
    add_pre_process_metadata(graph)
    with TemporaryDirectory() as name:
        target = Path(name) / "int8.onnx"
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return target.read_bytes()


def compare(exact: Export, rounded: Export, texts: Sequence[str]) -> Measured:
    """How well `rounded` finds what `exact` finds among the distinct ones of these texts.

    Of more than two thousand texts, so many spread over them are taken.
    """
    distinct = spread(list(dict.fromkeys(texts)), MOST_TEXTS)
    if len(distinct) < FEWEST_TEXTS:
        return Measured(n_texts=len(distinct))
    # One after the other, since a model takes hundreds of megabytes.
    expected = OnnxTextEncoder(export=exact).encode(distinct)
    found = OnnxTextEncoder(export=rounded).encode(distinct)
    return Measured(n_texts=len(distinct), recall=recall_at(NEAREST, expected, found))


def spread(texts: Sequence[str], most: int) -> list[str]:
    """At most so many of the texts, evenly spread over them."""
    if len(texts) <= most:
        return list(texts)
    return [texts[int(row)] for row in np.linspace(0, len(texts) - 1, most).round()]


def recall_at(k: int, exact: Vectors, rounded: Vectors) -> float:
    """Share of each row's `k` nearest other rows that the rounded vectors find as well.

    A row that is as near as the k-th nearest counts as one of them, whichever of them was named.

    Parameters
    ----------
    exact, rounded : ndarray of float32, shape (n, d) with n > k, rows L2-normalised
    """
    true_scores = exact @ exact.T
    found_scores = rounded @ rounded.T
    for scores in (true_scores, found_scores):
        np.fill_diagonal(scores, -np.inf)
    threshold = np.partition(true_scores, -k, axis=1)[:, -k]
    named = np.argpartition(found_scores, -k, axis=1)[:, -k:]
    hits = np.take_along_axis(true_scores, named, axis=1) >= threshold[:, np.newaxis] - _TIE
    return float(hits.mean())
