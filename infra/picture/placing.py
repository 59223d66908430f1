"""Gives things their places: boxes in four columns, rows below them, and paths between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.picture.routing import Channel, Path, Wire, spread
from infra.picture.things import Band, Box, Chip, Flow, Picture, Row

WIDTH = 1040
MARGIN, INSIDE = 14, 14
_WIDTHS = (186, 246, 206, 200)
_GAPS = (34, 56, 56)
_PAD, _CHIP_HEIGHT, _CHIP_GAP = 10, 20, 5
_HEAD, _LINE, _TITLE = 40, 15, 17
_BETWEEN, _LANE = 16, 9
_LEGEND = 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """Left, top, width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A picture with places for its things. texts: titles of rows, with left end and baseline."""

    picture: Picture
    height: float
    frame: Rect
    boxes: tuple[tuple[Box, Rect], ...]
    chips: tuple[tuple[Chip, Rect], ...]
    titles: tuple[tuple[str, float, float], ...]
    bands: tuple[tuple[Band, Rect], ...]
    paths: tuple[tuple[Flow, Path], ...]


def text_width(text: str, size: float) -> float:
    """How wide a text is at most."""
    return len(text) * size * 0.54


def placed(picture: Picture) -> Placed:
    """The picture with places."""
    return _Placing(picture).all()


class _Placing:
    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._boxes: dict[str, tuple[Box, Rect]] = {}
        self._chips: list[tuple[Chip, Rect]] = []
        self._titles: list[tuple[str, float, float]] = []
        self._bands: list[tuple[Band, Rect]] = []
        self._where: dict[str, tuple[Box, Rect]] = {}
        self._ends = {end for flow in picture.flows for end in (flow.source, flow.target)}

    def all(self) -> Placed:
        columns = {box.address: box.column for box in self._picture.boxes}
        far = [
            flow
            for flow in self._picture.flows
            if abs(self._column(flow.source, columns) - self._column(flow.target, columns)) > 1
        ]
        top = MARGIN + 34 + len(far) * _LANE + (6 if far else 0)
        bottom = max(self._fill(column, top) for column in range(len(_WIDTHS)))
        y = bottom + _BETWEEN
        for bands in _abreast(self._picture.bands):
            y = self._abreast(bands, y) + 10
        frame = Rect(x=MARGIN, y=MARGIN, width=WIDTH - 2 * MARGIN, height=y - MARGIN)
        return Placed(
            picture=self._picture,
            height=y + _LEGEND,
            frame=frame,
            boxes=tuple(self._boxes.values()),
            chips=tuple(self._chips),
            titles=tuple(self._titles),
            bands=tuple(self._bands),
            paths=tuple(self._paths(top, far)),
        )

    def _column(self, address: str, columns: dict[str, int]) -> int:
        for box in self._picture.boxes:
            if address in _covered(box):
                return columns[box.address]
        raise KeyError(address)

    def _fill(self, column: int, top: float) -> float:
        """Stack the boxes of a column; where the last one ends."""
        x = _left(column)
        y = top
        for box in [box for box in self._picture.boxes if box.column == column]:
            y = self._box(box, x, y, _WIDTHS[column]) + _BETWEEN
        return y - _BETWEEN if y > top else top

    def _box(self, box: Box, x: float, top: float, width: float) -> float:
        y = top + _HEAD + _LINE * len(box.facts) + (4 if box.facts else 0)
        for row in box.rows:
            self._titles.append((row.title, x + _PAD, y + 11))
            y = self._chips_of(row, x + _PAD, y + _TITLE, width - 2 * _PAD, box) + 4
        rect = Rect(x=x, y=top, width=width, height=y + 4 - top)
        self._boxes[box.address] = (box, rect)
        self._where[box.address] = (box, rect)
        return rect.bottom

    def _chips_of(self, row: Row, x: float, y: float, width: float, box: Box) -> float:
        """Two beside each other where they fit and no arrow must reach them."""
        half = (width - _CHIP_GAP) / 2
        chips = list(row.chips)
        while chips:
            pair = chips[:2]
            n = 2 if len(pair) == 2 and all(self._is_small(chip, half) for chip in pair) else 1
            for number, chip in enumerate(pair[:n]):
                rect = Rect(
                    x=x + number * (half + _CHIP_GAP),
                    y=y,
                    width=half if n == 2 else width,
                    height=_CHIP_HEIGHT,
                )
                self._chips.append((chip, rect))
                for address in chip.covers:
                    self._where[address] = (box, rect)
            chips = chips[n:]
            y += _CHIP_HEIGHT + _CHIP_GAP
        return y

    def _is_small(self, chip: Chip, half: float) -> bool:
        return text_width(chip.label, 11) <= half - 4 and not self._ends & set(chip.covers)

    def _abreast(self, bands: Sequence[Band], top: float) -> float:
        """Bands beside each other; where the longest ends."""
        whole = WIDTH - 2 * (MARGIN + INSIDE)
        width = (whole - _BETWEEN * (len(bands) - 1)) / len(bands)
        rects = [
            self._band(band, MARGIN + INSIDE + number * (width + _BETWEEN), top, width)
            for number, band in enumerate(bands)
        ]
        height = max(rect.height for rect in rects)
        for band, rect in zip(bands, rects, strict=True):
            self._bands.append((band, Rect(x=rect.x, y=top, width=width, height=height)))
        return top + height

    def _band(self, band: Band, left: float, top: float, width: float) -> Rect:
        y = top + 30
        titles = max(text_width(row.title, 11.2) for row in band.rows)
        start, right = left + _PAD + titles + 6, left + width - _PAD
        for row in band.rows:
            self._titles.append((row.title, left + _PAD, y + 14))
            x = start
            for chip in row.chips:
                size = text_width(chip.label, 11) + 18
                if x + size > right and x > start:
                    x, y = start, y + _CHIP_HEIGHT + _CHIP_GAP
                rect = Rect(x=x, y=y, width=size, height=_CHIP_HEIGHT)
                self._chips.append((chip, rect))
                x = rect.right + _CHIP_GAP
            y += _CHIP_HEIGHT + _CHIP_GAP + 1
        return Rect(x=left, y=top, width=width, height=y + 4 - top)

    def _paths(self, top: float, far: Sequence[Flow]) -> Iterator[tuple[Flow, Path]]:
        ports = self._ports(far)
        channels = [
            Channel(left=_left(n) + _WIDTHS[n], right=_left(n + 1)) for n in range(len(_GAPS))
        ]
        for number, flow in enumerate(far):
            yield flow, self._over(flow, top, number, len(far), channels, ports)
        wires: dict[int, list[Wire[Flow]]] = {}
        for flow in self._picture.flows:
            (box, _), (other, target) = self._where[flow.source], self._where[flow.target]
            if flow in far:
                continue
            if box.column == other.column:
                yield flow, _down(self._boxes[box.address][1], target)
                continue
            column = min(box.column, other.column)
            starts = box.column == column
            left, right = (flow.source, flow.target) if starts else (flow.target, flow.source)
            wires.setdefault(column, []).append(
                Wire(
                    of=flow,
                    left_y=ports[flow, left],
                    right_y=ports[flow, right],
                    left_x=self._where[left][1].right,
                    right_x=self._where[right][1].x,
                    goes_right=starts,
                )
            )
        for column, members in wires.items():
            yield from channels[column].paths(members)

    def _ports(self, far: Sequence[Flow]) -> dict[tuple[Flow, str], float]:
        """How far down each flow leaves and enters its things.

        Chips have one place. On the side of a box flows are spread, each as near to the height of
        its other end as it can be; both ends are moved in turns.
        """
        found = {
            (flow, end): self._where[end][1].middle
            for flow in self._picture.flows
            for end in (flow.source, flow.target)
        }
        sides: dict[tuple[int, str, bool], list[tuple[Flow, str, str]]] = {}
        for flow in self._picture.flows:
            for end, other in ((flow.source, flow.target), (flow.target, flow.source)):
                box, there = self._where[end][0], self._where[other][0]
                is_lane = flow in far and box.column < there.column  # enters from above
                if end == box.address and there.column != box.column and not is_lane:
                    side = (box.column, end, there.column > box.column)
                    sides.setdefault(side, []).append((flow, end, other))
        for _ in range(3):
            for (_, address, _), members in sorted(sides.items(), key=lambda side: side[0]):
                wishes = [-1.0 if f in far else found[f, other] for f, _, other in members]
                order = sorted(range(len(members)), key=wishes.__getitem__)
                places = spread([wishes[n] for n in order], *self._reach(address))
                for number, y in zip(order, places, strict=True):
                    flow, end, _ = members[number]
                    found[flow, end] = y
        return found

    def _reach(self, address: str) -> tuple[float, float]:
        """Where arrows may end on the sides of a box."""
        box, rect = self._where[address]
        has_ends = any(self._ends & set(chip.covers) for row in box.rows for chip in row.chips)
        # Where arrows go to single chips, others keep to the head of the box.
        bottom = rect.y + _HEAD + _LINE * len(box.facts) if has_ends else rect.bottom - 10
        return rect.y + 12, bottom

    def _over(
        self,
        flow: Flow,
        top: float,
        number: int,
        count: int,
        channels: Sequence[Channel],
        ports: dict[tuple[Flow, str], float],
    ) -> Path:
        """Above the columns: from a program's left side up, along a lane and down."""
        ends = sorted((flow.source, flow.target), key=lambda end: self._where[end][0].column)
        left, right = self._where[ends[0]][1], self._where[ends[1]][1]
        lane = top - 8 - (count - 1 - number) * _LANE
        x = left.x + left.width / 2 + 16 * (number - (count - 1) / 2)
        at = channels[self._where[ends[1]][0].column - 1].right - 10 - 8 * (count - 1 - number)
        y = ports[flow, ends[1]]
        points = ((x, left.y), (x, lane), (at, lane), (at, y), (right.x, y))
        goes_right = flow.source == ends[0]
        return Path(
            points=points if goes_right else points[::-1],
            label_at=(at - 110, lane - 4) if number == 0 else None,
        )


def _down(box: Rect, target: Rect) -> Path:
    """To what stands below in the same column."""
    x = box.x + box.width / 2
    return Path(points=((x, box.bottom), (x, target.y)))


def _left(column: int) -> float:
    return MARGIN + INSIDE + sum(_WIDTHS[:column]) + sum(_GAPS[:column])


def _abreast(bands: Sequence[Band]) -> Iterator[Sequence[Band]]:
    """Those with the longest rows alone, the others in pairs."""
    wide = [band for band in bands if max(map(_row_width, band.rows)) > WIDTH]
    rest = [band for band in bands if band not in wide]
    yield from ([band] for band in wide)
    yield from (rest[number : number + 2] for number in range(0, len(rest), 2))


def _row_width(row: Row) -> float:
    return sum(text_width(chip.label, 11) + 23 for chip in row.chips)


def _covered(box: Box) -> set[str]:
    return {*box.covers, *(a for row in box.rows for chip in row.chips for a in chip.covers)}
