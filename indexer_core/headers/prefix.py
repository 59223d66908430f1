"""As many first bytes of an object as its identifying and descriptive elements need.

One request of 64 KiB answers nearly all objects of one frame. More is asked for, in steps, only
while an element that is needed may still follow; pixel data ends every walk.
"""

import zlib
from dataclasses import dataclass
from typing import Literal, Protocol

from indexer_core.headers import objects, tags
from indexer_core.headers.elements import VRS, Encoding, End, Walk, looks, walk
from indexer_core.headers.values import DataSet

FIRST_READ_BYTES = 64 * 1024
# What is held in the prefix after each request; the last is the most a header may take.
READ_STEPS = (FIRST_READ_BYTES, 256 * 1024, 1 << 20, 4 << 20, 16 << 20, 64 << 20)
MAX_HEADER_BYTES = READ_STEPS[-1]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_IMPLICIT = "1.2.840.10008.1.2"
_LAST_META_TAG = 0x0002FFFF
_LAST_COMMAND_TAG = 0x0000FFFF
# (0000,0000) Command Group Length, implicit, of four bytes.
_COMMAND_SET = b"\0\0\0\0\4\0\0\0"
# The first element of a data set is of group 0008 by the book; groups above this never come first.
_LAST_FIRST_GROUP = 0x0028
_EXPLICIT_LITTLE = Encoding(little=True, implicit=False)
_INFLATE_STEP = 4096
_DESCRIPTIONS = (tags.STUDY_DESCRIPTION, tags.SERIES_DESCRIPTION, tags.PROTOCOL_NAME)
# Found by their presence, because a header need not be in order.
_IDENTIFYING = (tags.SOP_CLASS_UID, tags.SOP_INSTANCE_UID, tags.SERIES_INSTANCE_UID)


class RangeSource(Protocol):
    """Bytes of one object, by range."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length), fewer at the end of the object."""


@dataclass(frozen=True, slots=True)
class BytesSource:
    """An object held in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A header as far as it was read.

    Parameters
    ----------
    first_bytes
        The first 64 KiB, which name an object without UIDs.
    meta, dataset
        File Meta Information and data set, up to pixel data or the end of what was read.
    encoding
        How the data set is written, by its own bytes.
    pixel_data
        Whether pixel data was met and is not empty; None when the read ended before.
    pixels_cut
        The pixel data is longer than what the object holds.
    cut
        The object itself ends inside an element, so that elements may be lost.
    odd
        What was odd about the encoding, as flags.
    """

    first_bytes: bytes
    meta: DataSet
    dataset: DataSet
    encoding: Encoding
    pixel_data: bool | None
    pixels_cut: bool
    cut: bool
    odd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Parsed:
    prefix: Prefix
    found: Walk


def read_prefix(source: RangeSource) -> Prefix | None:
    """Read until nothing needed can follow; None when the bytes are not DICOM."""
    data = b""
    parsed: _Parsed | None = None
    for step in READ_STEPS:
        wanted = min(step, source.size_bytes)
        data += source.read(len(data), wanted - len(data))
        # An object that gave less than its size was replaced meanwhile: what came is all there is.
        size_bytes = source.size_bytes if len(data) == wanted else len(data)
        parsed = _parse(data, size_bytes)
        if parsed is None or len(data) == size_bytes or not _more_is_needed(parsed):
            break
    return parsed.prefix if parsed else None


def _parse(data: bytes, size_bytes: int) -> _Parsed | None:
    start = _start(data)
    if start is None:
        return None
    odd = [] if data[128:132] == b"DICM" else ["noPreamble"]
    meta, position = _meta(data, start)
    syntax = meta.text(tags.TRANSFER_SYNTAX_UID)
    body, total = data, size_bytes
    if syntax == _DEFLATED:
        body, total = _inflated(data[position:], ended=len(data) == size_bytes)
        position = 0
    encoding = looks(body, position) or _EXPLICIT_LITTLE
    odd += _syntax_flags(syntax, encoding)
    found = _walk_dataset(body, position, encoding, total)
    prefix = Prefix(
        first_bytes=data[:FIRST_READ_BYTES],
        meta=meta,
        dataset=DataSet(body, found.elements),
        encoding=encoding,
        pixel_data=_pixel_data(found),
        pixels_cut=found.tag in tags.PIXEL_TAGS and found.reach > total,
        cut=found.end is End.CUT and (found.reach > total or len(body) == total),
        odd=tuple(odd),
    )
    return _Parsed(prefix, found)


def _start(data: bytes) -> int | None:
    """Where the first element is; None when this is not DICOM.

    Some writers leave out the preamble, some only its prefix.
    """
    if data[128:132] == b"DICM":
        return 132
    return next((place for place in (0, 128) if _may_be_element(data, place)), None)


