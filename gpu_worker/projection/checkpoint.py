"""What a map is carried on from: weights, landmarks, and what was measured when it was made.

Three blobs under `maps/`, each named by its digest: weights and landmarks in safetensors, then a
JSON page that names both. The page is written last, so a map whose page is there is whole; a crash
before leaves blobs that nothing names. Names are never reused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as tensors_to_bytes

from gpu_worker.projection.drift import DriftReference
from gpu_worker.projection.recipe import CURVE_A, CURVE_B
from indexer_core.errors import CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.ports import BlobStore
from indexer_core.projector import Activation, Layer, Projector

PREFIX = "maps/"
FORMAT_VERSION = 1
_KIND = "map"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A map and all that growing it needs, but the vectors.

    Parameters
    ----------
    n_frozen
        Layers that are never trained.
    parent
        Name of the checkpoint that it was grown from or laid over; None for the first.
    seed, n_neighbours
        That it was made with.
    reference
        What is usual on it.
    landmark_ids
        Keys of the series that hold it in place.
    anchors : ndarray of float32, shape (len(landmark_ids), 2)
        Where they shall stay.
    box
        Of all its points: least and greatest x, then y.
    rms
        Root mean square radius of its points.
    watermark
        Number of the manifest whose points it was made from.
    metrics
        What was measured of it: trust, drift against its parent and its major map, cost.
    """

    projector: Projector
    n_frozen: int
    parent: str | None
    seed: int
    n_neighbours: int
    reference: DriftReference
    landmark_ids: tuple[str, ...]
    anchors: NDArray[np.float32]
    box: tuple[float, float, float, float]
    rms: float
    watermark: int
    metrics: Mapping[str, float] = field(default_factory=dict)


def save_checkpoint(blobs: BlobStore, checkpoint: Checkpoint) -> str:
    """Leave a checkpoint in the store; the name of its page. Doing it twice is doing it once.

    Raises
    ------
    InvalidInputError
        When a number in it is not finite.
    """
    weights = _put(blobs, tensors_to_bytes(_weights(checkpoint.projector)), "safetensors")
    anchors = np.ascontiguousarray(checkpoint.anchors, dtype=np.float32)
    landmarks = _put(blobs, tensors_to_bytes({"anchors": anchors}), "safetensors")
    page = _page(checkpoint) | {"weights": weights, "landmarks": landmarks}
    try:
        text = json.dumps(page, sort_keys=True, indent=1, allow_nan=False)
    except ValueError as error:
        raise InvalidInputError("a map with numbers that are not finite is not kept") from error
    return _put(blobs, text.encode(), "json")


def load_checkpoint(blobs: BlobStore, name: str) -> Checkpoint:
    """Read what `save_checkpoint` left under this name.

    Raises
    ------
    NotFoundError
        When there is no such checkpoint.
    CorruptIndexError
        When a part of it is missing or differs from its name.
    InvalidInputError
        When its format is newer than this program.
    """
    data = _get(blobs, name)
    if data is None:
        raise NotFoundError("there is no such checkpoint of a map")
    page = _page_of(data)
    try:
        weights = _tensors(blobs, page["weights"])
        anchors = _tensors(blobs, page["landmarks"])["anchors"]
        return _checkpoint(page, weights, anchors)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CorruptIndexError("checkpoint of a map with an impossible content") from error


def _page_of(data: bytes) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads(data)
        kind, version = page["kind"], page["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError("not a checkpoint of a map") from error
    if kind != _KIND:
        raise CorruptIndexError("not a checkpoint of a map")
    if version > FORMAT_VERSION:
        raise InvalidInputError(
            f"checkpoint of a map in format {version}; this program reads up to "
            f"{FORMAT_VERSION}: update it"
        )
    return page


def _weights(projector: Projector) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"mu": projector.mu, "scale": np.array([projector.scale])}
    for number, layer in enumerate(projector.layers):
        arrays[f"{number}.weight"] = layer.weight
        arrays[f"{number}.bias"] = layer.bias
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _page(checkpoint: Checkpoint) -> dict[str, Any]:
    projector = checkpoint.projector
    return {
        "kind": _KIND,
        "format_version": FORMAT_VERSION,
        "version": projector.version,
        "encoder_id": projector.encoder_id,
        "layers": [
            {"activation": layer.activation.value, "residual": layer.residual}
            for layer in projector.layers
        ],
        "curve": {"a": CURVE_A, "b": CURVE_B},
        "n_frozen": checkpoint.n_frozen,
        "parent": checkpoint.parent,
        "seed": checkpoint.seed,
        "n_neighbours": checkpoint.n_neighbours,
        "reference": asdict(checkpoint.reference),
        "landmark_ids": list(checkpoint.landmark_ids),
        "box": list(checkpoint.box),
        "rms": checkpoint.rms,
        "watermark": checkpoint.watermark,
        "metrics": dict(checkpoint.metrics),
    }


def _checkpoint(
    page: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], anchors: NDArray[np.float32]
) -> Checkpoint:
    if len(anchors) != len(page["landmark_ids"]):
        raise CorruptIndexError("checkpoint of a map whose landmarks have no place")
    least_x, greatest_x, least_y, greatest_y = page["box"]
    return Checkpoint(
        projector=Projector(
            version=page["version"],
            encoder_id=page["encoder_id"],
            mu=weights["mu"],
            scale=float(weights["scale"][0]),
            layers=_layers(page["layers"], weights),
        ),
        n_frozen=page["n_frozen"],
        parent=page["parent"],
        seed=page["seed"],
        n_neighbours=page["n_neighbours"],
        reference=DriftReference(**page["reference"]),
        landmark_ids=tuple(page["landmark_ids"]),
        anchors=anchors,
        box=(least_x, greatest_x, least_y, greatest_y),
        rms=page["rms"],
        watermark=page["watermark"],
        metrics=page["metrics"],
    )


def _layers(
    specs: Sequence[Mapping[str, Any]], weights: Mapping[str, NDArray[Any]]
) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            weight=weights[f"{number}.weight"],
            bias=weights[f"{number}.bias"],
            activation=Activation(spec["activation"]),
            residual=spec["residual"],
        )
        for number, spec in enumerate(specs)
    )


def _put(blobs: BlobStore, data: bytes, kind: str) -> str:
    name = f"{PREFIX}{sha256(data).hexdigest()}.{kind}"
    # Named by content: finding it there means that an earlier try left the same bytes.
    blobs.put_if_absent(name, data)
    return name


def _tensors(blobs: BlobStore, name: str) -> Mapping[str, NDArray[Any]]:
    data = _get(blobs, name)
    if data is None:
        raise CorruptIndexError("checkpoint of a map that lacks a part; fit the map again")
    return dict(parse_tensors(data))


def _get(blobs: BlobStore, name: str) -> bytes | None:
    found = blobs.get(name)
    if found is None:
        return None
    if sha256(found.data).hexdigest() != name.removeprefix(PREFIX).partition(".")[0]:
        raise CorruptIndexError("damaged checkpoint of a map; fit the map again")
    return found.data
