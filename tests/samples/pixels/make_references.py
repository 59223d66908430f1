"""Writes reference arrays of compressed sample files, by decoders that the program does not use.

Run: ``python tests/samples/pixels/make_references.py FOLDER`` with the folder of sample files, in
an environment with av, imagecodecs, numpy and pydicom (for the header alone).
"""

import csv
import struct
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import av
import imagecodecs
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from tests.support.pixel_references import with_palette  # noqa: E402

LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91",
         "1.2.840.10008.1.2.4.203"}  # fmt: skip
COLUMNS = ("path", "transfer_syntax", "frame", "shape", "sha256", "reference")
SIDE = 128  # of a lossy file, every n-th row and column, so that about this many are left

FFMPEG = f"ffmpeg (av {version('av')})"
IMAGECODECS = f"imagecodecs {version('imagecodecs')}"


def _photometric(ds: Dataset) -> str:
    return str(ds.PhotometricInterpretation)


def ffmpeg(stream: bytes, codec: str) -> np.ndarray:
    context = av.CodecContext.create(codec, "r")
    [frame] = [*context.decode(av.Packet(stream)), *context.decode(None)]
    return frame.to_ndarray()


def jpeg(stream: bytes, ds: Dataset) -> tuple[np.ndarray, str]:
    # DICOM says what the components are; without that, libjpeg guesses from markers.
    spaces = {"colorspace": "RGB", "outcolorspace": "RGB"} if "RGB" in _photometric(ds) else {}
    return imagecodecs.jpeg8_decode(stream, **spaces), f"libjpeg-turbo ({IMAGECODECS})"


def jpeg_lossless(stream: bytes, _ds: Dataset) -> tuple[np.ndarray, str]:
    one, other = imagecodecs.jpegsof3_decode(stream), imagecodecs.ljpeg_decode(stream)
    assert np.array_equal(one, other)
    return one, f"jpegsof3 and liblj92 ({IMAGECODECS})"


def jpeg_ls(stream: bytes, ds: Dataset) -> tuple[np.ndarray, str]:
    found = imagecodecs.jpegls_decode(stream)
    charls = f"CharLS ({IMAGECODECS})"
    place = stream.index(b"\xff\xda")
    n_components = stream[place + 4]
    interleave = stream[place + 6 + 2 * n_components]
    if interleave == 2:  # by sample: ffmpeg leaves the image empty
        return found, charls
    values = ffmpeg(stream, "jpegls")
    bits = ds.BitsStored
    # ffmpeg fills the sample format from above when the precision is not that of the format.
    shift = values.dtype.itemsize * 8 - bits if values.max() > found.max() else 0
    assert np.array_equal(values >> shift, found)
    return found, f"{charls}, {FFMPEG}"


def jpeg_2000(stream: bytes, _ds: Dataset) -> tuple[np.ndarray, str]:
    place = stream.index(b"\xff\x4f\xff\x51")
    depth = stream[place + 42]
    bits, is_signed = (depth & 0x7F) + 1, depth >> 7
    values = ffmpeg(stream, "jpeg2000").astype(np.int64)
    # ffmpeg fills the sample format from above, signed values shifted by half their range.
    values >>= (8 if bits <= 8 else 16) - bits
    return values - is_signed * (1 << (bits - 1)), FFMPEG


