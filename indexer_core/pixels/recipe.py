"""The versioned recipe by which pixels become the input of an image encoder."""

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Self

from indexer_core.anatomy import Anatomy

MEBIBYTE = 1024 * 1024

# Windows of computed tomography by what the header rules call the region and, before that, the
# part. Everything else, and the unknown, gets the soft tissue window.
_WINDOW_OF_REGION = {
    "head": "brain",
    "chest": "lung",
    "spine": "bone",
    "upper extremity": "bone",
    "lower extremity": "bone",
}
_WINDOW_OF_PART = {
    "temporal bone": "bone",
    "internal auditory canal": "bone",
    "paranasal sinuses": "bone",
    "face": "bone",
    "jaw": "bone",
    "temporomandibular joint": "bone",
    "skull": "bone",
    "ribs": "bone",
    "sternum": "bone",
    "sacroiliac joint": "bone",
    "extremity": "bone",
    # Soft tissue, although their region is not: vessels, glands, and what reaches beyond it.
    "intracranial arteries": "soft tissue",
    "orbit": "soft tissue",
    "eye": "soft tissue",
    "parotid gland": "soft tissue",
    "head and neck": "soft tissue",
    "mediastinum": "soft tissue",
    "esophagus": "soft tissue",
    "thoracic aorta": "soft tissue",
    "chest and abdomen": "soft tissue",
    "chest, abdomen and pelvis": "soft tissue",
    "neck, chest and abdomen": "soft tissue",
    "neck, chest, abdomen and pelvis": "soft tissue",
    "pelvis and lower extremities": "soft tissue",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRecipe:
    """Everything that decides the values of a prepared stack, beside which region it shows.

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
        Soft tissue window of CT images that carry Hounsfield units. Of a recipe that was made
        `for_anatomy`: the window of that anatomy.
    lung_center_hu, lung_width_hu, bone_center_hu, bone_width_hu, brain_center_hu, brain_width_hu
        Windows that take its place, chosen by region and part.
    low_percentile, high_percentile
        Mapped to 0 and 1 where no window applies.
    """

    version: int = 2
    n_slices: int = 3
    central_share: float = 0.4
    rows: int = 256
    columns: int = 256
    ct_center_hu: float = 40.0
    ct_width_hu: float = 400.0
    lung_center_hu: float = -600.0
    lung_width_hu: float = 1500.0
    bone_center_hu: float = 400.0
    bone_width_hu: float = 1800.0
    brain_center_hu: float = 40.0
    brain_width_hu: float = 80.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    @property
    def recipe_id(self) -> str:
        """Short name that differs whenever any parameter does; part of the encoder id."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"px{self.version}-{sha256(text.encode()).hexdigest()[:12]}"

    @property
    def stack_bytes(self) -> int:
        """Memory that a prepared stack takes at most."""
        return 4 * self.n_slices * self.rows * self.columns

    def for_anatomy(self, anatomy: Anatomy) -> Self:
        """The recipe with the window of this anatomy as its CT window.

        It prepares the slices of one series; the encoder id is that of the recipe it came from.
        """
        centre, width = self._ct_window(anatomy)
        return replace(self, ct_center_hu=centre, ct_width_hu=width)

    def _ct_window(self, anatomy: Anatomy) -> tuple[float, float]:
        windows = {
            "lung": (self.lung_center_hu, self.lung_width_hu),
            "bone": (self.bone_center_hu, self.bone_width_hu),
            "brain": (self.brain_center_hu, self.brain_width_hu),
        }
        name = _WINDOW_OF_PART.get(anatomy.part) or _WINDOW_OF_REGION.get(anatomy.region, "")
        return windows.get(name, (self.ct_center_hu, self.ct_width_hu))


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
