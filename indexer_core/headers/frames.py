"""Functional groups of enhanced multi-frame objects (DICOM PS3.3 C.7.6.16)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from indexer_core import geometry
from indexer_core.facts import Scalar
from indexer_core.headers import tags
from indexer_core.headers.attributes import read_value
from indexer_core.headers.values import MAX_VALUES, DataSet
from indexer_core.privacy import Identifiers

MAX_FRAMES = 20_000

Numbers = tuple[float, ...]


@dataclass(slots=True)
class Frames:
    """What the frames of an object have in common and where they differ.

    Parameters
    ----------
    orientations
        Distinct ImageOrientationPatient, rounded to 4 decimals (less than 0.01 degree), with the
        number of frames of each.
    position_mm
        Position of the first frame along its normal.
    n_gaps
        Gaps between frames of one orientation.
    values
        Admitted values by keyword, distinct, in order of their first frame.
    """

    orientations: Counter[Numbers] = field(default_factory=Counter)
    position_mm: float | None = None
    n_gaps: int = 0
    values: dict[str, tuple[Scalar, ...]] = field(default_factory=dict)


def read_frames(dataset: DataSet, identifiers: Identifiers) -> Frames:
    """Orientation, position and admitted values of an object, whether in groups or not."""
    frames = Frames()
    positions: dict[Numbers, set[float]] = {}
    for orientation, position in planes(dataset):
        frames.orientations[orientation] += 1
        along = geometry.position_mm(orientation, position)
        if along is not None:
            positions.setdefault(orientation, set()).add(along)
            frames.position_mm = along if frames.position_mm is None else frames.position_mm
    frames.n_gaps = sum(map(geometry.n_gaps, positions.values()))
    if tags.SHARED_FUNCTIONAL_GROUPS in dataset or tags.PER_FRAME_FUNCTIONAL_GROUPS in dataset:
        frames.values = _group_values(dataset, identifiers)
    return frames


def _groups(dataset: DataSet) -> Iterator[DataSet]:
    yield from dataset.items(tags.SHARED_FUNCTIONAL_GROUPS, 1)
    yield from dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS, MAX_FRAMES)


def planes(dataset: DataSet) -> Iterator[tuple[Numbers, Numbers]]:
    """Orientation and position of each frame that has an orientation, of `MAX_FRAMES` at most.

    Those of the object itself, where its frames are not described one by one.
    """
    orientation = _orientation(dataset)
    if orientation:
        yield orientation, dataset.numbers(tags.IMAGE_POSITION_PATIENT, b"DS")
        return
    shared = next(dataset.items(tags.SHARED_FUNCTIONAL_GROUPS, 1), None)
    common = _frame_orientation(shared) if shared is not None else ()
    n_frames = 0
    for frame in dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS, MAX_FRAMES):
        n_frames += 1
        orientation = _frame_orientation(frame) or common
        if orientation:
            yield orientation, _macro(frame, tags.PLANE_POSITION, tags.IMAGE_POSITION_PATIENT)
    if common and not n_frames:
        yield common, ()


def _macro(group: DataSet, sequence: int, tag: int) -> Numbers:
    item = next(group.items(sequence, 1), None)
    return item.numbers(tag, b"DS") if item is not None else ()


def _frame_orientation(group: DataSet) -> Numbers:
    return _rounded(_macro(group, tags.PLANE_ORIENTATION, tags.IMAGE_ORIENTATION_PATIENT))


def _orientation(dataset: DataSet) -> Numbers:
    return _rounded(dataset.numbers(tags.IMAGE_ORIENTATION_PATIENT, b"DS"))


def _rounded(orientation: Numbers) -> Numbers:
    if geometry.normal(orientation) is None:
        return ()
    return tuple(round(value, 4) + 0.0 for value in orientation)


def _group_values(dataset: DataSet, identifiers: Identifiers) -> dict[str, tuple[Scalar, ...]]:
    """Values of all groups by keyword; a keyword with 16 values is not read further."""
    found: dict[str, dict[tuple[Scalar, ...], None]] = {}
    for group in _groups(dataset):
        for sequence, attribute in tags.FRAME_ATTRIBUTES:
            if sequence in group and len(found.get(attribute.keyword, ())) < MAX_VALUES:
                for item in group.items(sequence, 1):
                    values = read_value(item, attribute, identifiers)
                    if values:
                        found.setdefault(attribute.keyword, {})[values] = None
    return {keyword: _together(tuple(values)) for keyword, values in found.items()}


def _together(values: tuple[tuple[Scalar, ...], ...]) -> tuple[Scalar, ...]:
    """Single values of the frames side by side; of longer ones (spacings) those that come first."""
    return values[0] if len(values[0]) > 1 else tuple(value[0] for value in values)
