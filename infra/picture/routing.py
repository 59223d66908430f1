"""Paths at right angles between two columns, with as few crossings as can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")
Point = tuple[float, float]
_LEAST = 11.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Corners of an arrow from its beginning to its head; where its label stands, if it has one."""

    points: tuple[Point, ...]
    label_at: Point | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire(Generic[T]):
    """What must be led from a port on the left of a channel to one on its right, or back."""

    of: T
    left_x: float
    left_y: float
    right_x: float
    right_y: float
    goes_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """The space between two columns."""

    left: float
    right: float

    def paths(self, wires: Sequence[Wire[T]]) -> Iterator[tuple[T, Path]]:
        """A path for each wire; no two share a vertical."""
        bent = [wire for wire in wires if abs(wire.left_y - wire.right_y) > 0.5]
        order = _best_order(bent)
        step = (self.right - self.left) / (len(bent) + 1)
        for wire in wires:
            points: tuple[Point, ...] = (
                (wire.left_x, wire.left_y),
                (wire.right_x, wire.right_y),
            )
            if wire in bent:
                x = self.left + step * (order.index(bent.index(wire)) + 1)
                points = (points[0], (x, wire.left_y), (x, wire.right_y), points[1])
            points = points if wire.goes_right else points[::-1]
            yield wire.of, Path(points=points)


def crossings(wires: Sequence[Wire[T]], order: Sequence[int]) -> int:
    """How often wires cross whose verticals stand in this order."""
    return sum(
        _cross(wires[first], wires[second])
        for place, first in enumerate(order)
        for second in order[place + 1 :]
    )


def _cross(first: Wire[T], second: Wire[T]) -> int:
    """How often two wires cross, of which the first has its vertical further left."""
    low, high = sorted((second.left_y, second.right_y))
    from_right = low < first.right_y < high
    low, high = sorted((first.left_y, first.right_y))
    from_left = low < second.left_y < high
    return from_right + from_left


def _best_order(wires: Sequence[Wire[T]]) -> list[int]:
    """The order of verticals with the fewest crossings."""
    cost = [[_cross(first, second) for second in wires] for first in wires]
    everything = (1 << len(wires)) - 1

    @cache
    def best(placed: int) -> tuple[int, tuple[int, ...]]:
        if placed == everything:
            return 0, ()
        found = []
        for one in range(len(wires)):
            if placed >> one & 1:
                continue
            after = placed | 1 << one
            more = sum(cost[one][other] for other in range(len(wires)) if not after >> other & 1)
            rest, order = best(after)
            found.append((more + rest, (one, *order)))
        return min(found)

    return list(best(0)[1])


def spread(wishes: Sequence[float], top: float, bottom: float) -> list[float]:
    """Places between two ends, near the wishes, which ascend, and apart from each other."""
    if not wishes:
        return []
    apart = min(_LEAST, (bottom - top) / max(len(wishes) - 1, 1))
    places: list[float] = []
    for wish in wishes:
        least = places[-1] + apart if places else top
        places.append(max(wish, least))
    most = bottom
    for number in range(len(places) - 1, -1, -1):
        places[number] = max(top, min(places[number], most))
        most = places[number] - apart
    return places
