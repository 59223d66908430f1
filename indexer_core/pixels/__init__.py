"""Pixels: from DICOM bytes to small stacks of representative slices, float32 in [0, 1].

`selection` chooses the slices, `decode` decodes one frame within limits, `display` maps stored
values to grey, `resizing` gives every slice the same size and `stack` joins them. `recipe` names
the whole, because vectors made from differently prepared pixels must never meet in one search.
"""

from indexer_core.pixels.errors import PixelError, PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.stack import (
    PixelSource,
    Stack,
    StackResult,
    slices_from_bytes,
    stack_of,
    stack_of_object,
    stacks_of,
)

__all__ = [
    "PixelError",
    "PixelLimits",
    "PixelProblem",
    "PixelRecipe",
    "PixelSource",
    "PixelsUnavailable",
    "Stack",
    "StackResult",
    "slices_from_bytes",
    "stack_of",
    "stack_of_object",
    "stacks_of",
]
