"""What is sent to MedImageInsight, and what its answers mean. Pure.

A request is a table of rows with a picture or a text. The answers that were seen in the field
differ: a list with one object per row, or one object with lists; vectors flat or nested; with or
without the scaling factor that was asked for, as a number or as a list of one. All are understood.

Sources: microsoft/healthcareai-examples (client and saved notebooks) and the page "How to deploy
MedImageInsight" of the Azure AI documentation.
"""

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_worker.medimageinsight.png import png_bytes
from indexer_core.errors import InvalidInputError
from indexer_core.pixels.recipe import PixelRecipe

DIMENSION = 1024
PUBLISHED_SCALE = math.exp(4.516357)
"""What multiplies a cosine where an answer does not say: older deployments leave it out."""

PICTURES = "png8-v1"
"""How a prepared slice becomes a picture file; raised when that changes."""

RECIPE = PixelRecipe(rows=480, columns=480)
"""The size that the model itself makes of any picture, and that its published client sends."""

WORDING = "medimageinsight"
"""The wordings of labels that the model was taught."""

Column = Literal["image", "text"]

# A logit scale is trained as a logarithm and kept below ln 100. A larger one is no logarithm.
_LARGEST_LOG_SCALE = 10.0
_SHORTEST = 1e-6


class RefusedError(InvalidInputError):
    """Whoever answers will not do so however often it is asked: the settings are wrong."""


class MalformedAnswerError(Exception):
    """No whole answer to this request. The next one may be."""


class UnusableVectorError(InvalidInputError):
    """The model has no vector for a picture or text: it is not a number, or has no length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says of some rows.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_rows, dimension), rows L2-normalised
    scale
        What multiplies a cosine before a softmax: the exponential of the scaling factor. None where
        the answer has none.
    """

    vectors: NDArray[np.float32]
    scale: float | None


def image_rows(slices: Sequence[NDArray[np.float32]]) -> list[list[str]]:
    """Rows of pictures, each of shape (rows, columns) with values in [0, 1]."""
    return [[b64encode(png_bytes(image)).decode("ascii"), ""] for image in slices]


def text_rows(texts: Sequence[str]) -> list[list[str]]:
    """Rows of texts; the model reads 77 tokens of each."""
    return [["", text] for text in texts]


def request_of(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The body of a request for rows of one kind."""
    return {
        "input_data": {
            "columns": ["image", "text"],
            "index": list(range(len(rows))),
            "data": [list(row) for row in rows],
        },
        "params": {"get_scaling_factor": True},
    }


def parse_answer(
    body: bytes | str, column: Column, n_rows: int, dimension: int = DIMENSION
) -> Answer:
    """The answer to a request for `n_rows` rows of a column, at least one.

    Raises
    ------
    MalformedAnswerError
        It is not JSON, or not an answer to that many rows.
    RefusedError
        It is not an answer of this model.
    UnusableVectorError
        A vector is not made of finite numbers, or has no length.
    """
    try:
        document = json.loads(body)
        if isinstance(document, str):  # a scoring script that encodes what is encoded once more
            document = json.loads(document)
    except ValueError as error:
        raise MalformedAnswerError("not JSON") from error
    return understood(document, column, n_rows, dimension)


def understood(document: Any, column: Column, n_rows: int, dimension: int = DIMENSION) -> Answer:
    """As `parse_answer`, of the decoded document."""
    name = f"{column}_features"
    cells: Any
    if isinstance(document, list) and all(isinstance(row, Mapping) for row in document):
        if len(document) != n_rows:
            raise MalformedAnswerError(f"{len(document)} rows for {n_rows}")
        cells = [_cell(row, name) for row in document]
        n_empty = sum(cell is None or cell in ("", []) for cell in cells)
        if n_empty:
            raise UnusableVectorError(f"{n_empty} of {n_rows} {name} are missing")
        scales = [row.get("scaling_factor") for row in document]
    elif isinstance(document, Mapping):
        cells, scales = _cell(document, name), [document.get("scaling_factor")]
    else:
        raise RefusedError(f"the model does not answer with {name}: it is not MedImageInsight")
    vectors = _unit(_table(cells, name, n_rows, dimension), name)
    return Answer(vectors=vectors, scale=_scale(scales))


def _cell(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise RefusedError(f"the model does not answer with {name}: it is not MedImageInsight")
    return row[name]


def _table(cells: Any, name: str, n_rows: int, dimension: int) -> NDArray[np.float64]:
    """The cells as (n_rows, dimension), however they are nested."""
    try:
        # None, where a number should be, becomes not-a-number.
        numbers = np.asarray(cells, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise MalformedAnswerError(f"{name} are not {n_rows} vectors of numbers") from error
    # Rows may be nested once more, and a single one not at all: ones may come and go in a shape.
    shape = [size for size in numbers.shape if size != 1]
    wanted = [size for size in (n_rows, dimension) if size != 1]
    if shape == wanted:
        return numbers.reshape(n_rows, dimension)
    length = numbers.shape[-1] if numbers.ndim else 0
    if length not in (0, dimension):
        raise RefusedError(
            f"{name} have {length} numbers, not {dimension}: the model is not MedImageInsight"
        )
    raise MalformedAnswerError(f"{name} are not {n_rows} vectors")


def _unit(vectors: NDArray[np.float64], name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    n_bad = int(np.sum(~np.isfinite(lengths) | (lengths < _SHORTEST)))
    if n_bad:
        raise UnusableVectorError(f"{n_bad} of {len(vectors)} {name} are no vectors of numbers")
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)


def _scale(found: Sequence[Any]) -> float | None:
    for entry in found:
        try:
            numbers = np.ravel(np.asarray(entry, dtype=np.float64))
        except (ValueError, TypeError):
            continue
        for number in numbers[:1]:
            if number > _LARGEST_LOG_SCALE:
                raise RefusedError(
                    f"the model's scaling_factor of {number:g} is not a logarithm, as that of "
                    "MedImageInsight is"
                )
            if np.isfinite(number):
                return math.exp(float(number))
    return None