def run_lengths(stream: bytes, ds: Dataset) -> tuple[np.ndarray, str]:
    """PS3.5 annex G: one segment for each byte of each sample, the most significant first."""
    n_segments, *offsets = struct.unpack_from("<16L", stream)
    bounds = [*offsets[:n_segments], len(stream)]
    n_pixels = ds.Rows * ds.Columns
    size = n_pixels if ds.BitsAllocated > 1 else (n_pixels + 7) // 8
    planes = [pack_bits(stream[start:end], size) for start, end in pairwise(bounds)]
    if ds.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(planes[0], "u1"), bitorder="little")[:n_pixels]
        return bits.reshape(ds.Rows, ds.Columns), "PackBits in this script"
    width = ds.BitsAllocated // 8
    joined = np.zeros((ds.SamplesPerPixel, n_pixels), dtype=np.uint64)
    for number, plane in enumerate(planes):
        sample, byte = divmod(number, width)
        joined[sample] |= np.frombuffer(plane, "u1").astype(np.uint64) << (8 * (width - 1 - byte))
    image = joined.T.reshape(ds.Rows, ds.Columns, ds.SamplesPerPixel)
    return (image if ds.SamplesPerPixel > 1 else image[..., 0]), "PackBits in this script"


def pack_bits(data: bytes, size: int) -> bytes:
    out, place = bytearray(), 0
    while len(out) < size:
        count = data[place]
        if count < 128:
            out += data[place + 1 : place + 2 + count]
            place += count + 2
        else:
            out += data[place + 1 : place + 2] * (257 - count if count > 128 else 0)
            place += 2 if count > 128 else 1
    return bytes(out[:size])


DECODERS: dict[str, Callable[[bytes, Dataset], tuple[np.ndarray, str]]] = {
    "1.2.840.10008.1.2.4.50": jpeg,
    "1.2.840.10008.1.2.4.51": jpeg,
    "1.2.840.10008.1.2.4.70": jpeg_lossless,
    "1.2.840.10008.1.2.4.80": jpeg_ls,
    "1.2.840.10008.1.2.4.81": jpeg_ls,
    "1.2.840.10008.1.2.4.90": jpeg_2000,
    "1.2.840.10008.1.2.4.91": jpeg_2000,
    "1.2.840.10008.1.2.4.201": jpeg_2000,
    "1.2.840.10008.1.2.4.203": jpeg_2000,
    "1.2.840.10008.1.2.5": run_lengths,
}


def canonical(values: np.ndarray, ds: Dataset) -> np.ndarray:
    """The stored values as numbers: the bits stored, signed as the header says."""
    bits = ds.BitsStored
    found = values.astype(np.int64) & ((1 << bits) - 1)
    if ds.PixelRepresentation == 1:
        found = np.where(found >= 1 << (bits - 1), found - (1 << bits), found)
    return np.ascontiguousarray(found)


def thinned(values: np.ndarray) -> np.ndarray:
    step = -(-max(values.shape[:2]) // SIDE)
    return values[::step, ::step]


def main() -> None:
    folder = Path(sys.argv[1])
    rows, lossy = [], {}
    for sample in csv.DictReader((folder / "MANIFEST.csv").open(encoding="utf-8")):
        syntax, path = sample["transfer_syntax"], sample["path"]
        if syntax not in DECODERS:
            continue
        ds = dcmread(folder / path, force=True)
        n_frames = int(ds.get("NumberOfFrames", 1) or 1)
        if "PixelData" not in ds:
            continue
        for frame in sorted({0, n_frames - 1}):
            try:
                stream = get_frame(ds.PixelData, frame, number_of_frames=n_frames)
                values, reference = DECODERS[syntax](stream, ds)
            except Exception as error:  # noqa: BLE001
                print(f"no reference: {path} frame {frame}: {type(error).__name__}: {error}")
                continue
            found = canonical(values, ds)
            if _photometric(ds) == "PALETTE COLOR":
                found = with_palette(found, ds)
            digest = sha256(found.astype("<i8").tobytes()).hexdigest()
            if syntax in LOSSY:
                digest = ""
                lossy[f"{path}#{frame}"] = thinned(found).astype(np.int32)
            shape = "x".join(map(str, found.shape))
            rows.append((path, syntax, frame, shape, digest, reference))
    with (HERE / "references.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    np.savez_compressed(HERE / "lossy.npz", **lossy)
    print(f"{len(rows)} references, {len(lossy)} of them arrays")


if __name__ == "__main__":
    main()
