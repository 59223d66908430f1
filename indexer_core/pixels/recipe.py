"""The versioned recipe by which pixels become the input of an image encoder."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRecipe:
    """Everything that decides the values of a prepared stack.

    Parameters
    ----------
    version
        Raised when the code changes what it makes of the same parameters.
    n_slices
        Slices per series, fewer when the series has fewer.
    central_share
        Share of the series, around its middle, over which the slices are spread.
    rows, columns
        Size of a prepared slice; the aspect ratio is not kept, as in the published clients of
        MedImageInsight.
    ct_center_hu, ct_width_hu
        Soft tissue window of CT images that carry Hounsfield units.
    low_percentile, high_percentile
        Mapped to 0 and 1 where no window applies.
    """

    version: int = 1
    n_slices: int = 3
    central_share: float = 0.4
    rows: int = 256
    columns: int = 256
    ct_center_hu: float = 40.0
    ct_width_hu: float = 400.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    @property
    def recipe_id(self) -> str:
        """Short name that differs whenever any parameter does; part of the encoder id."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"px{self.version}-{sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLimits:
    """What an object and a frame may cost before it is refused; no part of the recipe.

    Parameters
    ----------
    max_frame_bytes
        Decoded size of one frame as its header, or the compressed stream itself, announces it.
    max_inflated_bytes
        Size of a whole data set after undoing the deflated transfer syntax.
    max_object_bytes
        Size of a stored object; a larger one is not even fetched.
    max_elements
        Elements outside sequences up to the pixel data.
    """

    max_frame_bytes: int = 256 * MEBIBYTE
    max_inflated_bytes: int = 512 * MEBIBYTE
    max_object_bytes: int = 2048 * MEBIBYTE
    max_elements: int = 200_000
