"""From stored values to the grey values a reader would see, float32 in [0, 1]."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from indexer_core.pixels.decode import Frame
from indexer_core.pixels.functional_groups import group_items
from indexer_core.pixels.lookup import LookupTable, lookup_table
from indexer_core.pixels.recipe import PixelRecipe

DEFAULT_RECIPE = PixelRecipe()
# Modalities whose stored VOI is the maker's presentation of one image, hence worth following.
# The windows of cross-sectional series are set by hand at the console and differ between slices.
_RADIOGRAPHY = frozenset({"CR", "DX", "MG", "IO", "PX", "RG", "RF", "XA"})
# Values are activity, of which there is none at 0: what is dark must not depend on the image.
_NUCLEAR = frozenset({"PT", "NM"})
_HOUNSFIELD_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
)
# ITU-R BT.601 luma, as in PS3.3 C.7.6.3.1.2 for YBR_FULL.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_MAX_SAMPLED = 1 << 20

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What decides how a grey frame looks.

    Parameters
    ----------
    rescale_slope, rescale_intercept
        Stored value to output unit (PS3.3 C.11.1).
    modality_table
        Takes the place of slope and intercept.
    window
        Centre and width (PS3.3 C.11.2.1.2), or None.
    voi_function
        What lies between black and white of the window: LINEAR, LINEAR_EXACT or SIGMOID.
    voi_table
        Takes the place of the window.
    hounsfield
        The rescaled values are Hounsfield units.
    nuclear
        The rescaled values are activity: black is none, not the least that occurs.
    inverted
        Low values are bright (MONOCHROME1).
    padding
        Lowest and highest stored value of pixels that are no part of the image (PS3.3 C.7.5.1.1.2).
    """

    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    modality_table: LookupTable | None = None
    window: tuple[float, float] | None = None
    voi_function: str = "LINEAR"
    voi_table: LookupTable | None = None
    hounsfield: bool = False
    nuclear: bool = False
    inverted: bool = False
    padding: tuple[float, float] | None = None


