"""Writes the table of decoders in docs/pixels.md: every compressed sample file, by every codec.

Run: ``python docs/decoding_table.py FOLDER`` with the folder of sample files (default: as the tests).
What is decoded is compared with reference arrays (tests/samples/pixels/README.md).
"""

import csv
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer_core.pixels.decode import PixelObject, decode_frame, open_pixels  # noqa: E402
from indexer_core.pixels.errors import PixelError, PixelProblem  # noqa: E402
from tests.support.pixel_references import (  # noqa: E402
    Reference,
    compare,
    native_values,
    references,
)

PAGE = Path(__file__).parent / "pixels.md"
BEGIN = "<!-- written by docs/decoding_table.py -->\n"
END = "<!-- end of what docs/decoding_table.py writes -->\n"
DEFAULT_FOLDER = ROOT.parent / "shared" / "data" / "dicom"

OWN = "built in"
CODECS = (OWN, "pylibjpeg", "gdcm", "pillow")
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
          "1.2.840.10008.1.2.1.99", "")  # fmt: skip
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
# Lossy decoders round differently; these are the largest differences from the reference.
TOLERANCE = {
    "1.2.840.10008.1.2.4.50": 3,
    "1.2.840.10008.1.2.4.51": 2,
    "1.2.840.10008.1.2.4.91": 1,
    "1.2.840.10008.1.2.4.203": 1,
}
NAMES = {
    "": "none stated",
    DEFLATED_FRAME: "Deflated Image Frame Compression",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
# pydicom's name for what is built in: its own, and ours behind it.
PLUGINS = {OWN: "pydicom"}

WHY = {
    "MR_truncated.dcm": "the file ends in its pixels",
    "badVR.dcm": "BitsAllocated and others are no numbers",
    "JPEG-lossy.dcm": "12-bit JPEG whose scan pylibjpeg, gdcm and Pillow all refuse; libjpeg-turbo reads it",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its codestream claims 4,278,181,344 columns",
}


@dataclass
class Row:
    """One transfer syntax: files with pixels, and how many each codec decodes rightly."""

    syntax: str
    n_files: int = 0
    right: dict[str, int] = field(default_factory=dict)
    largest: float = 0.0
    references: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Undecoded:
    """A file with pixels of which a checked frame is not decoded, or decoded to something else."""

    path: str
    problem: str


def samples(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and transfer syntax of every sample file."""
    with (folder / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["path"], row["transfer_syntax"]


def tried(folder: Path) -> tuple[list[Row], list[Undecoded]]:
    """Every sample file with pixels, by every codec."""
    rows: dict[str, Row] = {}
    undecoded = []
    expected: dict[str, list[Reference]] = {}
    for reference in references():
        expected.setdefault(reference.path, []).append(reference)
    for path, syntax in samples(folder):
        try:
            source = open_pixels((folder / path).read_bytes())
        except PixelError as error:
            if error.problem is not PixelProblem.NO_PIXELS:
                row = rows.setdefault(syntax, Row(syntax))
                row.n_files += 1
                undecoded.append(Undecoded(path, error.problem.value))
            continue
        row = rows.setdefault(syntax, Row(syntax))
        row.n_files += 1
        if syntax in NATIVE:
            problem = _try_native(source, folder / path, row)
        elif syntax == DEFLATED_FRAME:
            problem = _try_twin(source, folder / path, row)
        else:
            problem = _try_codecs(source, expected.get(path, []), row)
        if problem:
            undecoded.append(Undecoded(path, problem))
    return sorted(rows.values(), key=lambda row: row.syntax.split(".")), undecoded


def _frames(source: PixelObject) -> set[int]:
    return {0, source.frames - 1}


def _try_native(source: PixelObject, path: Path, row: Row) -> str:
    row.references.add("numpy, from the bytes")
    try:
        for frame in _frames(source):
            values = decode_frame(source, frame).values
            expected = native_values(path, frame)
            if values.shape != expected.shape or not (values == expected).all():
                return "other values than the reference"
    except PixelError as error:
        return error.problem.value
    row.right[OWN] = row.right.get(OWN, 0) + 1
    return ""


def _try_twin(source: PixelObject, path: Path, row: Row) -> str:
    row.references.add("native twin")
    twin = open_pixels(path.with_name(path.name.replace("_deflate", "")).read_bytes())
    for frame in _frames(source):
        if not (decode_frame(source, frame).values == decode_frame(twin, frame).values).all():
            return "other values than the reference"
    row.right[OWN] = row.right.get(OWN, 0) + 1
    return ""


def _try_codecs(source: PixelObject, expected: list[Reference], row: Row) -> str:
    """Each codec apart; then as the program does it."""
    for codec in CODECS:
        if expected and not _problem(source, expected, row, PLUGINS.get(codec, codec)):
            row.right[codec] = row.right.get(codec, 0) + 1
    row.references |= {_short(reference.made_by) for reference in expected}
    if not expected:
        return _damage(source)
    return _problem(source, expected, row, "")


def _damage(source: PixelObject) -> str:
    """Why a file that no other decoder reads is not decoded here either."""
    try:
        decode_frame(source, 0)
    except PixelError as error:
        return error.problem.value
    return "decoded, and nothing to compare it with"


def _problem(source: PixelObject, expected: list[Reference], row: Row, codec: str) -> str:
    for reference in expected:
        try:
            values = decode_frame(source, reference.frame, codec).values
        except PixelError as error:
            return error.problem.value
        difference = compare(values, reference)
        if difference is None or difference.largest > TOLERANCE.get(row.syntax, 0):
            return "other values than the reference"
        row.largest = max(row.largest, difference.largest)
    return ""


def _short(made_by: str) -> str:
    return made_by.partition(" (")[0].replace("PackBits in this script", "a decoder of its own")


def page_part(rows: list[Row], undecoded: list[Undecoded]) -> str:
    """The table and the list, in Markdown."""
    lines = [
        f"| transfer syntax | files | {' | '.join(CODECS)} | equal to | made by |",
        f"| --- | --- | {' | '.join('---' for _ in CODECS)} | --- | --- |",
    ]
    for row in rows:
        name = NAMES.get(row.syntax) or UID(row.syntax).name
        counts = [str(row.right.get(codec, "")) for codec in CODECS]
        equal = f"within {row.largest:.0f} of" if row.largest else "exactly"
        made_by = ", ".join(sorted(row.references)) or "nothing"
        lines.append(f"| {name} | {row.n_files} | {' | '.join(counts)} | {equal} | {made_by} |")
    lines += ["", "Not decoded:", ""]
    for found in sorted(undecoded, key=lambda one: Path(one.path).name):
        name = Path(found.path).name
        lines.append(f"- `{name}` (`{found.problem}`): {WHY.get(name, 'not known why')}")
    return "\n".join(lines) + "\n"


def renewed(page: str, part: str) -> str:
    """The page with the part between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def main() -> None:
    default = os.environ.get("DICOM_SAMPLES", str(DEFAULT_FOLDER))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    warnings.simplefilter("ignore")
    part = page_part(*tried(folder))
    print(part)
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), part), encoding="utf-8")


if __name__ == "__main__":
    main()
