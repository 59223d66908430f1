"""A map as files for other programs: weights, landmarks, a page of numbers, and an ONNX model.

``encoder.safetensors`` holds the weights with their normalisation, ``landmarks.safetensors`` the
landmarks, ``map.json`` everything else, and ``encoder.onnx`` the encoder ready to run. Landmarks
are image vectors of single series: patient data like the index itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as tensors_to_bytes

from gpu_worker.projection.export import onnx_of
from gpu_worker.projection.recipe import CURVE_A, CURVE_B
from indexer_core.errors import CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.map_state import DriftReference, Landmarks, MapState
from indexer_core.projector import Activation, Layer, Projector

FORMAT_VERSION = 1
WEIGHTS, LANDMARKS, PAGE, MODEL = (
    "encoder.safetensors",
    "landmarks.safetensors",
    "map.json",
    "encoder.onnx",
)
_KIND = "map"


def artifacts_of(projector: Projector, state: MapState | None) -> dict[str, bytes]:
    """The files by name; the page is the last, so that where it is, all are.

    Parameters
    ----------
    state
        None for a map that was never fitted: it has no landmarks.
    """
    files = {WEIGHTS: tensors_to_bytes(_weights(projector)), MODEL: onnx_of(projector)}
    if state is not None:
        landmarks = state.landmarks
        arrays = {
            "vectors": landmarks.vectors,
            "points": landmarks.points,
            "anchors": landmarks.anchors,
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        files[LANDMARKS] = tensors_to_bytes(contiguous)
    page = json.dumps(_page(projector, state), sort_keys=True, indent=1, allow_nan=False)
    return {**files, PAGE: page.encode() + b"\n"}


def read_artifacts(folder: Path) -> tuple[Projector, MapState | None]:
    """Read what `artifacts_of` gave.

    Raises
    ------
    NotFoundError
        There is no such page.
    CorruptIndexError
        A file is missing, or is not what the page says.
    InvalidInputError
        Its format is newer than this program.
    """
    try:
        text = (folder / PAGE).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {PAGE} in this folder") from error
    page = _page_of(text)
    try:
        weights = parse_tensors((folder / WEIGHTS).read_bytes())
        projector = Projector(
            version=page["version"],
            encoder_id=page["encoder_id"],
            mu=weights["mu"],
            scale=float(weights["scale"][0]),
            layers=_layers(page["layers"], weights),
        )
        if page["state"] is None:
            return projector, None
        return projector, _state(page, parse_tensors((folder / LANDMARKS).read_bytes()))
    except OSError as error:
        raise CorruptIndexError("a file of the map is missing") from error
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CorruptIndexError("a map with an impossible content") from error


def _page_of(data: bytes) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads(data)
        kind, version = page["kind"], page["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError("not the page of a map") from error
    if kind != _KIND:
        raise CorruptIndexError("not the page of a map")
    if version > FORMAT_VERSION:
        raise InvalidInputError(
            f"a map in format {version}; this program reads up to {FORMAT_VERSION}: update it"
        )
    return page


def _weights(projector: Projector) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"mu": projector.mu, "scale": np.array([projector.scale])}
    for number, layer in enumerate(projector.layers):
        arrays[f"{number}.weight"] = layer.weight
        arrays[f"{number}.bias"] = layer.bias
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _page(projector: Projector, state: MapState | None) -> dict[str, Any]:
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
        "state": None
        if state is None
        else {
            "n_frozen": state.n_frozen,
            "seed": state.seed,
            "n_neighbours": state.n_neighbours,
            "reference": asdict(state.reference),
            "landmarks": list(state.landmarks.keys),
            "watermark": state.watermark,
            "n_points": state.n_points,
            "box": list(state.box),
            "metrics": dict(state.metrics),
        },
    }


def _state(page: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> MapState:
    state = page["state"]
    if any(len(array) != len(state["landmarks"]) for array in arrays.values()):
        raise CorruptIndexError("a map whose landmarks have no place")
    least_x, greatest_x, least_y, greatest_y = state["box"]
    return MapState(
        version=page["version"],
        n_frozen=state["n_frozen"],
        seed=state["seed"],
        n_neighbours=state["n_neighbours"],
        reference=DriftReference(**state["reference"]),
        landmarks=Landmarks(
            keys=tuple(state["landmarks"]),
            vectors=arrays["vectors"],
            points=arrays["points"],
            anchors=arrays["anchors"],
        ),
        watermark=state["watermark"],
        n_points=state["n_points"],
        box=(least_x, greatest_x, least_y, greatest_y),
        metrics=state["metrics"],
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
