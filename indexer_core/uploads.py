"""An uploaded object or picture as the live image encoder of an index sees it.

A DICOM object goes the way of a series of this one object: the same header rules, slices, window
and encoder, so that its vector is the one that the index has of it, to the bit. A PNG or JPEG file
is taken as it is shown. Nothing of an upload is kept, and nothing of it is told in an error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.entries import anatomy_of
from indexer_core.errors import EncoderUnavailableError, InvalidInputError
from indexer_core.header import BytesSource, Rejected, read_header
from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import MEBIBYTE, PixelLimits, PixelRecipe
from indexer_core.pixels.stack import PixelSource, Slice, stack_of
from indexer_core.ports import ImageEncoder
from indexer_core.rules import Rules
from indexer_core.series import aggregate

MAX_UPLOAD_BYTES = 64 * MEBIBYTE
"""Of a request; a larger one is refused before it is looked at."""

_LIMITS = PixelLimits(
    # 44 million pixels of colour: more than any detector, and far from what a program can hold.
    max_frame_bytes=128 * MEBIBYTE,
    max_inflated_bytes=128 * MEBIBYTE,
    max_object_bytes=MAX_UPLOAD_BYTES,
)
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_SENTENCES = {
    PixelProblem.NO_PIXELS: "it has no pixels",
    PixelProblem.TOO_LARGE: "its pixels take too much memory",
    PixelProblem.TRUNCATED: "it is cut off",
    PixelProblem.NO_CODEC: "what decodes it is not installed here",
    PixelProblem.TOO_SLOW: "decoding it takes too long",
}

FindImageEncoder = Callable[[str], ImageEncoder | None]
"""The image encoder of an id, or None where this program lacks it."""


class Decoding(Protocol):
    """What decodes foreign bytes, best where they can do no harm: in a child process."""

    def __call__(
        self,
        data: bytes,
        frames: Sequence[int] | None,
        recipe: PixelRecipe,
        limits: PixelLimits,
    ) -> Sequence[Slice]:
        """Prepared slices of a DICOM object; `indexer_core.pixels.stack.slices_from_bytes`."""

    def picture(self, data: bytes, recipe: PixelRecipe, limits: PixelLimits) -> Slice:
        """The prepared slice of a PNG or JPEG file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReader:
    """From uploaded bytes to a vector of an index's image space.

    Parameters
    ----------
    rules
        In force: they say what a CT shows, which decides its window.
    """

    decoding: Decoding
    find_encoder: FindImageEncoder
    rules: Rules

    def vector(self, data: bytes, encoder_id: str) -> NDArray[np.float32]:
        """The vector of an upload, float32 (dimension,), L2-normalised.

        Raises
        ------
        InvalidInputError
            It is too large, no DICOM, PNG or JPEG file, or its pixels cannot be had.
        EncoderUnavailableError
            This program lacks the image encoder of the index.
        """
        if not data:
            raise InvalidInputError("the upload is empty")
        if len(data) > MAX_UPLOAD_BYTES:
            raise InvalidInputError(f"the upload has more than {MAX_UPLOAD_BYTES // MEBIBYTE} MiB")
        encoder = self.find_encoder(encoder_id)
        if encoder is None:
            raise EncoderUnavailableError(
                f"the index sees pictures with {encoder_id or 'nothing yet'}, which is not here"
            )
        vector: NDArray[np.float32] = encoder.encode([self._stack(data, encoder.recipe)])[0]
        return vector

    def _stack(self, data: bytes, recipe: PixelRecipe) -> NDArray[np.float32]:
        if data.startswith(_PICTURES):
            seen = self.decoding.picture(data, recipe, _LIMITS)
            if isinstance(seen, PixelsUnavailable):
                raise _unreadable(seen.problem)
            return np.asarray(seen[np.newaxis])
        return self._stack_of_object(data, recipe)

    def _stack_of_object(self, data: bytes, recipe: PixelRecipe) -> NDArray[np.float32]:
        # Whose it is does not matter here: the hash is made of the header and let go of.
        facts = read_header(BytesSource(data), b"")
        if isinstance(facts, Rejected):
            raise InvalidInputError(
                f"the upload is neither a DICOM object nor a PNG or JPEG file: {facts.sentence}"
            )
        anatomy = anatomy_of(aggregate("", [("", facts)]), self.rules)
        source = PixelSource(facts=facts, fetch=lambda: data)
        stack = stack_of([source], recipe, _LIMITS, self.decoding, anatomy)
        if isinstance(stack, PixelsUnavailable):
            raise _unreadable(stack.problem)
        return stack.slices


def _unreadable(problem: PixelProblem) -> InvalidInputError:
    return InvalidInputError(
        f"the upload cannot be seen: {_SENTENCES.get(problem, 'it cannot be decoded')}"
    )
