"""The prepared stack of a series: what an image encoder sees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.anatomy import UNKNOWN_ANATOMY, Anatomy
from indexer_core.facts import InstanceFacts
from indexer_core.pixels.decode import DEFAULT_LIMITS, PixelObject, decode_frame, open_pixels
from indexer_core.pixels.display import DEFAULT_RECIPE, show
from indexer_core.pixels.errors import PixelError, PixelProblem, PixelsUnavailable
from indexer_core.pixels.placing import frames_along_normal
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.resizing import resize
from indexer_core.pixels.selection import SliceRef, central_frames, choose_slices

Slice = NDArray[np.float32] | PixelsUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSource:
    """An instance and a way to its bytes.

    `fetch` may raise. A `PixelError` is a slice that cannot be had, like one that cannot be
    decoded; anything else goes through, since it says nothing about the pixels.
    """

    facts: InstanceFacts
    fetch: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A series ready for an image encoder.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, rows, columns), values in [0, 1], C-contiguous
        Read-only, in order along the series.
    problems
        Of the slices that were chosen but could not be had.
    """

    slices: NDArray[np.float32]
    problems: tuple[PixelProblem, ...] = ()


StackResult = Stack | PixelsUnavailable
Decode = Callable[[bytes, Sequence[int] | None, PixelRecipe, PixelLimits], Sequence[Slice]]


def slices_from_bytes(
    data: bytes,
    frames: Sequence[int] | None = None,
    recipe: PixelRecipe = DEFAULT_RECIPE,
    limits: PixelLimits = DEFAULT_LIMITS,
) -> tuple[Slice, ...]:
    """Prepared slices of one DICOM object; pure, so that a child process can run it.

    Parameters
    ----------
    data
        The whole DICOM object.
    frames
        Places along the object, from 0; None for the central ones. The frames of an object whose
        frames all have a position in one orientation are counted along the normal, else as stored.

    Returns
    -------
    tuple
        Per frame a float32 array of shape (recipe.rows, recipe.columns) with values in [0, 1], or
        why it is not available. When the object as a whole cannot be read and no frames were
        named: that one reason.
    """
    try:
        source = open_pixels(data, limits)
    except PixelError as error:
        return (PixelsUnavailable(error.problem),) * (1 if frames is None else len(frames))
    if frames is None:
        frames = central_frames(source.frames, recipe.n_slices, recipe.central_share)
    order = frames_along_normal(data, source.frames)
    return tuple(_prepare(source, _frame_at(place, order), recipe) for place in frames)


def stack_of(
    sources: Sequence[PixelSource],
    recipe: PixelRecipe = DEFAULT_RECIPE,
    limits: PixelLimits = DEFAULT_LIMITS,
    decode: Decode = slices_from_bytes,
    anatomy: Anatomy = UNKNOWN_ANATOMY,
) -> StackResult:
    """Choose, fetch, decode and prepare the slices that represent a series.

    Parameters
    ----------
    sources
        The instances of one series, in an order that does not change between calls.
    decode
        How bytes become slices; a caller may pass one that runs `slices_from_bytes` elsewhere.
    anatomy
        What the header rules say the series shows: it decides the window of computed tomography.

    Returns
    -------
    Stack or PixelsUnavailable
        A stack of those slices that could be had; unavailable, with the first reason, when none.
    """
    return stacks_of(sources, (recipe,), limits, decode, anatomy)[recipe]


def stacks_of(
    sources: Sequence[PixelSource],
    recipes: Sequence[PixelRecipe],
    limits: PixelLimits = DEFAULT_LIMITS,
    decode: Decode = slices_from_bytes,
    anatomy: Anatomy = UNKNOWN_ANATOMY,
) -> Mapping[PixelRecipe, StackResult]:
    """As `stack_of`, by several recipes at once: each object is fetched once, one at a time."""
    facts = [source.facts for source in sources]
    frames = {
        recipe: _frames_by_instance(choose_slices(facts, recipe.n_slices, recipe.central_share))
        for recipe in recipes
    }
    found: dict[PixelRecipe, dict[int, Sequence[Slice]]] = {recipe: {} for recipe in recipes}
    for instance in dict.fromkeys(number for chosen in frames.values() for number in chosen):
        data = _fetched(sources[instance])
        for recipe, chosen in frames.items():
            if instance in chosen:
                own = recipe.for_anatomy(anatomy)
                found[recipe][instance] = (
                    (data,) * len(chosen[instance])
                    if isinstance(data, PixelsUnavailable)
                    else decode(data, chosen[instance], own, limits)
                )
    return {
        recipe: _joined([one for number in chosen for one in found[recipe][number]])
        for recipe, chosen in frames.items()
    }


def stack_of_object(
    data: bytes,
    recipe: PixelRecipe = DEFAULT_RECIPE,
    limits: PixelLimits = DEFAULT_LIMITS,
    anatomy: Anatomy = UNKNOWN_ANATOMY,
) -> StackResult:
    """The stack of a single DICOM object, such as an uploaded one; see `stack_of`."""
    return _joined(slices_from_bytes(data, None, recipe.for_anatomy(anatomy), limits))


def _fetched(source: PixelSource) -> bytes | PixelsUnavailable:
    try:
        return source.fetch()
    except PixelError as error:
        return PixelsUnavailable(error.problem)


def _joined(found: Sequence[Slice]) -> StackResult:
    slices = [item for item in found if not isinstance(item, PixelsUnavailable)]
    problems = tuple(item.problem for item in found if isinstance(item, PixelsUnavailable))
    if not slices:
        return PixelsUnavailable(problems[0] if problems else PixelProblem.NO_PIXELS)
    stacked = np.stack(slices)
    stacked.flags.writeable = False
    return Stack(slices=stacked, problems=problems)


def _frames_by_instance(chosen: Sequence[SliceRef]) -> dict[int, list[int]]:
    """Frames grouped by instance, so that no object is fetched, or parsed by a recipe, twice."""
    grouped: dict[int, list[int]] = {}
    for slice_ref in chosen:
        grouped.setdefault(slice_ref.instance, []).append(slice_ref.frame)
    return grouped


def _frame_at(place: int, order: Sequence[int] | None) -> int:
    # A place that does not exist is no frame either.
    return order[place] if order is not None and 0 <= place < len(order) else place


def _prepare(source: PixelObject, frame: int, recipe: PixelRecipe) -> Slice:
    try:
        decoded = decode_frame(source, frame)
    except PixelError as error:
        return PixelsUnavailable(error.problem)
    image = show(decoded, source.dataset, frame, recipe)
    return resize(image, (recipe.rows, recipe.columns))
