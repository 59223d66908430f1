"""Order of the frames of a multi-frame object along the normal of its slices."""

import numpy as np
from pydicom import Dataset

from indexer_core import geometry
from indexer_core.pixels.functional_groups import group_items


def frames_along_normal(dataset: Dataset, n_frames: int) -> tuple[int, ...] | None:
    """Frame numbers by position along the normal, stored order among frames at one position.

    Enhanced objects may store their frames in any order, such as by echo before position (PS3.3
    C.7.6.16.2.2).

    Returns
    -------
    tuple of int, or None
        None where a frame lacks a position or lies in another orientation: stored order counts.
    """
    if n_frames < 2 or _n_described(dataset) != n_frames:
        return None
    positions = []
    first: geometry.Vector | None = None
    for frame in range(n_frames):
        orientation = _numbers(
            dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"
        )
        position = _numbers(dataset, frame, "PlanePositionSequence", "ImagePositionPatient")
        normal = geometry.normal(orientation)
        along = geometry.position_mm(orientation, position)
        if normal is None or along is None:
            return None
        first = first or normal
        if geometry.angle_degrees(first, normal) > geometry.SAME_ORIENTATION_DEGREES:
            return None
        positions.append(round(along / geometry.SAME_POSITION_MM))
    return tuple(int(frame) for frame in np.argsort(positions, kind="stable"))


def _n_described(dataset: Dataset) -> int:
    try:
        return len(dataset["PerFrameFunctionalGroupsSequence"].value)
    except Exception:  # noqa: BLE001 - absent or damaged alike
        return 0


def _numbers(dataset: Dataset, frame: int, group: str, keyword: str) -> tuple[float, ...]:
    for item in group_items(dataset, frame, group):
        try:
            return tuple(float(value) for value in item[keyword].value)
        except Exception:  # noqa: BLE001, S112 - absent or damaged alike: perhaps the shared one
            continue
    return ()
