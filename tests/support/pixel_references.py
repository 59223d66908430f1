"""Reference arrays of sample files: made by other decoders, or by the few lines here.

`compare` says how far decoded values are from the reference; native pixels are read here from bytes
and elements alone, without pydicom's decoders.
"""

import csv
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

FOLDER = Path(__file__).parents[1] / "samples" / "pixels"
_SIDE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What frame `frame` of a compressed file holds: a digest if it is exact, else some values."""

    path: str
    transfer_syntax: str
    frame: int
    shape: tuple[int, ...]
    digest: str
    values: np.ndarray | None
    made_by: str


@dataclass(frozen=True, slots=True)
class Difference:
    """0, 0 for equal values; of lossy codecs the largest and the mean difference in grey levels."""

    largest: float
    mean: float


@cache
def references() -> tuple[Reference, ...]:
    with np.load(FOLDER / "lossy.npz") as lossy:
        arrays = {name: lossy[name] for name in lossy.files}
    with (FOLDER / "references.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Reference(
                path=row["path"],
                transfer_syntax=row["transfer_syntax"],
                frame=int(row["frame"]),
                shape=tuple(int(n) for n in row["shape"].split("x")),
                digest=row["sha256"],
                values=arrays.get(f"{row['path']}#{row['frame']}"),
                made_by=row["reference"],
            )
            for row in csv.DictReader(file)
        )


def compare(values: np.ndarray, reference: Reference) -> Difference | None:
    """None: another shape, or values that should be equal are not."""
    if values.shape != reference.shape:
        return None
    if reference.values is None:
        found = np.ascontiguousarray(values.astype("<i8"))
        return Difference(0, 0) if sha256(found.tobytes()).hexdigest() == reference.digest else None
    step = -(-max(values.shape[:2]) // _SIDE)
    distance = np.abs(values[::step, ::step].astype(np.int64) - reference.values)
    return Difference(float(distance.max()), float(distance.mean()))


def native_values(path: Path, frame: int) -> np.ndarray:
    """A frame of native pixels as `decode_frame` promises it: grey, or RGB, palettes applied."""
    dataset = dcmread(path, force=True)
    stored = _stored(dataset, frame)
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        return with_palette(stored, dataset)
    return _rgb(stored) if photometric.startswith("YBR_FULL") else stored


def with_palette(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """PS3.3 C.7.6.3.1.5: what the three tables hold for each stored value."""
    n_entries, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    places = np.clip(stored.astype(np.int64) - first, 0, (n_entries or 65536) - 1)
    tables = [_palette(dataset, colour, n_entries or 65536) for colour in ("Red", "Green", "Blue")]
    return np.stack([table[places] for table in tables], -1)


def _words(dataset: Dataset) -> str:
    return ">u2" if dataset.original_encoding[1] is False else "<u2"


def _stored(dataset: Dataset, frame: int) -> np.ndarray:
    rows, columns = dataset.Rows, dataset.Columns
    samples = int(dataset.get("SamplesPerPixel", 1))
    keyword = next(
        k for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in dataset
    )
    data = dataset[keyword].value
    bits = (
        dataset.get("BitsAllocated") or {"FloatPixelData": 32, "DoubleFloatPixelData": 64}[keyword]
    )
    if bits == 1:
        n_pixels = rows * columns
        unpacked = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")
        return unpacked[frame * n_pixels : (frame + 1) * n_pixels].reshape(rows, columns)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        pairs = np.frombuffer(data, "u1").reshape(-1, 4)[frame * rows * columns // 2 :]
        pairs = pairs[: rows * columns // 2].reshape(rows, columns // 2, 4)
        luma, colour = pairs[..., :2].reshape(rows, columns), np.repeat(pairs[..., 2:], 2, axis=1)
        return np.concatenate((luma[..., None], colour), axis=-1)
    kind = "f" if keyword != "PixelData" else "iu"[1 - dataset.PixelRepresentation]
    order = _words(dataset)[0]
    if dataset[keyword].VR == "OW" and bits == 8 and order == ">":
        data = np.frombuffer(data, "<u2").byteswap().tobytes()  # two samples are a word
    values = np.frombuffer(data, f"{order}{kind}{bits // 8}", count=rows * columns * samples,
                           offset=frame * rows * columns * samples * bits // 8)  # fmt: skip
    if samples == 1:
        return _without_unused_bits(values.reshape(rows, columns), dataset, kind)
    if dataset.PlanarConfiguration == 1:
        return np.moveaxis(values.reshape(samples, rows, columns), 0, -1)
    return values.reshape(rows, columns, samples)


def _without_unused_bits(values: np.ndarray, dataset: Dataset, kind: str) -> np.ndarray:
    if kind == "f" or dataset.BitsStored == dataset.BitsAllocated:
        return values
    bits = dataset.BitsStored
    masked = values.astype(np.int64) & ((1 << bits) - 1)
    return (
        np.where(masked >= 1 << (bits - 1), masked - (1 << bits), masked) if kind == "i" else masked
    )


def _palette(dataset: Dataset, colour: str, n_entries: int) -> np.ndarray:
    segmented = f"Segmented{colour}PaletteColorLookupTableData"
    if segmented in dataset:
        return _expanded(np.frombuffer(dataset[segmented].value, _words(dataset)).tolist())
    data = dataset[f"{colour}PaletteColorLookupTableData"].value
    return np.frombuffer(data, _words(dataset) if len(data) >= 2 * n_entries else "u1")[:n_entries]


def _expanded(words: list[int]) -> np.ndarray:
    """PS3.3 C.7.9.2, without indirect segments: values as they are, and straight lines to one."""
    out: list[int] = []
    place = 0
    while place < len(words):
        kind, length = words[place : place + 2]
        if kind == 0:
            out += words[place + 2 : place + 2 + length]
            place += 2 + length
        else:
            assert kind == 1
            last, goal = out[-1], words[place + 2]
            out += [round(last + (goal - last) * n / length) for n in range(1, length + 1)]
            place += 3
    return np.array(out)


def _rgb(values: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2, YBR_FULL."""
    luma, blue, red = np.moveaxis(values.astype(np.float64), -1, 0)
    channels = (
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    )
    return np.clip(np.rint(np.stack(channels, -1)), 0, 255).astype(np.int64)
