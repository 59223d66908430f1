"""Order of the frames of a multi-frame object along the normal of its slices."""

import numpy as np

from indexer_core import geometry
from indexer_core.headers.frames import planes
from indexer_core.headers.prefix import BytesSource, read_prefix


def frames_along_normal(data: bytes, n_frames: int) -> tuple[int, ...] | None:
    """Frame numbers by position along the normal, stored order among frames at one position.

    Enhanced objects may store their frames in any order, such as by echo before position (PS3.3
    C.7.6.16.2.2).

    Parameters
    ----------
    data
        The whole DICOM object.
    n_frames
        Its number of frames.

    Returns
    -------
    tuple of int, or None
        None where a frame lacks a position or lies in another orientation, or there are too many
        to look at each: stored order counts.
    """
    header = read_prefix(BytesSource(data)) if n_frames > 1 else None
    if header is None:
        return None
    found = list(planes(header.dataset))
    if len(found) != n_frames:
        return None
    positions = [geometry.position_mm(orientation, position) for orientation, position in found]
    normals = [geometry.normal(orientation) for orientation, _ in found]
    if not _is_one_stack(normals) or any(position is None for position in positions):
        return None
    steps = np.rint(np.array(positions, dtype=np.float64) / geometry.SAME_POSITION_MM)
    return tuple(np.argsort(steps, kind="stable").tolist())


def _is_one_stack(normals: list[geometry.Vector | None]) -> bool:
    first = normals[0]
    return first is not None and all(
        normal == first
        or (
            normal is not None
            and geometry.angle_degrees(first, normal) <= geometry.SAME_ORIENTATION_DEGREES
        )
        for normal in normals
    )
