"""What a picture is made of, before anything has a place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A small thing inside a box or a row. style: of its colours. covers: addresses drawn by it."""

    label: str
    style: str
    covers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Things of one type, side by side."""

    title: str
    chips: tuple[Chip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A resource with what lies in it.

    facts: lines of what its templates say of it. marks: style and text of small marks at its
    corner. covers: addresses of all that is drawn by it, chips left out.
    """

    address: str
    name: str
    type: str
    column: int
    style: str
    facts: tuple[str, ...]
    marks: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    covers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Rows over the whole width, below the boxes."""

    title: str
    style: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What goes from one thing to another, by their addresses.

    is_event: whether events or messages do; else what is read and written. is_mutual: whether it
    goes the other way, too. label: the setting that names the target, or nothing.
    """

    source: str
    target: str
    is_event: bool
    is_mutual: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A deployment as it is drawn."""

    title: str
    covers: tuple[str, ...]
    boxes: tuple[Box, ...]
    bands: tuple[Band, ...]
    flows: tuple[Flow, ...]
