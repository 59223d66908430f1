"""PNG and JPEG files to prepared slices, by Pillow; in a child process, like all foreign bytes."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.resizing import resize
from indexer_core.pixels.stack import Slice

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG")
_DEEP = ("I;16", "I;16B", "I;16L", "I")
_CHANNELS = 4


def slice_of_picture(data: bytes, recipe: PixelRecipe, limits: PixelLimits) -> Slice:
    """The picture in grey, in the size of the recipe; its values are what people see already.

    The size is checked by what the file announces, before anything is allocated for its pixels.
    Transparent parts are black, of several pictures in a file the first one counts.

    Returns
    -------
    ndarray of float32, shape (recipe.rows, recipe.columns), values in [0, 1]; or why there is none
    """
    try:
        from PIL import Image
    except ImportError:
        return PixelsUnavailable(PixelProblem.NO_CODEC)
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height * _CHANNELS > limits.max_frame_bytes:
                return PixelsUnavailable(PixelProblem.TOO_LARGE)
            grey = _grey(picture)
    except Image.DecompressionBombError:
        return PixelsUnavailable(PixelProblem.TOO_LARGE)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a decoder says of hostile bytes
        return PixelsUnavailable(PixelProblem.UNDECODABLE)
    return resize(grey, (recipe.rows, recipe.columns))


def _grey(picture: "Image.Image") -> NDArray[np.float32]:
    if picture.mode in _DEEP:
        deep: NDArray[np.float32] = np.asarray(picture, dtype=np.float32) / np.float32(65535)
        return np.clip(deep, 0, 1)
    if "A" in picture.mode or "transparency" in picture.info:
        opaque = picture.convert("RGBA")
        black = opaque.copy()
        black.paste((0, 0, 0, 255), (0, 0, *opaque.size))
        black.alpha_composite(opaque)
        picture = black
    return np.asarray(np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255))
