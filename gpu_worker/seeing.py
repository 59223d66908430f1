"""What is seen of a series: its image vector by every encoder in use, and what a model finds.

Works on any number of series at once, so that a model is fed whole batches; the order in which they
are given, and what else is in the batch, changes nothing of what is seen of each.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.entries import Vector
from indexer_core.errors import UnavailableError
from indexer_core.facts import Finding
from indexer_core.ports import ImageEncoder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A series that is looked at.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, rows, columns), values in [0, 1]
        `indexer_core.pixels.stack.Stack.slices`.
    modality
        What its objects are, as the rules say; a classifier has labels for each.
    """

    slices: NDArray[np.float32]
    modality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Image vectors by encoder id (float32, unit length), and findings of the classifier."""

    images: Mapping[str, Vector] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


NOTHING_SEEN = Seen()


class PixelClassifier(Protocol):
    """Says what is on pictures."""

    def classify(self, subjects: Sequence[Subject]) -> Sequence[tuple[Finding, ...]]:
        """The findings of each subject, in order."""


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
    stacks = [subject.slices for subject in subjects]
    images: dict[str, NDArray[np.float32]] = {}
    for encoder in sight.encoders:
        if encoder.encoder_id == live:
            images[live] = encoder.encode(stacks)
        elif encoder.encoder_id in building:
            try:
                images[encoder.encoder_id] = encoder.encode(stacks)
            except Exception as error:  # noqa: BLE001 - whoever builds the encoder makes up for it
                log.warning("vectors left to the build error=%s", type(error).__name__)
    if live not in images:
        # Switched since the batch began. Not the fault of the series: they must not go without.
        raise UnavailableError("this worker lacks the image encoder that the index uses now")
    findings: Sequence[tuple[Finding, ...]] = [()] * len(subjects)
    if sight.classifier is not None:
        findings = sight.classifier.classify(subjects)
    return [
        Seen(
            images={encoder_id: vectors[number] for encoder_id, vectors in images.items()},
            findings=found,
        )
        for number, found in enumerate(findings)
    ]
