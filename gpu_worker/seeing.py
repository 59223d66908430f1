"""What is seen of a series: its image vector by every encoder in use, and what a model finds.

Works on any number of series at once, so that a model is fed whole batches; the order in which they
are given, and what else is in the batch, changes nothing of what is seen of each.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpu_worker.classifying import SeriesEncoder, slice_vectors
from indexer_core.entries import Vector
from indexer_core.errors import UnavailableError
from indexer_core.facts import Finding
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.ports import ImageEncoder, PictureTextEncoder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A series that is looked at.

    Parameters
    ----------
    stacks
        By recipe its prepared slices, `indexer_core.pixels.stack.Stack.slices`.
    modality
        What its objects are, as the rules say; a classifier has labels for each.
    """

    stacks: Mapping[PixelRecipe, NDArray[np.float32]]
    modality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Image vectors by encoder id (float32, unit length), and findings of the classifier."""

    images: Mapping[str, Vector] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


NOTHING_SEEN = Seen()


class PixelClassifier(Protocol):
    """Says what is on pictures, from what a model sees in them."""

    eye: PictureTextEncoder

    def has_labels(self, modality: str) -> bool:
        """Whether there is something to ask about series of this modality."""

    def classify(self, modality: str, slices: NDArray[np.float32]) -> tuple[Finding, ...]:
        """What is found of a series whose slices `eye` has seen: float32 (n_slices, dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What looks at pixels.

    Parameters
    ----------
    encoders
        Image encoders that this program has.
    wanted
        Ids of those that the index asks for: the live one, and one that is being built.
    """

    encoders: Sequence[ImageEncoder]
    wanted: Sequence[str]
    classifier: PixelClassifier | None = None

    def recipes(self, modality: str) -> tuple[PixelRecipe, ...]:
        """By which the slices of such a series are looked at, each once, the live encoder's first.

        None where this program lacks the live encoder: `see` tells.
        """
        asked = self.classifier is not None and self.classifier.has_labels(modality)
        return self._recipes(self.classifier if asked else None)

    @property
    def series_bytes(self) -> int:
        """Memory that the prepared slices of one series take at most, by all recipes together."""
        return sum(recipe.stack_bytes for recipe in self._recipes(self.classifier))

    def _recipes(self, classifier: PixelClassifier | None) -> tuple[PixelRecipe, ...]:
        by_id = {encoder.encoder_id: encoder.recipe for encoder in self.encoders}
        found = [by_id[encoder_id] for encoder_id in self.wanted if encoder_id in by_id]
        if classifier is not None:
            found.append(classifier.eye.recipe)
        return tuple(dict.fromkeys(found))


def see(subjects: Sequence[Subject], sight: Sight) -> list[Seen]:
    """What is seen of each subject, in order.

    An error is that of all subjects. Where it is no `UnavailableError`, a caller with several finds
    out whose it is by looking at fewer of them.

    Raises
    ------
    UnavailableError
        This program lacks the live encoder, or what looks at the pixels cannot answer now.
    """
    if not subjects:
        return []
    live, *building = sight.wanted
    eye = sight.classifier.eye if sight.classifier is not None else None
    slices = _Slices([subject.stacks for subject in subjects], eye)
    images: dict[str, NDArray[np.float32]] = {}
    for encoder in sight.encoders:
        if encoder.encoder_id == live:
            images[live] = slices.encoded(encoder)
        elif encoder.encoder_id in building:
            try:
                images[encoder.encoder_id] = slices.encoded(encoder)
            except Exception as error:  # noqa: BLE001 - whoever builds the encoder makes up for it
                log.warning("vectors left to the build error=%s", type(error).__name__)
    if live not in images:
        # Switched since the batch began. Not the fault of the series: they must not go without.
        raise UnavailableError("this worker lacks the image encoder that the index uses now")
    found = _found(subjects, slices, sight.classifier)
    return [
        Seen(
            images={encoder_id: vectors[number] for encoder_id, vectors in images.items()},
            findings=found[number],
        )
        for number in range(len(subjects))
    ]


class _Slices:
    """The slices of all subjects; a model that reads texts as well looks at each but once.

    `eye`: that of the classifier. Another program's way to the same vectors has the same id.
    """

    def __init__(
        self,
        stacks: Sequence[Mapping[PixelRecipe, NDArray[np.float32]]],
        eye: PictureTextEncoder | None,
    ) -> None:
        self._stacks = stacks
        self._eye = eye
        self._seen: dict[str, list[NDArray[np.float32]]] = {}

    def encoded(self, encoder: ImageEncoder) -> NDArray[np.float32]:
        """float32 of shape (n_subjects, dimension)."""
        if self._eye is not None and encoder.encoder_id == self._eye.encoder_id:
            return SeriesEncoder(self._eye).joined(self.seen_by(self._eye))
        if isinstance(encoder, SeriesEncoder):
            return encoder.joined(self.seen_by(encoder.eye))
        return encoder.encode(self.prepared(encoder.recipe, range(len(self._stacks))))

    def seen_by(self, eye: PictureTextEncoder) -> list[NDArray[np.float32]]:
        """Of each subject float32 of shape (n_slices, dimension)."""
        if eye.encoder_id not in self._seen:
            stacks = self.prepared(eye.recipe, range(len(self._stacks)))
            self._seen[eye.encoder_id] = slice_vectors(eye, stacks)
        return self._seen[eye.encoder_id]

    def prepared(self, recipe: PixelRecipe, numbers: Iterable[int]) -> list[NDArray[np.float32]]:
        """The slices of these subjects by one recipe."""
        try:
            return [self._stacks[number][recipe] for number in numbers]
        except KeyError as error:
            # As above: what looks at them has changed since they were prepared.
            raise UnavailableError("slices were prepared for another image encoder") from error

    def have_been_seen_by(self, eye: PictureTextEncoder) -> bool:
        return eye.encoder_id in self._seen


def _found(
    subjects: Sequence[Subject], slices: _Slices, classifier: PixelClassifier | None
) -> list[tuple[Finding, ...]]:
    """The findings of each subject; slices that no label is for are not looked at for them."""
    found: list[tuple[Finding, ...]] = [()] * len(subjects)
    if classifier is None:
        return found
    asked = [n for n, subject in enumerate(subjects) if classifier.has_labels(subject.modality)]
    if slices.have_been_seen_by(classifier.eye):
        vectors = [slices.seen_by(classifier.eye)[number] for number in asked]
    else:
        vectors = slice_vectors(classifier.eye, slices.prepared(classifier.eye.recipe, asked))
    for number, seen in zip(asked, vectors, strict=True):
        found[number] = classifier.classify(subjects[number].modality, seen)
    return found
