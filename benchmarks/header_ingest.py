"""Header ingest against pydicom: the same files, the same values, in the same run.

Both sides get bytes held in memory, so that what is compared is parsing. The peer is a plain
`dcmread` of the object, told to stop before pixels, followed by reading the attributes that the
allow-list names; it neither scrubs nor derives anything. Prints one line per number.

Run: ``python benchmarks/header_ingest.py [FOLDER]``.
"""

import io
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pydicom
from pydicom.errors import InvalidDicomError

from indexer_core.facts import InstanceFacts
from indexer_core.header import Rejected, read_header
from indexer_core.headers.tags import ATTRIBUTES

ROUNDS = 5
NOT_OBJECTS = ("MANIFEST.csv", "LICENSES.md", "README.md")
# CR, DX, MG, CT, US, MR, SC, NM, PT, XA, RF: one frame description in the main data set.
CLASSIC = {
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in (
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "2", "3.1", "4", "6", "6.1", "7"),
        *("12.1", "12.2", "20", "128"),
    )
}
KEYWORDS = [attribute.keyword for attribute in ATTRIBUTES if not attribute.inner] + [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *("StudyDate", "PatientAge", "PatientBirthDate", "ImageOrientationPatient"),
    "ImagePositionPatient",
]


@dataclass
class CountingSource:
    """Bytes in memory that count what is asked of them."""

    data: bytes
    requests: int = 0
    bytes_read: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self.requests += 1
        part = self.data[offset : offset + length]
        self.bytes_read += len(part)
        return part


def _ours(data: bytes) -> InstanceFacts | Rejected:
    return read_header(CountingSource(data), b"benchmark")


def _peer(data: bytes) -> list[object]:
    dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    return [dataset.get(keyword) for keyword in KEYWORDS]


def _peer_can_read(data: bytes) -> bool:
    try:
        _peer(data)
    except (InvalidDicomError, OSError, ValueError, NotImplementedError, KeyError, AttributeError):
        return False
    return True


def _seconds(read: Callable[[bytes], object], objects: list[bytes]) -> float:
    """Of the processor: what is read lies in memory, so other programs change nothing."""
    start = time.thread_time()
    for data in objects:
        read(data)
    return time.thread_time() - start


def _calls(read: Callable[[bytes], object], objects: list[bytes]) -> int:
    """Calls of functions, of Python's and of C's, that reading takes."""
    n_calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for data in objects:
            read(data)
    finally:
        sys.setprofile(before)
    return n_calls


def run(samples: Path) -> dict[str, float | int | str]:
    """Measure over every file below a folder; times are medians of five interleaved rounds."""
    warnings.simplefilter("ignore")
    paths = [path for path in sorted(samples.rglob("*")) if path.is_file()]
    objects = [path.read_bytes() for path in paths if path.name not in NOT_OBJECTS]
    comparable = [data for data in objects if _peer_can_read(data)]
    ours, peer = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(_ours, comparable))
        peer.append(_seconds(_peer, comparable))
    sources = [CountingSource(data) for data in objects]
    outcomes = [read_header(source, b"benchmark") for source in sources]
    classic = [
        source
        for source, outcome in zip(sources, outcomes, strict=True)
        if isinstance(outcome, InstanceFacts) and outcome.sop_class_uid in CLASSIC
    ]
    one_request = sum(source.requests == 1 for source in classic)
    per_file = 1000 / len(comparable)
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "files": len(objects),
        "rejected": sum(isinstance(outcome, Rejected) for outcome in outcomes),
        "files_compared": len(comparable),
        "ms_per_file": round(statistics.median(ours) * per_file, 3),
        "pydicom_ms_per_file": round(statistics.median(peer) * per_file, 3),
        "times_pydicom": round(statistics.median(map(_ratio, ours, peer)), 2),
        "calls_of_pydicom": round(_calls(_peer, comparable) / _calls(_ours, comparable), 2),
        "bytes_per_file": round(statistics.mean(source.bytes_read for source in sources)),
        "requests_per_file": round(statistics.mean(source.requests for source in sources), 3),
        "most_requests": max(source.requests for source in sources),
        "classic_files": len(classic),
        "classic_in_one_request": round(one_request / len(classic), 4),
    }


def _ratio(ours: float, peer: float) -> float:
    """How many times faster than the peer."""
    return peer / ours


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "shared" / "data" / "dicom"
    print(json.dumps(run(Path(sys.argv[1]) if len(sys.argv) > 1 else default), indent=1))
