"""The map's encoder in torch: layer for layer the `Projector` that the search side runs in numpy.

No normalisation over batches and no dropout: both would make a point depend on its company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.projection.recipe import Preset
from indexer_core.projector import Activation, Layer, Projector

_WIDTHS = {Preset.FULL: 256, Preset.SMALL: 128}
_N_RESIDUALS = 2
_N_COMPONENTS = 256
_CHUNK_ROWS = 8192


def best_device() -> str:
    """Where torch computes fastest here: "cuda" or "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchLayer:
    """`indexer_core.projector.Layer` as tensors; a frozen one is never trained."""

    weight: Any
    bias: Any
    activation: Activation
    residual: bool = False
    is_frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapNetwork:
    """An encoder that can be trained.

    Parameters
    ----------
    mu, scale
        Stored normalisation, computed once from the vectors that the first map was fitted to.
    """

    mu: Any
    scale: float
    layers: tuple[TorchLayer, ...]

    @property
    def parameters(self) -> list[Any]:
        """What training changes."""
        return [
            tensor
            for layer in self.layers
            if not layer.is_frozen
            for tensor in (layer.weight, layer.bias)
        ]

    def features(self, vectors: NDArray[np.float32] | Any) -> Any:
        """Vectors after the normalisation and the frozen layers: computed once per training."""
        with torch.no_grad():
            parts = [
                _run(
                    (part.to(self.mu.device) - self.mu) / self.scale,
                    [layer for layer in self.layers if layer.is_frozen],
                )
                for part in torch.as_tensor(vectors).split(_CHUNK_ROWS)
            ]
            return torch.cat(parts)

    def encode(self, features: Any) -> Any:
        """Places of what `features` gave, float32, shape (n, 2); with gradients."""
        return _run(features, [layer for layer in self.layers if not layer.is_frozen])

    def projector(self, version: str, encoder_id: str) -> Projector:
        """The same encoder for numpy, which gives the same bits everywhere."""
        return Projector(
            version=version,
            encoder_id=encoder_id,
            mu=_array(self.mu),
            scale=self.scale,
            layers=tuple(
                Layer(
                    weight=_array(layer.weight),
                    bias=_array(layer.bias),
                    activation=layer.activation,
                    residual=layer.residual,
                )
                for layer in self.layers
            ),
        )


def network_of(projector: Projector, *, n_frozen: int, device: str = "cpu") -> MapNetwork:
    """A network that starts where a projector stands; its first `n_frozen` layers stay so."""
    layers = tuple(
        TorchLayer(
            weight=_tensor(layer.weight, device, trained=number >= n_frozen),
            bias=_tensor(layer.bias, device, trained=number >= n_frozen),
            activation=layer.activation,
            residual=layer.residual,
            is_frozen=number < n_frozen,
        )
        for number, layer in enumerate(projector.layers)
    )
    mu = _tensor(projector.mu, device, trained=False)
    return MapNetwork(mu=mu, scale=projector.scale, layers=layers)


def new_network(
    vectors: NDArray[np.float32], preset: Preset, *, seed: int, device: str = "cpu"
) -> MapNetwork:
    """An untrained network for vectors like these.

    Its numbers are drawn on the CPU, so that every device starts from the same ones.
    """
    mu = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = max(float(vectors.std(axis=0, dtype=np.float64).mean()), 1e-12)
    generator = torch.Generator().manual_seed(seed)
    dimension = vectors.shape[1]
    front = []
    if preset is Preset.SMALL:
        front = [_components((vectors - mu) / np.float32(scale))]
    n_in = len(front[-1].weight) if front else dimension
    width = min(_WIDTHS[preset], max(4 * dimension, 16))
    gelu = Activation.GELU_TANH
    layers = [*front, _drawn(width, n_in, gelu, generator)]
    layers += [_drawn(width, width, gelu, generator, residual=True) for _ in range(_N_RESIDUALS)]
    layers.append(_drawn(2, width, Activation.LINEAR, generator))
    return MapNetwork(
        mu=_tensor(mu, device, trained=False), scale=scale, layers=_moved(layers, device)
    )


def _components(standard: NDArray[np.float32]) -> TorchLayer:
    """The principal components as a layer, scaled to a mean variance of one."""
    n, dimension = standard.shape
    covariance = standard.T.astype(np.float64) @ standard / n
    values, vectors = np.linalg.eigh(covariance)
    n_kept = min(_N_COMPONENTS, dimension)
    # Signs of eigenvectors are arbitrary: the largest component is made positive.
    axes = vectors[:, ::-1][:, :n_kept].T
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(n_kept), largest])[:, None]
    gain = 1.0 / np.sqrt(max(float(values[::-1][:n_kept].mean()), 1e-12))
    return TorchLayer(
        weight=torch.from_numpy((axes * gain).astype(np.float32)),
        bias=torch.zeros(n_kept),
        activation=Activation.LINEAR,
        is_frozen=True,
    )


def _drawn(
    n_out: int, n_in: int, activation: Activation, generator: Any, *, residual: bool = False
) -> TorchLayer:
    """He's initialisation, halved where a layer only adds to its input."""
    weight = torch.randn(n_out, n_in, generator=generator) * np.sqrt(2.0 / n_in)
    if residual:
        weight = weight * 0.5
    return TorchLayer(
        weight=weight, bias=torch.zeros(n_out), activation=activation, residual=residual
    )


def _moved(layers: Sequence[TorchLayer], device: str) -> tuple[TorchLayer, ...]:
    return tuple(
        TorchLayer(
            weight=layer.weight.to(device).requires_grad_(not layer.is_frozen),
            bias=layer.bias.to(device).requires_grad_(not layer.is_frozen),
            activation=layer.activation,
            residual=layer.residual,
            is_frozen=layer.is_frozen,
        )
        for layer in layers
    )


def _run(x: Any, layers: Sequence[TorchLayer]) -> Any:
    for layer in layers:
        y = torch.nn.functional.linear(x, layer.weight, layer.bias)
        if layer.activation is Activation.RELU:
            y = torch.relu(y)
        elif layer.activation is Activation.GELU_TANH:
            y = torch.nn.functional.gelu(y, approximate="tanh")
        x = x + y if layer.residual else y
    return x


def _tensor(array: NDArray[np.float32], device: str, *, trained: bool) -> Any:
    # A copy: arrays of a projector are read-only, and training writes.
    return torch.tensor(np.array(array), device=device, requires_grad=trained)


def _array(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().numpy().copy()
    array.flags.writeable = False
    return array
