"""What is on a series' pictures, told by a model that reads texts as well."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from gpu_worker.halving import runs_on_gpu
from indexer_core.facts import Finding
from indexer_core.ports import ImageEncoder, PictureTextEncoder, TextEncoder
from indexer_core.zero_shot import LabelSet, findings, shares

Vectors = NDArray[np.float32]


def slice_vectors(eye: PictureTextEncoder, stacks: Sequence[NDArray[np.float32]]) -> list[Vectors]:
    """The vectors of all slices, asked for at once.

    Parameters
    ----------
    stacks
        Each of shape (n_slices, rows, columns), values in [0, 1].

    Returns
    -------
    list of ndarray of float32, each of shape (n_slices, dimension), rows L2-normalised
    """
    if not stacks:
        return []
    found = eye.encode_slices([image for stack in stacks for image in stack])
    return np.split(found, np.cumsum([len(stack) for stack in stacks])[:-1])


class SeriesEncoder:
    """`indexer_core.ports.ImageEncoder`: the vector of a series is the mean over its slices."""

    def __init__(self, eye: PictureTextEncoder) -> None:
        self.eye = eye
        self.encoder_id = eye.encoder_id
        self.dimension = eye.dimension
        self.recipe = eye.recipe
        self.on_gpu = runs_on_gpu(eye)

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> Vectors:
        """float32 of shape (len(stacks), dimension), rows L2-normalised."""
        return self.joined(slice_vectors(self.eye, stacks))

    def joined(self, slices: Sequence[Vectors]) -> Vectors:
        """As `encode`, from the vectors of the slices."""
        vectors = np.empty((len(slices), self.dimension), dtype=np.float32)
        for row, found in enumerate(slices):
            mean = found.mean(axis=0)
            vectors[row] = mean / np.linalg.norm(mean)
        return vectors


class TwoTowers:
    """`indexer_core.ports.PictureTextEncoder` of a text and an image encoder of one space.

    Parameters
    ----------
    scale
        What multiplies a cosine, no logarithm.
    on_gpu
        Whether they compute on a GPU of this machine.

    `texts` is the text tower by itself, for the texts of an index.
    """

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        *,
        scale: float,
        wording: str,
        on_gpu: bool = False,
    ) -> None:
        self.encoder_id = image.encoder_id
        self.dimension = image.dimension
        self.recipe = image.recipe
        self.wording = wording
        self.scale = scale
        self.on_gpu = on_gpu
        self._image = image
        self._text = text
        self._lock = Lock()
        self.texts: TextEncoder = _Locked(text, self._lock, on_gpu=on_gpu)

    def encode_slices(self, slices: Sequence[NDArray[np.float32]]) -> Vectors:
        """Pictures of shape (rows, columns), values in [0, 1], to float32 (n, dimension)."""
        with self._lock:
            return self._image.encode([image[None] for image in slices])

    def encode_labels(self, texts: Sequence[str]) -> Vectors:
        """Texts to float32 (n, dimension), rows L2-normalised."""
        with self._lock:
            return self._text.encode(texts)


class _Locked:
    """`indexer_core.ports.TextEncoder` that takes turns with what else its model does."""

    def __init__(self, encoder: TextEncoder, lock: Lock, *, on_gpu: bool) -> None:
        self.encoder_id = encoder.encoder_id
        self.dimension = encoder.dimension
        self.on_gpu = on_gpu
        self._encoder = encoder
        self._lock = lock

    def encode(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            return self._encoder.encode(texts)


class LabelEncoder:
    """`indexer_core.ports.TextEncoder` for labels, so that their vectors can be cached."""

    def __init__(self, eye: PictureTextEncoder) -> None:
        self.encoder_id = eye.encoder_id
        self.dimension = eye.dimension
        self.encode = eye.encode_labels


class ZeroShotClassifier:
    """Names body region and plane by the labels of a series' modality.

    Parameters
    ----------
    sets
        By modality; of others nothing is said.
    encode_labels
        From texts to vectors; label sets are asked for once each.
    name
        Short name of the model, for the evidence.
    """

    def __init__(
        self,
        eye: PictureTextEncoder,
        sets: Mapping[str, LabelSet],
        *,
        encode_labels: Callable[[Sequence[str]], Vectors],
        name: str,
    ) -> None:
        self.eye = eye
        self.on_gpu = runs_on_gpu(eye)
        self._sets = sets
        self._encode_labels = encode_labels
        self._source = f"model:{name}"
        self._known: dict[str, Vectors] = {}
        self._lock = Lock()

    def has_labels(self, modality: str) -> bool:
        """Whether there is something to ask about series of this modality."""
        return modality in self._sets

    def has_been_asked(self, modality: str, found: Sequence[Finding]) -> bool:
        """Whether findings are this model's, by the labels that it would be asked now."""
        labels = self._sets[modality].digest
        return bool(found) and all(
            finding.source == self._source and finding.labels == labels for finding in found
        )

    def classify(self, modality: str, slices: Vectors) -> tuple[Finding, ...]:
        """What is found of one series.

        Parameters
        ----------
        slices : ndarray of float32, shape (n_slices, dimension), rows L2-normalised
            Its slices as `eye` sees them.
        """
        if not self.has_labels(modality) or not len(slices):
            return ()
        labels = self._sets[modality]
        vectors = self._vectors(labels)
        return findings(shares(slices, vectors, self.eye.scale), labels, self._source)

    def _vectors(self, labels: LabelSet) -> Vectors:
        with self._lock:
            if labels.digest not in self._known:
                self._known[labels.digest] = labels.pooled(self._encode_labels(labels.texts))
            return self._known[labels.digest]
