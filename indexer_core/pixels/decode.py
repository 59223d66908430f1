"""One decoded frame of a DICOM object, within limits, with what is needed to show it.

The header's promises are checked before anything is allocated by them. Decoders are those that
pydicom finds (its own, pylibjpeg, python-gdcm) and those of `packed`. They may crash on hostile
data, so programs that read foreign files call this in a child process.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from indexer_core.pixels.codestream import announced_values
from indexer_core.pixels.errors import PixelError, PixelProblem
from indexer_core.pixels.packed import (
    DeflatedImageFrameCompression,
    inflated_frame,
    unpacked_bits,
)
from indexer_core.pixels.recipe import PixelLimits

DEFAULT_LIMITS = PixelLimits()
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS = frozenset(map(Tag, _PIXEL_KEYWORDS))
_NATIVE = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)
_PALETTES = tuple(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
_BUILT_IN = "pydicom"
_INFLATE_STEP = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelObject:
    """A parsed DICOM object whose announced frame size is within the limits.

    Parameters
    ----------
    frames
        Number of frames, at least 1.
    frame_bits
        Decoded size of one frame, in bits, as the header announces it.
    """

    dataset: Dataset
    transfer_syntax_uid: UID
    frames: int
    frame_bits: int
    limits: PixelLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A decoded frame as stored, before any rescaling.

    Parameters
    ----------
    values : ndarray, shape (rows, columns) or (rows, columns, 3)
        Stored values; colour is RGB, palettes applied.
    colour_maximum
        Largest value a colour sample can have; 0 for grey frames.
    """

    values: NDArray[Any]
    colour_maximum: int = 0


def open_pixels(data: bytes, limits: PixelLimits = DEFAULT_LIMITS) -> PixelObject:
    """Parse a whole DICOM object and check what it announces.

    Raises
    ------
    PixelError
        When it is no DICOM object, has no pixels, or announces more than the limits allow.
    """
    _refuse_deflate_bomb(data, limits)
    dataset = _parse(data, limits)
    if not any(keyword in dataset for keyword in _PIXEL_KEYWORDS):
        raise PixelError(PixelProblem.NO_PIXELS)
    frame_bits = _announced_frame_bits(dataset)
    if frame_bits > limits.max_frame_bytes * 8:
        raise PixelError(PixelProblem.TOO_LARGE)
    return PixelObject(
        dataset=dataset,
        transfer_syntax_uid=_transfer_syntax(dataset),
        frames=max(1, _count(dataset, "NumberOfFrames", default=1)),
        frame_bits=frame_bits,
        limits=limits,
    )


def decode_frame(source: PixelObject, frame: int, codec: str = "") -> Frame:
    """Decode one frame, and no other.

    Parameters
    ----------
    frame
        Frame number from 0.
    codec
        The only decoder to try, by pydicom's name for it (``gdcm``, ``pylibjpeg``, ...); those of
        `packed` count as ``pydicom``. By default all that are installed, until one succeeds.

    Raises
    ------
    PixelError
        When the frame does not exist, is incomplete or too large, or no decoder can read it.
    """
    if not 0 <= frame < source.frames:
        raise PixelError(PixelProblem.NO_SUCH_FRAME)
    if source.transfer_syntax_uid in _NATIVE:
        _refuse_truncated(source, frame)
        values, properties = _decode(source, frame)
    elif codec in {"", _BUILT_IN} and (unpack := _unpacker(source)) is not None:
        values, properties = _decode_native(source, unpack(_stream(source, frame), _size(source)))
    else:
        _refuse_codestream_bomb(source, frame)
        values, properties = _decode(source, frame, codec)
    return _as_grey_or_rgb(values, properties, source.dataset)


def _parse(data: bytes, limits: PixelLimits) -> Dataset:
    try:
        return read_partial(BytesIO(data), stop_when=_after_pixels(limits), force=True)
    except PixelError:
        raise
    except Exception as error:
        raise PixelError(PixelProblem.NOT_DICOM) from error