def frame_header(dataset: Dataset, frame: int) -> FrameHeader:
    """Collect what decides the looks of a frame, from the functional groups or the top level.

    Values that are missing, unreadable or senseless count as absent.
    """
    slope = _number(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _number(dataset, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    modality = _text(dataset, "Modality")
    follows = modality in _RADIOGRAPHY
    return FrameHeader(
        rescale_slope=slope or 1.0,
        rescale_intercept=intercept or 0.0,
        modality_table=lookup_table(dataset, "ModalityLUTSequence"),
        window=_window(dataset, frame) if follows else None,
        voi_function=_said(dataset, frame, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR",
        voi_table=lookup_table(dataset, "VOILUTSequence") if follows else None,
        hounsfield=intercept is not None and _is_in_hounsfield(dataset, frame),
        nuclear=modality in _NUCLEAR,
        inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        padding=_padding(dataset),
    )


def show(
    frame: Frame, dataset: Dataset, number: int, recipe: PixelRecipe = DEFAULT_RECIPE
) -> Floats:
    """The displayed grey image of frame `number` of a data set; see `to_display`."""
    return to_display(frame, frame_header(dataset, number), recipe)


def to_display(frame: Frame, header: FrameHeader, recipe: PixelRecipe = DEFAULT_RECIPE) -> Floats:
    """Map stored values to grey.

    Computed tomography in Hounsfield units gets the window of the recipe, radiography the table or
    window of its header, nuclear medicine and positron emission the range from no activity to the
    upper percentile, everything else its own percentiles. A window that leaves nothing visible is
    replaced by the percentiles. Colour becomes luminance over its full range. Padding is black and
    counts for nothing.

    Returns
    -------
    ndarray of float32, shape (rows, columns), values in [0, 1], finite
        All zeros for a constant image, whatever its value.
    """
    if frame.colour_maximum:
        grey = frame.values.astype(np.float32) @ _LUMA
        return _clip_unit(grey / np.float32(frame.colour_maximum))
    # A header may say anything; what is too large for the type counts as 0.
    with np.errstate(over="ignore", invalid="ignore"):
        return _grey(frame, header, recipe)


def _grey(frame: Frame, header: FrameHeader, recipe: PixelRecipe) -> Floats:
    padded = _padded(frame.values, header.padding)
    values = _rescaled(frame.values, header)
    if header.voi_table is not None:
        values = header.voi_table.of(values)
    low, high = _limits(values, padded, header, recipe)
    if not 0 < np.float32(high) - np.float32(low) < np.inf:
        return np.zeros(values.shape, dtype=np.float32)
    shown = _shown(values, low, high, header)
    if header.inverted:
        shown = 1 - shown
    if padded is not None:
        shown[padded] = 0
    return shown


def _padded(values: NDArray[Any], padding: tuple[float, float] | None) -> NDArray[np.bool_] | None:
    if padding is None:
        return None
    found = (values >= padding[0]) & (values <= padding[1])
    # All of it: then the header is wrong.
    return None if found.all() or not found.any() else np.asarray(found)


def _rescaled(stored: NDArray[Any], header: FrameHeader) -> Floats:
    values = _finite(stored.astype(np.float32))
    if header.modality_table is not None:
        return header.modality_table.of(values)
    values *= np.float32(header.rescale_slope)
    values += np.float32(header.rescale_intercept)
    return _finite(values)


def _finite(values: Floats) -> Floats:
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _limits(
    values: Floats, padded: NDArray[np.bool_] | None, header: FrameHeader, recipe: PixelRecipe
) -> tuple[float, float]:
    """What is shown black and white."""
    sample = _sample(values if padded is None else values[~padded])
    window = _window_limits(header, recipe)
    if window is not None and _leaves_something(window, sample):
        return window
    low, high = np.percentile(sample, (recipe.low_percentile, recipe.high_percentile))
    if header.nuclear:
        low = min(0.0, low)
    if high > low:
        return float(low), float(high)
    # Nearly everything is background: then the extremes.
    return float(sample.min()), float(values.max() if padded is None else values[~padded].max())


def _leaves_something(window: tuple[float, float], sample: Floats) -> bool:
    """Whether there is something between black and white, and not all of it alike."""
    low, high = window
    inside = bool(np.any((sample > low) & (sample < high)))
    return inside and high - low < float(np.finfo(np.float32).max)


def _window_limits(header: FrameHeader, recipe: PixelRecipe) -> tuple[float, float] | None:
    if header.hounsfield:
        return (
            recipe.ct_center_hu - recipe.ct_width_hu / 2,
            recipe.ct_center_hu + recipe.ct_width_hu / 2,
        )
    if header.voi_table is not None:
        return header.voi_table.limits
    if header.window is None:
        return None
    centre, width = header.window
    # Linear windows are defined on whole numbers: the first and the last of `width` of them.
    last = 1 if header.voi_function == "LINEAR" else 0
    return centre - width / 2, centre + width / 2 - last


def _shown(values: Floats, low: float, high: float, header: FrameHeader) -> Floats:
    if header.voi_function == "SIGMOID" and header.window is not None:
        centre, width = (low + high) / 2, high - low
        exponent = (values - np.float32(centre)) * np.float32(-4 / width)
        return np.asarray(1 / (1 + np.exp(np.clip(exponent, -80, 80))), dtype=np.float32)
    values -= np.float32(low)
    values /= np.float32(high - low)
    return _clip_unit(values)


def _sample(values: Floats) -> Floats:
    """At most about a million evenly spaced values: percentiles of more cost time only."""
    return values.ravel()[:: max(1, values.size // _MAX_SAMPLED)]


def _clip_unit(values: Floats) -> Floats:
    return np.clip(values, np.float32(0), np.float32(1), out=values)


def _is_in_hounsfield(dataset: Dataset, frame: int) -> bool:
    if _text(dataset, "SOPClassUID") not in _HOUNSFIELD_CLASSES:
        return False
    kind = _text(dataset, "ImageType")
    if "LOCALIZER" in kind:
        return False  # a projection: its values are no attenuation of any place
    # What else a CT may hold says so: electron density, iodine, blood flow (PS3.3 C.11.1.1.2).
    # Unspecified is what some write of plain images, and others of blood flow.
    unit = _said(dataset, frame, "PixelValueTransformationSequence", "RescaleType")
    return unit in {"", "HU", "HU_MOD"} or (unit == "US" and "DERIVED" not in kind)


def _window(dataset: Dataset, frame: int) -> tuple[float, float] | None:
    centre = _number(dataset, frame, "FrameVOILUTSequence", "WindowCenter")
    width = _number(dataset, frame, "FrameVOILUTSequence", "WindowWidth")
    has_window = centre is not None and width is not None and width >= 1
    return (centre or 0.0, width or 1.0) if has_window else None


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    ends = [
        _as_stored(number, dataset)
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if (number := _first_number(dataset, keyword)) is not None
    ]
    return (min(ends), max(ends)) if ends else None


def _as_stored(number: float, dataset: Dataset) -> float:
    """Padding is as signed as the pixels, whatever its VR says."""
    bits = _first_number(dataset, "BitsAllocated") or 16
    is_signed = _first_number(dataset, "PixelRepresentation") == 1
    return number - 2**bits if is_signed and number >= 2 ** (bits - 1) else number


def _number(dataset: Dataset, frame: int, group: str, keyword: str) -> float | None:
    """First finite value of an element in a functional group of the frame, else at top level."""
    numbers = (
        _first_number(source, keyword) for source in (*group_items(dataset, frame, group), dataset)
    )
    return next((number for number in numbers if number is not None), None)


def _said(dataset: Dataset, frame: int, group: str, keyword: str) -> str:
    """First text of an element in a functional group of the frame, else at top level."""
    sources = (*group_items(dataset, frame, group), dataset)
    return next(filter(None, (_text(source, keyword) for source in sources)), "")


def _first_number(source: Dataset, keyword: str) -> float | None:
    try:
        value: Any = source.get(keyword)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except Exception:  # noqa: BLE001 - a damaged value fails in many ways and counts as absent
        return None
    return number if np.isfinite(number) else None


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # noqa: BLE001 - a damaged value counts as absent
        return ""
