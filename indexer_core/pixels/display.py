"""From stored values to the grey values a reader would see, float32 in [0, 1]."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from indexer_core.pixels.decode import Frame
from indexer_core.pixels.recipe import PixelRecipe

DEFAULT_RECIPE = PixelRecipe()
# Modalities whose stored VOI is the maker's presentation of one image, hence worth following.
# The windows of cross-sectional series are set by hand at the console and differ between slices.
_RADIOGRAPHY = frozenset({"CR", "DX", "MG", "IO", "PX", "RG", "RF", "XA"})
_HOUNSFIELD_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
)
# ITU-R BT.601 luma, as in PS3.3 C.7.6.3.1.2 for YBR_FULL.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_MAX_SAMPLED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What decides how a grey frame looks.

    Parameters
    ----------
    rescale_slope, rescale_intercept
        Stored value to output unit (PS3.3 C.11.1).
    window
        Centre and width (PS3.3 C.11.2.1.2), or None.
    hounsfield
        The rescaled values are Hounsfield units.
    inverted
        Low values are bright (MONOCHROME1).
    """

    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    window: tuple[float, float] | None = None
    hounsfield: bool = False
    inverted: bool = False


def frame_header(dataset: Dataset, frame: int) -> FrameHeader:
    """Collect what decides the looks of a frame, from the functional groups or the top level.

    Values that are missing, unreadable or senseless count as absent.
    """
    slope = _number(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _number(dataset, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    centre = _number(dataset, frame, "FrameVOILUTSequence", "WindowCenter")
    width = _number(dataset, frame, "FrameVOILUTSequence", "WindowWidth")
    follows_window = _text(dataset, "Modality") in _RADIOGRAPHY
    has_window = centre is not None and width is not None and width >= 1
    return FrameHeader(
        rescale_slope=slope or 1.0,
        rescale_intercept=intercept or 0.0,
        window=(centre or 0.0, width or 1.0) if has_window and follows_window else None,
        hounsfield=intercept is not None and _text(dataset, "SOPClassUID") in _HOUNSFIELD_CLASSES,
        inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
    )


def show(
    frame: Frame, dataset: Dataset, number: int, recipe: PixelRecipe = DEFAULT_RECIPE
) -> NDArray[np.float32]:
    """The displayed grey image of frame `number` of a data set; see `to_display`.

    The lookup tables of the data set, which are rare, are applied here.
    """
    header = frame_header(dataset, number)
    values = frame.values
    if not frame.colour_maximum:
        values = _apply_lookup_tables(values, dataset)
    return to_display(Frame(values=values, colour_maximum=frame.colour_maximum), header, recipe)


def to_display(
    frame: Frame, header: FrameHeader, recipe: PixelRecipe = DEFAULT_RECIPE
) -> NDArray[np.float32]:
    """Map stored values to grey.

    Computed tomography in Hounsfield units gets the recipe's soft tissue window, radiography the
    window of its header, everything else its own percentiles. A window that leaves nothing visible
    is replaced by the percentiles. Colour becomes luminance over its full range.

    Returns
    -------
    ndarray of float32, shape (rows, columns), values in [0, 1], finite
        All zeros for a constant image, whatever its value.
    """
    if frame.colour_maximum:
        grey = frame.values.astype(np.float32) @ _LUMA
        return _clip_unit(grey / np.float32(frame.colour_maximum))
    values = frame.values.astype(np.float32)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    values *= np.float32(header.rescale_slope)
    values += np.float32(header.rescale_intercept)
    low, high = _limits(values, header, recipe)
    if not high > low:
        return np.zeros(values.shape, dtype=np.float32)
    values -= np.float32(low)
    values /= np.float32(high - low)
    shown = _clip_unit(values)
    return 1 - shown if header.inverted else shown


def _limits(
    values: NDArray[np.float32], header: FrameHeader, recipe: PixelRecipe
) -> tuple[float, float]:
    window = (recipe.ct_center_hu, recipe.ct_width_hu) if header.hounsfield else header.window
    sample = _sample(values)
    if window is not None:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
        if bool(np.any((sample > low) & (sample < high))):
            return low, high
    low, high = np.percentile(sample, (recipe.low_percentile, recipe.high_percentile))
    if high > low:
        return float(low), float(high)
    # Nearly everything is background: then the extremes.
    return float(values.min()), float(values.max())


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most about a million evenly spaced values: percentiles of more cost time only."""
    return values.ravel()[:: max(1, values.size // _MAX_SAMPLED)]


def _clip_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(values, np.float32(0), np.float32(1), out=values)


def _apply_lookup_tables(values: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Modality LUT, then for radiography the VOI LUT (PS3.3 C.11.1, C.11.2); damaged ones not."""
    try:
        if "ModalityLUTSequence" in dataset:
            values = apply_modality_lut(values, dataset)
        if "VOILUTSequence" in dataset and _text(dataset, "Modality") in _RADIOGRAPHY:
            values = apply_voi(values, dataset)
    except Exception:  # noqa: BLE001 - a lookup table only improves the looks
        return values
    return values


def _number(dataset: Dataset, frame: int, group: str, keyword: str) -> float | None:
    """First finite value of an element in a functional group of the frame, else at top level."""
    numbers = (
        _first_number(source, keyword)
        for source in (*_functional_items(dataset, frame, group), dataset)
    )
    return next((number for number in numbers if number is not None), None)


def _first_number(source: Dataset, keyword: str) -> float | None:
    try:
        value: Any = source.get(keyword)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except Exception:  # noqa: BLE001 - a damaged value fails in many ways and counts as absent
        return None
    return number if np.isfinite(number) else None


def _functional_items(dataset: Dataset, frame: int, group: str) -> list[Dataset]:
    """The items of a functional group that apply to a frame, its own before the shared one."""
    per_frame = _group_item(dataset, "PerFrameFunctionalGroupsSequence", frame, group)
    shared = _group_item(dataset, "SharedFunctionalGroupsSequence", 0, group)
    return [item for item in (per_frame, shared) if item is not None]


def _group_item(dataset: Dataset, keyword: str, index: int, group: str) -> Dataset | None:
    try:
        item: Dataset = dataset[keyword].value[index][group].value[0]
    except Exception:  # noqa: BLE001 - absent or damaged alike
        return None
    return item


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # noqa: BLE001 - a damaged value counts as absent
        return ""
