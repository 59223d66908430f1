"""The frozen map encoder: image vectors to map coordinates, in numpy alone.

A projector is a small network that the worker's parametric UMAP trains. Published coordinates are
copied and never recomputed, and a new point must land on the same bits whatever else is in its
batch and whichever machine computes it. Matrix products do not promise that: their last bits
depend on batch size, processor and library. So the network is computed in float64 and the result
rounded to a grid of 2**-14 map units, far below a pixel: two ways of summing then disagree only
where a value lies within about 1e-13 of the middle between two grid points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import shake_256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexer_core.array_file import ArrayFile, arrays_to_bytes, parse_arrays
from indexer_core.errors import CorruptIndexError, InvalidInputError

KIND = "projector"
FORMAT_VERSION = 1
BOOTSTRAP_VERSION = "0.1"
# About the extent of a fitted map (diagonal 22 to 37), so that views need not rescale.
_BOOTSTRAP_GAIN = 10.0
_GRID = 2.0**14
_CHUNK_ROWS = 1024
_BOOTSTRAP_SEED = b"dicom-indexer bootstrap projector 0.1"

Doubles = NDArray[np.float64]


class Activation(StrEnum):
    """What follows a layer's affine map."""

    LINEAR = "linear"
    RELU = "relu"
    GELU_TANH = "gelu-tanh"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """``activation(weight @ x + bias)``, plus x itself in a residual layer.

    Parameters
    ----------
    weight : ndarray of float32, shape (n_out, n_in)
    bias : ndarray of float32, shape (n_out,)
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: Activation
    residual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stage:
    """A layer ready to compute: the weight (n_in, n_out) and bias in float64."""

    weight: Doubles
    bias: Doubles
    activation: Activation
    residual: bool = False

    @property
    def is_affine(self) -> bool:
        """Whether it can be made one with the stage after it."""
        return self.activation is Activation.LINEAR and not self.residual


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projector:
    """A network from image vectors to the plane.

    Parameters
    ----------
    version
        Projection version, "major.minor".
    encoder_id
        Encoder of the image vectors that it takes.
    mu : ndarray of float32, shape (dimension,)
        Subtracted from the vectors.
    scale
        Divides them after that.
    layers
        At least one; the last one has two outputs.
    """

    version: str
    encoder_id: str
    mu: NDArray[np.float32]
    scale: float
    layers: tuple[Layer, ...]
    _stages: tuple["_Stage", ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse layers that do not fit together, before any point is computed by them."""
        width = self.dimension
        for layer in self.layers:
            n_out, n_in = layer.weight.shape
            fits = n_in == width and layer.bias.shape == (n_out,)
            if not fits or (layer.residual and n_out != n_in):
                raise InvalidInputError("the layers of the projector do not fit together")
            width = n_out
        if width != 2 or not self.layers or not self.scale > 0:
            raise InvalidInputError("a projector needs a positive scale and two outputs")
        stages = _stages_of(self.mu, self.scale, self.layers)
        object.__setattr__(self, "_stages", stages)  # the way of frozen dataclasses

    @property
    def dimension(self) -> int:
        """Length of the vectors that it takes."""
        return int(self.mu.shape[0])

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place vectors on the map.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dimension)

        Returns
        -------
        ndarray of float32, shape (n, 2)
            Multiples of 2**-14; each row depends on its own vector only.

        Raises
        ------
        InvalidInputError
            When the vectors have another dimension.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise InvalidInputError(f"the projector takes vectors of dimension {self.dimension}")
        points = np.empty((len(vectors), 2), dtype=np.float32)
        for start in range(0, len(vectors), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            points[rows] = np.round(self._forward(vectors[rows].astype(np.float64)) * _GRID) / _GRID
        return points

    def _forward(self, x: Doubles) -> Doubles:
        for stage in self._stages:
            y = _activate(x @ stage.weight + stage.bias, stage.activation)
            x = x + y if stage.residual else y
        return x

    def to_bytes(self) -> bytes:
        """Serialise; the same projector gives the same bytes."""
        arrays: dict[str, NDArray[np.float32]] = {"mu": self.mu}
        for number, layer in enumerate(self.layers):
            arrays[f"{number}.weight"] = layer.weight
            arrays[f"{number}.bias"] = layer.bias
        fields = {
            "version": self.version,
            "encoder_id": self.encoder_id,
            "scale": self.scale,
            "layers": [
                {"activation": layer.activation.value, "residual": layer.residual}
                for layer in self.layers
            ],
        }
        return arrays_to_bytes(KIND, FORMAT_VERSION, ArrayFile(fields=fields, arrays=arrays))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        CorruptIndexError
            When the bytes are not an intact projector.
        InvalidInputError
            When its format is newer than this program.
        """
        content = parse_arrays(data, KIND, FORMAT_VERSION)
        fields, arrays = content.fields, content.arrays
        try:
            layers = tuple(
                Layer(
                    weight=arrays[f"{number}.weight"],
                    bias=arrays[f"{number}.bias"],
                    activation=Activation(spec["activation"]),
                    residual=spec["residual"],
                )
                for number, spec in enumerate(fields["layers"])
            )
            return cls(
                version=fields["version"],
                encoder_id=fields["encoder_id"],
                mu=arrays["mu"],
                scale=fields["scale"],
                layers=layers,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptIndexError("projector file with an impossible content") from error


def bootstrap_projector(
    dimension: int, encoder_id: str, version: str = BOOTSTRAP_VERSION
) -> Projector:
    """A fixed linear map that gives the first series a place until a map is fitted.

    Under another `version` it is the map of an index that has changed to this encoder.

    Its two directions are random signs (Achlioptas, J. Comput. Syst. Sci. 66, 2003), drawn from
    SHAKE-256 of a constant, so that every machine and every release has the same ones.
    """
    n_values = 2 * dimension
    drawn = np.frombuffer(shake_256(_BOOTSTRAP_SEED).digest((n_values + 7) // 8), dtype=np.uint8)
    signs = np.unpackbits(drawn)[:n_values].reshape(2, dimension).astype(np.float32) * 2 - 1
    layer = Layer(
        weight=signs * np.float32(_BOOTSTRAP_GAIN),
        bias=np.zeros(2, dtype=np.float32),
        activation=Activation.LINEAR,
    )
    return Projector(
        version=version,
        encoder_id=encoder_id,
        mu=np.zeros(dimension, dtype=np.float32),
        scale=1.0,
        layers=(layer,),
    )


def _stages_of(
    mu: NDArray[np.float32], scale: float, layers: Sequence[Layer]
) -> tuple[_Stage, ...]:
    """The normalisation and the layers, with what is affine one after the other made one.

    Principal components in front of a network are two thirds of its work, and gone by this.
    """
    stages: list[_Stage] = []
    for layer in layers:
        weight, bias = layer.weight.T.astype(np.float64), layer.bias.astype(np.float64)
        if stages and stages[-1].is_affine and not layer.residual:
            before = stages.pop()
            weight, bias = before.weight @ weight, before.bias @ weight + bias
        elif not stages and not layer.residual:
            weight = weight / scale
            bias = bias - mu.astype(np.float64) @ weight
        elif not stages:
            identity = np.eye(len(mu)) / scale
            stages.append(
                _Stage(weight=identity, bias=-mu @ identity, activation=Activation.LINEAR)
            )
        stages.append(
            _Stage(weight=weight, bias=bias, activation=layer.activation, residual=layer.residual)
        )
    return tuple(stages)


def _activate(x: Doubles, activation: Activation) -> Doubles:
    match activation:
        case Activation.LINEAR:
            return x
        case Activation.RELU:
            return np.maximum(x, 0.0)
        case Activation.GELU_TANH:
            slope = np.sqrt(2 / np.pi)
            return np.asarray(0.5 * x * (1.0 + np.tanh(slope * (x + 0.044715 * x * x * x))))
