"""The pixel model that settings ask for, opened and made sure of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_worker.classifying import LabelEncoder, SeriesEncoder, TwoTowers, ZeroShotClassifier
from gpu_worker.halving import WorkerTextEncoder
from gpu_worker.pixel_settings import BIOMEDCLIP, NONE, PixelSettings
from gpu_worker.probes import make_sure
from indexer_core.errors import IndexerError, InvalidInputError
from indexer_core.pixels.display import DEFAULT_RECIPE
from indexer_core.ports import BlobStore, Ids, PictureTextEncoder, TextEncoder
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache
from indexer_core.zero_shot import load_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelModel:
    """A model that sees and reads: names what is on pictures, and has vectors of them.

    texts: its text tower, where that is on a GPU and its vectors are those of an export, which runs
    on the CPU.
    """

    classifier: ZeroShotClassifier
    encoder: SeriesEncoder
    close: Callable[[], None]
    texts: TextEncoder | None = None


def open_pixel_model(settings: PixelSettings, blobs: BlobStore, ids: Ids) -> PixelModel | None:
    """The model, or None where none is asked for. Vectors of its labels lie in `blobs`.

    Raises
    ------
    InvalidInputError
        The settings are wrong, weights are missing or were never trained, or the endpoint has
        another model than the one that made what is stored.
    UnavailableError
        The endpoint does not answer now.
    """
    if settings.kind == NONE:
        return None
    labels = load_labels(settings.labels)
    eye, close, probes = _opened(settings)
    cache = TextVectorCache(blobs, ids, encoder_id=eye.encoder_id, dimension=eye.dimension)
    try:
        if probes is not None:
            make_sure(probes, eye.encoder_id, blobs)
        sets = labels.worded(eye.wording)
    except IndexerError:
        close()
        raise
    classifier = ZeroShotClassifier(
        eye,
        sets,
        encode_labels=CachedTextEncoder(LabelEncoder(eye), cache).encode,
        name=eye.encoder_id.partition("/")[0],
    )
    texts = eye.texts if isinstance(eye, TwoTowers) and eye.on_gpu else None
    return PixelModel(classifier=classifier, encoder=SeriesEncoder(eye), close=close, texts=texts)


def texts_by(
    model_for: Callable[[str], PixelModel | None],
) -> Callable[[TextEncoder], TextEncoder]:
    """What the worker puts around the text encoders of an index.

    Parameters
    ----------
    model_for
        From the id of a text encoder to a pixel model that may have it on a GPU: it takes the place
        of the export then, whose vectors it makes to within the rounding of bf16.
    """

    def around(encoder: TextEncoder) -> TextEncoder:
        return _WhereItIsFast(encoder, model_for)

    return around


class _WhereItIsFast:
    """A text encoder of the worker; which one is decided when there is a first text to embed.

    A model takes seconds to open, and may be gone: what embeds nothing has no need of it.
    """

    def __init__(self, encoder: TextEncoder, model_for: Callable[[str], PixelModel | None]) -> None:
        self.encoder_id = encoder.encoder_id
        self.dimension = encoder.dimension
        self._export = encoder
        self._model_for = model_for

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._chosen.encode(texts) if texts else self._export.encode(texts)

    @cached_property
    def _chosen(self) -> WorkerTextEncoder:
        model = self._model_for(self.encoder_id)
        twin = None if model is None else model.texts
        is_same = twin is not None and twin.encoder_id == self.encoder_id
        return WorkerTextEncoder(twin if twin is not None and is_same else self._export)


_Opened = tuple[PictureTextEncoder, Callable[[], None], NDArray[np.float32] | None]


def _opened(settings: PixelSettings) -> _Opened:
    """The model, how it is let go of, and its vectors of probes where nothing else names it."""
    if settings.kind == "endpoint":
        return _endpoint(settings)
    if settings.kind == BIOMEDCLIP:
        return _biomedclip(settings.place), _nothing, None
    return _mlflow(settings.place), _nothing, None


def _endpoint(settings: PixelSettings) -> _Opened:
    try:
        from gpu_worker.medimageinsight.client import EndpointSettings, is_loopback
        from gpu_worker.medimageinsight.credentials import Key, KeyFile, Token
        from gpu_worker.medimageinsight.endpoint import EndpointEncoder
    except ImportError as error:
        raise InvalidInputError(
            "an endpoint needs httpx: pip install 'dicom-indexer[endpoint]'"
        ) from error
    endpoint = EndpointSettings(url=settings.place, deployment=settings.deployment)
    credential: Key | KeyFile | Token | None = None
    if settings.key:
        credential = Key(settings.key)
    elif settings.key_file is not None:
        credential = KeyFile(settings.key_file)
    elif not is_loopback(settings.place):
        credential = Token()
    encoder = EndpointEncoder(endpoint, credential, version=settings.version)
    try:
        return encoder, encoder.close, encoder.check()
    except Exception:
        encoder.close()
        raise


def _biomedclip(source: str) -> PictureTextEncoder:
    # torch is loaded here and only where it is asked for.
    import torch

    from gpu_worker.encoders.biomedclip import load_biomedclip, locate_biomedclip
    from gpu_worker.encoders.torch_image import TorchImageEncoder
    from gpu_worker.encoders.torch_text import TorchTextEncoder

    model = load_biomedclip(locate_biomedclip(source))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TwoTowers(
        TorchImageEncoder(model.image, recipe=DEFAULT_RECIPE, device=device),
        TorchTextEncoder(model.text, device=device),
        scale=model.scale,
        wording=BIOMEDCLIP,
        on_gpu=device == "cuda",
    )


def _mlflow(place: str) -> PictureTextEncoder:
    from gpu_worker.medimageinsight.mlflow_model import load_mlflow_model

    return load_mlflow_model(Path(place))


def _nothing() -> None:
    """Nothing to let go of."""
