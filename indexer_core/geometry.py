"""Where slices lie: planes from direction cosines, positions along the normal, gaps.

ImageOrientationPatient holds the directions of a row and of a column in the patient's coordinates
(x to the left hand, y to the back, z to the head; DICOM PS3.3 C.7.6.2.1.1).
"""

import itertools
import math
from collections.abc import Iterable, Sequence

Vector = tuple[float, float, float]

# A slice is called after the axis its normal is closest to, and oblique when the normal is more
# than 37 degrees from every axis. The threshold on the cosine is David Clunie's (PixelMed,
# "obliquityThresholdCosineValue"), taken over by GDCM (gdcm::Orientation) and by most viewers.
OBLIQUITY_THRESHOLD = 0.8
_PLANES = ("sagittal", "coronal", "axial")
# Scanners write positions and directions with some noise; no slices are closer than this.
SAME_POSITION_MM = 0.01
SAME_ORIENTATION_DEGREES = 1.0
GAP_FACTOR = 1.5


def normal(orientation: Sequence[float]) -> Vector | None:
    """Unit normal of a slice from its six direction cosines; None when they are no directions."""
    if len(orientation) != 6 or not all(math.isfinite(value) for value in orientation):
        return None
    (ax, ay, az), (bx, by, bz) = orientation[:3], orientation[3:]
    cross = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    length = math.hypot(*cross)
    # Perpendicular unit vectors have a cross product of length 1; half of it is no orientation.
    if not 0.5 < length < 2.0:
        return None
    return (cross[0] / length, cross[1] / length, cross[2] / length)


def plane(orientation: Sequence[float]) -> str | None:
    """axial, coronal, sagittal or oblique; None when there is no usable orientation."""
    direction = normal(orientation)
    if direction is None:
        return None
    cosines = [abs(value) for value in direction]
    largest = max(cosines)
    return _PLANES[cosines.index(largest)] if largest >= OBLIQUITY_THRESHOLD else "oblique"


def position_mm(orientation: Sequence[float], position: Sequence[float]) -> float | None:
    """Position along the normal of the slice, in mm, rounded to 0.001; None when unknown."""
    direction = normal(orientation)
    if direction is None or len(position) != 3:
        return None
    along = math.fsum(a * b for a, b in zip(direction, position, strict=True))
    return round(along, 3) + 0.0 if math.isfinite(along) else None


def n_gaps(positions: Iterable[float]) -> int:
    """Places where sorted distinct positions are more than 1.5 median steps apart."""
    ordered = sorted(positions)
    steps = [after - before for before, after in itertools.pairwise(ordered)]
    steps = [step for step in steps if step > SAME_POSITION_MM]
    if len(steps) < 2:
        return 0
    median = sorted(steps)[(len(steps) - 1) // 2]
    return sum(step > GAP_FACTOR * median for step in steps)


def angle_degrees(one: Vector, other: Vector) -> float:
    """Angle between two unit vectors."""
    cosine = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
