"""MedImageInsight as a folder on this node: the MLflow model that its publisher hands out.

Such a folder holds ``MLmodel``, a pickled wrapper class, its code, and the weights below
``artifacts``. Loading it runs that code: whoever names a folder trusts it. Its ``predict`` takes
the table and gives the answer that an endpoint does, since an endpoint runs the same folder.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from gpu_worker.medimageinsight.wire import (
    DIMENSION,
    PICTURES,
    PUBLISHED_SCALE,
    RECIPE,
    WORDING,
    Column,
    MalformedAnswerError,
    image_rows,
    text_rows,
    understood,
)
from indexer_core.errors import InvalidInputError

MANIFEST = "MLmodel"
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_READ_BYTES = 1 << 22
_MAX_ROWS = 16


class MlflowEncoder:
    """`indexer_core.ports.PictureTextEncoder` over a loaded model; one thread at a time.

    Parameters
    ----------
    model
        What `mlflow.pyfunc.load_model` gives.
    """

    recipe = RECIPE
    wording = WORDING

    def __init__(self, model: Any, encoder_id: str, dimension: int) -> None:
        self.encoder_id = encoder_id
        self.dimension = dimension
        self._model = model
        self._scale: float | None = None
        self._lock = Lock()

    def encode_slices(self, slices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Pictures of shape (rows, columns), values in [0, 1], to float32 (n, dimension)."""
        return self._vectors("image", image_rows(slices))

    def encode_labels(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 (n, dimension), rows L2-normalised."""
        return self._vectors("text", text_rows(texts))

    @property
    def scale(self) -> float:
        """As the model has told it, else as it was published."""
        return PUBLISHED_SCALE if self._scale is None else self._scale

    def _vectors(self, column: Column, rows: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        starts = range(0, len(rows), _MAX_ROWS)
        with self._lock:
            parts = [self._predicted(column, rows[start : start + _MAX_ROWS]) for start in starts]
        return np.concatenate([np.empty((0, self.dimension), dtype=np.float32), *parts])

    def _predicted(self, column: Column, rows: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        import pandas as pd

        table = pd.DataFrame([list(row) for row in rows], columns=["image", "text"])
        found = self._model.predict(table, params={"get_scaling_factor": True})
        if isinstance(found, pd.DataFrame):
            found = found.to_dict(orient="records")
        try:
            answer = understood(_plain(found), column, len(rows), self.dimension)
        except MalformedAnswerError as error:
            raise InvalidInputError(f"the model's answer cannot be used: {error}") from error
        if answer.scale is not None:
            self._scale = answer.scale
        return answer.vectors


def load_mlflow_model(
    folder: Path,
    *,
    dimension: int = DIMENSION,
    untrained_allowed: bool = False,
) -> MlflowEncoder:
    """The model of a folder, loaded by its own code.

    Parameters
    ----------
    untrained_allowed
        Take random weights all the same, for tests.

    Raises
    ------
    InvalidInputError
        It is no such folder, holds no weights or such that were never trained, its code fails, or
        mlflow is not installed.
    """
    weights = _weights_of(folder)
    if not untrained_allowed:
        for file in weights:
            _refuse_untrained(file)
    encoder = MlflowEncoder(
        _loaded(folder),
        f"medimageinsight/{_digest(weights)[:12]}/{PICTURES}-{RECIPE.recipe_id}",
        dimension,
    )
    # A model of another kind is told now, not by the first series.
    encoder.encode_labels(["x-ray chest anteroposterior"])
    return encoder


def _weights_of(folder: Path) -> list[Path]:
    try:
        manifest = yaml.safe_load((folder / MANIFEST).read_bytes())
        is_model = "python_function" in manifest["flavors"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{folder} is not the folder of an MLflow model") from error
    if not is_model:
        raise InvalidInputError(f"the MLflow model in {folder} cannot be called from Python")
    found = [file for file in sorted(folder.rglob("*")) if _holds_weights(file)]
    if not found:
        raise InvalidInputError(
            f"{folder} holds no weights ({', '.join(_WEIGHTS)}): without them the model would be "
            "random"
        )
    return found


def _holds_weights(file: Path) -> bool:
    return file.suffix in _WEIGHTS and file.is_file() and file.stat().st_size > 0


def _loaded(folder: Path) -> Any:
    # It would tell its makers how it is used.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd  # noqa: F401 - needed with the first series, so it is missed now
            from mlflow import pyfunc
    except ImportError as error:
        raise InvalidInputError(
            "a model folder needs MLflow: pip install 'dicom-indexer[mlflow]'"
        ) from error
    try:
        with warnings.catch_warnings():
            # That it was saved with other versions of libraries, and of how it describes its input.
            warnings.simplefilter("ignore")
            return pyfunc.load_model(str(folder))
    except Exception as error:
        raise InvalidInputError(
            f"the model in {folder} cannot be loaded ({type(error).__name__}): install what its "
            "requirements.txt lists"
        ) from error


def _refuse_untrained(file: Path) -> None:
    """As `gpu_worker.encoders.biomedclip.is_untrained`, of a file of tensors by name.

    Every layer normalisation begins with weights of one and biases of zero, and the first step of
    any training moves them. What has no such layers cannot be told.
    """
    norms = list(_norms(_tensors(file)))
    if norms and all(bool((w == 1).all()) and bool((b == 0).all()) for w, b in norms):
        raise InvalidInputError(
            f"the weights in {file.name} are random, not trained: nothing sensible could be found "
            "with them; get the real ones"
        )


def _norms(tensors: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name, weight in tensors.items():
        bias = tensors.get(f"{name.removesuffix('weight')}bias")
        if name.endswith(".weight") and weight.ndim == 1 and bias is not None:
            yield weight, bias


def _tensors(file: Path) -> Mapping[str, Any]:
    """The tensors of a file of weights, whatever it is called: some are safetensors named .pt."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Any = load_file(file)
    except SafetensorError:
        try:
            # Weights only: the file may be a pickle, and nothing of it is to be run.
            found = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InvalidInputError(
                f"{file.name} is damaged, or no file of weights ({type(error).__name__})"
            ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    tensors = found.items() if isinstance(found, Mapping) else ()
    return {str(name): value for name, value in tensors if isinstance(value, torch.Tensor)}


def _digest(files: Sequence[Path]) -> str:
    digest = sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _plain(found: Any) -> Any:
    """Arrays and tensors as lists."""
    if isinstance(found, Mapping):
        return {name: _plain(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(value) for value in found]
    return found.tolist() if hasattr(found, "tolist") else found
