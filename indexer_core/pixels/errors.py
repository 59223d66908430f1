"""Why pixels are not available, as a value and as the error used below it."""

from dataclasses import dataclass
from enum import StrEnum

from indexer_core.errors import InvalidInputError


class PixelProblem(StrEnum):
    """Stable codes; append-only."""

    NO_PIXELS = "noPixels"
    NOT_DICOM = "notDicom"
    NO_SUCH_FRAME = "noSuchFrame"
    TRUNCATED = "truncated"
    TOO_LARGE = "tooLarge"
    NO_CODEC = "noCodec"
    UNDECODABLE = "undecodable"
    TOO_SLOW = "tooSlow"
    CRASHED = "decoderCrashed"


@dataclass(frozen=True, slots=True)
class PixelsUnavailable:
    """The pixels cannot be had; the header row of the series is unharmed by that."""

    problem: PixelProblem


class PixelError(InvalidInputError):
    """A frame cannot be decoded; the message is the code alone, never header text."""

    def __init__(self, problem: PixelProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem
