"""Which slices represent a series."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from indexer_core.facts import InstanceFacts, Value


@dataclass(frozen=True, slots=True)
class SliceRef:
    """Frame `frame` of the instance at place `instance` of the sequence that was asked about."""

    instance: int
    frame: int


def choose_slices(
    instances: Sequence[InstanceFacts], n: int = 3, central_share: float = 0.4
) -> tuple[SliceRef, ...]:
    """Choose up to `n` slices, evenly spread over the middle part of the series.

    Instances are put in order by their position along the normal where every one has it, else by
    instance number, else as given. Of a series with several orientations (a localizer) only the
    most frequent one is used when it alone has enough slices. The frames of a multi-frame instance
    count as slices in their stored order.

    Parameters
    ----------
    instances
        The instances of one series; those without pixels are passed over.
    n
        Slices wanted, at least 1.
    central_share
        Share of the series, around its middle, that the choice is spread over.

    Returns
    -------
    tuple of SliceRef
        In order along the series; empty when nothing has pixels.
    """
    candidates = _main_orientation(instances, _with_pixels(instances), n)
    ordered = _ordered(instances, candidates)
    # Counts, not lists of frames: a header may claim any number of frames.
    ends = list(accumulate(max(1, instances[i].frames) for i in ordered))
    chosen = _central_places(ends[-1] if ends else 0, n, central_share)
    return tuple(_slice_at(place, ordered, ends) for place in chosen)


def central_frames(n_frames: int, n: int = 3, central_share: float = 0.4) -> tuple[int, ...]:
    """The frames that represent a single multi-frame object; see `choose_slices`."""
    return _central_places(n_frames, n, central_share)


def _with_pixels(instances: Sequence[InstanceFacts]) -> list[int]:
    return [i for i, facts in enumerate(instances) if facts.has_pixels]


def _main_orientation(
    instances: Sequence[InstanceFacts], candidates: list[int], n: int
) -> list[int]:
    orientations = [_orientation(instances[i]) for i in candidates]
    counts = Counter(orientations)
    if len(counts) < 2:
        return candidates
    main, n_main = counts.most_common(1)[0]
    if n_main < n:
        return candidates
    return [i for i, found in zip(candidates, orientations, strict=True) if found == main]


def _orientation(facts: InstanceFacts) -> tuple[float, ...]:
    value = facts.attributes.get("ImageOrientationPatient", ())
    cosines = value if isinstance(value, tuple) else (value,)
    # One decimal: the slices of a series may differ in the last digits of their cosines.
    return tuple(round(float(c), 1) + 0.0 for c in cosines if isinstance(c, int | float))


def _ordered(instances: Sequence[InstanceFacts], candidates: list[int]) -> list[int]:
    positions = [instances[i].position_mm for i in candidates]
    numbers = [_instance_number(instances[i]) for i in candidates]
    has_positions = all(p is not None for p in positions)
    has_numbers = all(n is not None for n in numbers)
    keys = {
        i: (position if has_positions else None, number if has_numbers else None)
        for i, position, number in zip(candidates, positions, numbers, strict=True)
    }
    return sorted(candidates, key=lambda i: tuple(0.0 if k is None else k for k in keys[i]))


def _instance_number(facts: InstanceFacts) -> float | None:
    value: Value | None = facts.attributes.get("InstanceNumber")
    return float(value) if isinstance(value, int | float) else None


def _central_places(n_places: int, n: int, central_share: float) -> tuple[int, ...]:
    if n_places <= n:
        return tuple(range(n_places))
    middle, reach = (n_places - 1) / 2, (n_places - 1) * central_share / 2
    # A short series has fewer places in its middle part than are wanted: then neighbours.
    reach = max(reach, (n - 1) / 2)
    step = 2 * reach / (n - 1) if n > 1 else 0.0
    first = middle - reach if n > 1 else middle
    # Half up: rounding half to even could choose one place twice.
    return tuple(int(first + step * k + 0.5) for k in range(n))


def _slice_at(place: int, ordered: Sequence[int], ends: Sequence[int]) -> SliceRef:
    at = bisect_right(ends, place)
    return SliceRef(ordered[at], place - (ends[at - 1] if at else 0))