def _may_be_element(data: bytes, position: int) -> bool:
    """Whether the bytes look like the first element of an object without a preamble."""
    shown = looks(data, position)
    if shown is None or len(data) < position + 8:
        return False
    order: Literal["little", "big"] = "little" if shown.little else "big"
    group = int.from_bytes(data[position : position + 2], order)
    if not shown.implicit:
        return 0 < group <= _LAST_FIRST_GROUP and data[position + 4 : position + 6] in VRS
    length = int.from_bytes(data[position + 4 : position + 8], order)
    return shown.little and (group, length <= len(data)) in ((0x0002, True), (0x0008, True))


def _meta(data: bytes, start: int) -> tuple[DataSet, int]:
    """File Meta Information, always little endian (DICOM PS3.10 section 7.1), and what follows.

    A command set left over from the network is passed over.
    """
    meta = DataSet(data, {})
    if data[start : start + 2] == b"\x02\x00":
        shown = looks(data, start) or _EXPLICIT_LITTLE
        found = walk(data, start, Encoding(little=True, implicit=shown.implicit), _LAST_META_TAG)
        meta, start = DataSet(data, found.elements), found.position
    if data[start : start + 8] == _COMMAND_SET:
        start = walk(data, start, Encoding(little=True, implicit=True), _LAST_COMMAND_TAG).position
    return meta, start


def _walk_dataset(body: bytes, position: int, encoding: Encoding, total: int) -> Walk:
    found = walk(body, position, encoding, tags.LAST_HEADER_TAG)
    if found.end is End.FINISHED and len(body) < total:
        # What was read ends between two elements: the next one is still unknown.
        after = max(found.elements, default=0) + 1
        return found._replace(end=End.CUT, tag=after, reach=len(body) + 1)
    return found


def _pixel_data(found: Walk) -> bool | None:
    if found.end is End.CUT:
        return None
    return found.tag in tags.PIXEL_TAGS and found.length > 0


def _syntax_flags(syntax: str, encoding: Encoding) -> list[str]:
    if not syntax:
        return ["noTransferSyntax"]
    standard = syntax.startswith(_IMPLICIT)
    told = Encoding(little=syntax != _BIG_ENDIAN, implicit=syntax == _IMPLICIT)
    return ["wrongTransferSyntax"] if standard and told != encoding else []


def _inflated(compressed: bytes, *, ended: bool) -> tuple[bytes, int]:
    """The start of a deflated data set (DICOM PS3.5 annex A.5), and how long it is in all.

    A bomb is not unpacked beyond 64 times what was read, nor beyond the most a header may take.
    """
    most = min(MAX_HEADER_BYTES, max(1 << 20, 64 * len(compressed)))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    for offset in range(0, len(compressed), _INFLATE_STEP):
        try:
            parts.append(
                inflater.decompress(compressed[offset : offset + _INFLATE_STEP], most - size)
            )
        except zlib.error:
            ended = True
            break
        size += len(parts[-1])
        if inflater.eof or size >= most:
            break
    complete = ended or inflater.eof
    return b"".join(parts), size if complete and size < most else MAX_HEADER_BYTES


def _more_is_needed(parsed: _Parsed) -> bool:
    found = parsed.found
    if found.end is not End.CUT or parsed.prefix.cut:
        return False
    dataset = parsed.prefix.dataset
    return found.tag <= _last_needed_tag(dataset) or any(tag not in dataset for tag in _IDENTIFYING)


def _last_needed_tag(dataset: DataSet) -> int:
    """The last element worth another request; elements are written in ascending order."""
    sop_class_uid = dataset.text(tags.SOP_CLASS_UID)
    needed = [tags.BURNED_IN_ANNOTATION]
    if not any(dataset.text(tag) for tag in _DESCRIPTIONS):
        needed.append(tags.PERFORMED_PROCEDURE_STEP_DESCRIPTION)
    if dataset.text(tags.MODALITY) in ("NM", "PT"):
        needed.append(tags.UNITS)
    if objects.is_report(sop_class_uid):
        needed.append(tags.CONCEPT_NAME_CODE_SEQUENCE)
    if objects.is_segmentation(sop_class_uid):
        needed.append(tags.SEGMENT_SEQUENCE)
    if objects.is_structure_set(sop_class_uid):
        needed.append(tags.STRUCTURE_SET_ROI_SEQUENCE)
    if _needs_frame_groups(dataset, sop_class_uid):
        needed.append(tags.PER_FRAME_FUNCTIONAL_GROUPS)
    return max(needed)


def _needs_frame_groups(dataset: DataSet, sop_class_uid: str) -> bool:
    told = objects.frames_in_groups(sop_class_uid)
    if told is not None:
        return told
    frames = dataset.number(tags.NUMBER_OF_FRAMES, b"IS") or 1
    return frames > 1 and tags.IMAGE_ORIENTATION_PATIENT not in dataset