def _after_pixels(limits: PixelLimits) -> Callable[[BaseTag, str | None, int], bool]:
    """Stops behind the pixel data: padding there may be longer than the object."""
    n_elements, met = 0, False

    def stop(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal n_elements, met
        n_elements += 1
        if n_elements > limits.max_elements:
            raise PixelError(PixelProblem.TOO_LARGE)
        if met:
            return True
        met = tag in _PIXEL_TAGS
        return False

    return stop


def _refuse_deflate_bomb(data: bytes, limits: PixelLimits) -> None:
    """Find out the inflated size beforehand, since pydicom inflates a data set at once."""
    if DeflatedExplicitVRLittleEndian.encode() not in data[:1024] or data[128:132] != b"DICM":
        return
    # File Meta Information: its group length (0002,0000) is the first element, 12 bytes long.
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pending, n_bytes = data[start:], 0
    try:
        while pending and not inflater.eof:
            n_bytes += len(inflater.decompress(pending, _INFLATE_STEP))
            if n_bytes > limits.max_inflated_bytes:
                raise PixelError(PixelProblem.TOO_LARGE)
            pending = inflater.unconsumed_tail
    except zlib.error as error:
        raise PixelError(PixelProblem.NOT_DICOM) from error


def _announced_frame_bits(dataset: Dataset) -> int:
    rows, columns = _count(dataset, "Rows"), _count(dataset, "Columns")
    bits = _count(dataset, "BitsAllocated", default=_float_bits(dataset))
    if rows == 0 or columns == 0 or bits == 0:
        raise PixelError(PixelProblem.NO_PIXELS)
    samples = max(1, _count(dataset, "SamplesPerPixel", default=1))
    return rows * columns * samples * bits


def _float_bits(dataset: Dataset) -> int:
    if "FloatPixelData" in dataset:
        return 32
    return 64 if "DoubleFloatPixelData" in dataset else 0


def _count(dataset: Dataset, keyword: str, default: int = 0) -> int:
    try:
        value = dataset.get(keyword)
        return default if value is None else max(0, int(value))
    except Exception as error:
        raise PixelError(PixelProblem.UNDECODABLE) from error


def _transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax; one that is missing is inferred from how the data set was parsed."""
    meta = getattr(dataset, "file_meta", None)
    stated = meta.get("TransferSyntaxUID") if meta is not None else None
    if isinstance(stated, str) and stated:
        return UID(stated)
    implicit, little_endian = dataset.original_encoding
    inferred = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    if little_endian is False:
        inferred = ExplicitVRBigEndian
    if meta is not None:
        meta.TransferSyntaxUID = inferred
    return inferred


def _refuse_truncated(source: PixelObject, frame: int) -> None:
    # Frames of one-bit pixels follow each other without padding (PS3.5 8.1.1).
    needed_bits = source.frame_bits * (frame + 1)
    if source.dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        needed_bits = needed_bits * 2 // 3  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
    if len(_pixel_bytes(source.dataset)) * 8 < needed_bits:
        raise PixelError(PixelProblem.TRUNCATED)


def _pixel_bytes(dataset: Dataset) -> bytes:
    value = next(dataset[k].value for k in _PIXEL_KEYWORDS if k in dataset)
    return value if isinstance(value, bytes) else b""


def _refuse_codestream_bomb(source: PixelObject, frame: int) -> None:
    if source.transfer_syntax_uid == RLELossless:
        return  # its decoder takes the size from the header, which is checked
    values = announced_values(_stream(source, frame))
    bytes_per_value = max(1, _count(source.dataset, "BitsAllocated") // 8)
    if values is not None and values * bytes_per_value > source.limits.max_frame_bytes:
        raise PixelError(PixelProblem.TOO_LARGE)


def _stream(source: PixelObject, frame: int) -> bytes:
    """The compressed frame."""
    try:
        return get_frame(_pixel_bytes(source.dataset), frame, number_of_frames=source.frames)
    except Exception as error:
        raise PixelError(PixelProblem.TRUNCATED) from error


def _unpacker(source: PixelObject) -> Callable[[bytes, int], bytes] | None:
    if source.transfer_syntax_uid == DeflatedImageFrameCompression:
        return inflated_frame
    if source.transfer_syntax_uid == RLELossless and source.dataset.get("BitsAllocated") == 1:
        return unpacked_bits
    return None


def _size(source: PixelObject) -> int:
    """Bytes of one frame by itself; the last one of a frame of one-bit pixels may be part used."""
    return (source.frame_bits + 7) // 8


def _decode_native(source: PixelObject, frame: bytes) -> tuple[NDArray[Any], dict[str, Any]]:
    """Decode bytes that became native by themselves."""
    single = Dataset()
    single.update({e.tag: e for e in source.dataset.group_dataset(0x0028)})
    single.NumberOfFrames = 1
    single.add_new("PixelData", "OW", frame + b"\0" * (len(frame) % 2))
    try:
        values, properties = get_decoder(ExplicitVRLittleEndian).as_array(single, index=0)
    except Exception as error:
        raise PixelError(PixelProblem.UNDECODABLE) from error
    return values, dict(properties)


def _decode(
    source: PixelObject, frame: int, codec: str = ""
) -> tuple[NDArray[Any], dict[str, Any]]:
    try:
        decoder = get_decoder(source.transfer_syntax_uid)
    except NotImplementedError as error:
        raise PixelError(PixelProblem.NO_CODEC) from error
    if not decoder.is_available:
        raise PixelError(PixelProblem.NO_CODEC)
    # Native frames after this one may be missing, for which pydicom would refuse the whole object.
    # Encapsulated ones need the true number, by which fragments are shared out among frames.
    frames = frame + 1 if source.transfer_syntax_uid in _NATIVE else source.frames
    try:
        values, properties = decoder.as_array(
            source.dataset,
            index=frame,
            decoding_plugin=codec,
            number_of_frames=frames,  # type: ignore[arg-type] # pydicom 3.0 lacks the Unpack
        )
    except MemoryError as error:
        raise PixelError(PixelProblem.TOO_LARGE) from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # All of them: what panics in pylibjpeg-rle, which is made of Rust, is no Exception.
        raise PixelError(PixelProblem.UNDECODABLE) from error
    return values, dict(properties)


def _as_grey_or_rgb(values: NDArray[Any], properties: dict[str, Any], dataset: Dataset) -> Frame:
    photometric = str(properties.get("photometric_interpretation", ""))
    if photometric == "PALETTE COLOR":
        return _palette_frame(values, dataset)
    if values.ndim == 3:
        maximum = (1 << min(16, _count(dataset, "BitsStored", default=8) or 8)) - 1
        return Frame(values=values[..., :3], colour_maximum=maximum)
    if values.ndim != 2 or values.size == 0:
        raise PixelError(PixelProblem.UNDECODABLE)
    return Frame(values=values)


def _palette_frame(values: NDArray[Any], dataset: Dataset) -> Frame:
    try:
        coloured = apply_color_lut(values, _in_little_endian(dataset))
    except Exception as error:
        raise PixelError(PixelProblem.UNDECODABLE) from error
    return Frame(values=coloured[..., :3], colour_maximum=int(np.iinfo(coloured.dtype).max))


def _in_little_endian(dataset: Dataset) -> Dataset:
    """Palettes as pydicom 3.0 reads them: unless segmented, it takes them for little endian."""
    _, is_little_endian = dataset.original_encoding
    if is_little_endian is not False or _PALETTES[0] not in dataset:
        return dataset
    palettes = Dataset()
    palettes.update({element.tag: element for element in dataset.group_dataset(0x0028)})
    for keyword in _PALETTES:
        swapped = np.frombuffer(dataset[keyword].value, "<u2").byteswap().tobytes()
        palettes[keyword] = DataElement(Tag(keyword), "OW", swapped)
    return palettes
