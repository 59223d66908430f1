"""Walking over encoded data elements without reading their values (DICOM PS3.5 section 7).

A header is a few hundred elements of which some sixty are wanted, so an element is found by its
place in the bytes and converted only when asked for. Nothing here recurses and nothing is
allocated from a length field, so hostile bytes cost no more than their own size.
"""

import enum
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import Literal, NamedTuple

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
# Items and delimiters, which have no VR in any encoding, in both byte orders.
_DELIMITERS = frozenset(
    (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order)
    for tag in (ITEM, ITEM_END, SEQUENCE_END)
    for order in _ORDERS
)

# Explicit VRs with two reserved bytes and a length of 32 bits (DICOM PS3.5 section 7.1.2).
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
VRS = _LONG_VRS.union(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
    (b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
)
# A header of more elements than this, in one data set or one sequence, is not looked at further.
MAX_ELEMENTS = 200_000


class Encoding(NamedTuple):
    """How elements are written: byte order, and whether the VR is left out."""

    little: bool
    implicit: bool


class Element(NamedTuple):
    """Where a value lies: bytes [start, stop), its VR (empty when implicit) and its encoding."""

    vr: bytes
    start: int
    stop: int
    encoding: Encoding


class End(enum.Enum):
    """Why a walk ended."""

    BEYOND = "a tag above the last one asked for"
    FINISHED = "the end of the data"
    CUT = "an element that reaches over the end of the data"


class Walk(NamedTuple):
    """What a walk found.

    ``tag``, ``position`` and ``length`` are those of the element it ended at; ``reach`` is how
    long the data would have to be for that element (0 when unknown).
    """

    elements: dict[int, Element]
    end: End
    tag: int = 0
    position: int = 0
    length: int = 0
    reach: int = 0


# Tag, VR (empty when implicit), start of the value, length; a plain tuple because the walk over
# heads is most of the time a header takes.
_Head = tuple[int, bytes, int, int]

_LITTLE_TAG, _BIG_TAG = Struct("<HHL"), Struct(">HHL")
_LITTLE_EXPLICIT, _BIG_EXPLICIT = Struct("<HH2sH"), Struct(">HH2sH")
_LITTLE_LONG, _BIG_LONG = Struct("<L"), Struct(">L")


def _head(data: bytes, position: int, encoding: Encoding) -> _Head:
    """Tag, VR and length at a position.

    Raises
    ------
    StructError
        The data ends first.
    """
    little = encoding.little
    if not encoding.implicit:
        explicit = _LITTLE_EXPLICIT if little else _BIG_EXPLICIT
        group, element, vr, length = explicit.unpack_from(data, position)
        if vr in _LONG_VRS:
            length = (_LITTLE_LONG if little else _BIG_LONG).unpack_from(data, position + 8)[0]
            return group << 16 | element, vr, position + 12, length
        if group != 0xFFFE and b"AA" <= vr <= b"ZZ":
            return group << 16 | element, vr, position + 8, length
    # Items have no VR; and some writers switch to implicit elements inside explicit data sets.
    group, element, length = (_LITTLE_TAG if little else _BIG_TAG).unpack_from(data, position)
    return group << 16 | element, b"", position + 8, length


def walk(
    data: bytes, position: int, encoding: Encoding, last_tag: int, stop_at: int | None = None
) -> Walk:
    """Elements from a position on, up to and including `last_tag`, none past `stop_at`."""
    elements: dict[int, Element] = {}
    size = len(data) if stop_at is None else stop_at
    tag = length = 0
    for _ in range(MAX_ELEMENTS):
        if position == size:
            return Walk(elements, End.FINISHED, position=position)
        try:
            tag, vr, start, length = _head(data, position, encoding)
            if tag > last_tag:
                reach = 0 if length == UNDEFINED else start + length
                return Walk(elements, End.BEYOND, tag, position, length, reach)
            if length == UNDEFINED:
                stop, after = _skip(data, start, _inner(vr, encoding))
            else:
                stop = after = start + length
        except StructError:
            return Walk(elements, End.CUT, tag, position, reach=size + 1)
        if after > size:
            return Walk(elements, End.CUT, tag, position, length, after)
        elements[tag] = Element(vr, start, stop, encoding)
        position = after
    return Walk(elements, End.CUT, tag, position)


def _skip(data: bytes, position: int, encoding: Encoding) -> tuple[int, int]:
    """End of a value of undefined length that starts here: before and after its delimiter.

    Raises StructError when the data ends first.
    """
    # The encodings of what is open, innermost last.
    opened = [encoding]
    for _ in range(MAX_ELEMENTS):
        tag, vr, position, length = _head(data, position, opened[-1])
        if tag in (ITEM_END, SEQUENCE_END):
            opened.pop()
            if not opened:
                return position - 8, position
        elif length == UNDEFINED:
            opened.append(_inner(vr, opened[-1]))
        else:
            position += length
    raise StructError("more elements than a header can have")


def _inner(vr: bytes, encoding: Encoding) -> Encoding:
    """Values of VR UN and undefined length are written implicitly (DICOM PS3.5 section 6.2.2)."""
    return Encoding(encoding.little, implicit=True) if vr == b"UN" else encoding


def items(data: bytes, element: Element, max_items: int) -> Iterator[dict[int, Element]]:
    """Elements of each item of a sequence, up to the first that cannot be read."""
    encoding = _inner(element.vr, element.encoding)
    position, end = element.start, element.stop
    for _ in range(max_items):
        try:
            tag, _vr, start, length = _head(data, position, encoding)
            if tag != ITEM:
                return
            inner = _item_encoding(data, start, encoding)
            stop = after = start + length
            if length == UNDEFINED:
                stop, after = _skip(data, start, inner)
        except StructError:
            return
        if after > end:
            return
        yield walk(data, start, inner, UNDEFINED, stop).elements
        position = after


def _item_encoding(data: bytes, position: int, encoding: Encoding) -> Encoding:
    """Some writers switch to implicit elements inside the items of an explicit data set."""
    shown = looks(data, position)
    if encoding.implicit or shown is None or data[position : position + 4] in _DELIMITERS:
        return encoding
    return Encoding(encoding.little, shown.implicit)


def looks(data: bytes, position: int) -> Encoding | None:
    """The encoding that the first element shows, whatever the transfer syntax says.

    A data set starts with a group below 0x0100, whose zero byte comes first in big endian only;
    two capital letters follow an explicit tag. None when there is no element.
    """
    head = data[position : position + 6]
    if len(head) < 6:
        return None
    vr = head[4:6]
    return Encoding(
        little=head[0] != 0 or head[1] == 0, implicit=not (vr.isalpha() and vr.isupper())
    )
