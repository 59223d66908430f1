"""Generated DICOM files of an archive whose texts hardly repeat.

The worst case for an indexer that embeds each distinct text once: every department of every site
has its own habits, and all body parts, sequences, makers and thicknesses are as likely as any
other. In a real archive the common examinations are most of it (`made_up_series`).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from indexer_core.rules import load_rules

_ROOT = "2.25.4715"
_ORIENTATIONS = {
    "ax": [1, 0, 0, 0, 1, 0],
    "cor": [1, 0, 0, 0, 0, -1],
    "sag": [0, 1, 0, 0, 0, -1],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A modality: its share of the series, files of a series, and pixels of a file."""

    modality: str
    sop_class: str
    share: float
    files: int
    rows: int
    columns: int
    planes: bool = False
    colour: bool = False


KINDS = (
    Kind(
        modality="MR",
        sop_class="1.2.840.10008.5.1.4.1.1.4",
        share=0.45,
        files=12,
        rows=256,
        columns=256,
        planes=True,
    ),
    Kind(
        modality="CT",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        share=0.33,
        files=12,
        rows=512,
        columns=512,
        planes=True,
    ),
    Kind(
        modality="DX",
        sop_class="1.2.840.10008.5.1.4.1.1.1.1",
        share=0.1,
        files=1,
        rows=1024,
        columns=1024,
    ),
    Kind(
        modality="US",
        sop_class="1.2.840.10008.5.1.4.1.1.6.1",
        share=0.06,
        files=2,
        rows=480,
        columns=640,
        colour=True,
    ),
    Kind(
        modality="PT",
        sop_class="1.2.840.10008.5.1.4.1.1.128",
        share=0.06,
        files=12,
        rows=128,
        columns=128,
        planes=True,
    ),
)
FILES_PER_SERIES = sum(kind.share * kind.files for kind in KINDS)

_MR_SEQUENCES = (
    *("T1 se", "T2 tse", "FLAIR", "DWI", "ADC", "SWI", "PD fs", "STIR", "T2* gre", "TOF", "MPRAGE"),
    *(
        "T1 vibe",
        "perfusion",
        "DTI",
        "BOLD",
        "localizer",
        "haste",
        "trufi",
        "T1 tse dixon",
        "T2 fs",
    ),
)
_CT_KINDS = (
    *("helical", "soft tissue", "bone", "lung", "MPR", "MIP", "scout", "arterial", "venous"),
    *("delayed", "angio", "low dose", "HR", "recon"),
)
_MAKERS = (
    *("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems", "Canon Medical Systems"),
    *("FUJIFILM", "Hitachi Medical Corporation", "UIH", "Agfa", "Carestream", "Mindray"),
)
_CONTRAST = ("with contrast", "wo contrast", "", "post gad", "non con", "")
_SITES = ("routine", "trauma", "follow up", "staging", "protocol", "study", "limited", "survey")
_SIDES = ("left", "right", "", "")


def write_series(
    folder: Path, n_series: int, progress: Callable[[int], None], seed: int = 0
) -> int:
    """Write the files of `n_series` series below a folder, a hundred series in each; their number.

    The same files for the same seed; the first n series do not depend on how many there are.
    """
    parts = [str(part["term"]) for part in load_rules().parts.values()]
    n_files = 0
    for number in range(n_series):
        place = folder / f"{number // 100:05d}"
        place.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng((seed, number))
        for index, data in enumerate(_files(number, parts, random)):
            (place / f"{number:06d}-{index:03d}.dcm").write_bytes(data)
            n_files += 1
        progress(number + 1)
    return n_files


def _files(number: int, parts: list[str], random: np.random.Generator) -> list[bytes]:
    kind = KINDS[int(random.choice(len(KINDS), p=[kind.share for kind in KINDS]))]
    dataset = _described(kind, number, parts, random)
    pixels = _pixels(kind, random)
    files = []
    for index in range(kind.files):
        sop = f"{_ROOT}.{number}.{index + 1}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = sop
        dataset.InstanceNumber = index + 1
        if kind.planes:
            dataset.ImagePositionPatient = [0.0, 0.0, float(index)]
        # Every slice is another picture, at the price of one.
        dataset.PixelData = np.roll(pixels, 7 * index, axis=0).tobytes()
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


def _described(kind: Kind, number: int, parts: list[str], random: np.random.Generator) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind.sop_class
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = kind.sop_class
    dataset.StudyInstanceUID = f"{_ROOT}.8.{number}"
    dataset.SeriesInstanceUID = f"{_ROOT}.9.{number}"
    dataset.PatientID = f"made-up-{number}"
    dataset.Modality = kind.modality
    for keyword, value in _attributes(kind, parts, random).items():
        setattr(dataset, keyword, value)
    dataset.Rows, dataset.Columns = kind.rows, kind.columns
    dataset.SamplesPerPixel = 3 if kind.colour else 1
    dataset.PhotometricInterpretation = "RGB" if kind.colour else "MONOCHROME2"
    if kind.colour:
        dataset.PlanarConfiguration = 0
    bits = 8 if kind.colour else 16
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    if kind.modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.RescaleType = "HU"
    return dataset


def _attributes(kind: Kind, parts: list[str], random: np.random.Generator) -> dict[str, object]:
    def one(words: tuple[str, ...] | list[str]) -> str:
        return words[int(random.integers(len(words)))]

    part, plane = f"{one(_SIDES)} {one(parts)}".strip(), one(list(_ORIENTATIONS))
    how = {"MR": _MR_SEQUENCES, "CT": _CT_KINDS}.get(kind.modality, ("AP", "LAT", "oblique"))
    thickness = round(0.5 + 0.1 * int(random.integers(0, 76)), 1)
    words = [plane if kind.planes else "", one(how), part, one(_CONTRAST)]
    words += [f"{thickness:g}mm"] if kind.planes else []
    found: dict[str, object] = {
        "StudyDescription": f"{kind.modality} {part} {one(_SITES)}",
        "SeriesDescription": " ".join(word for word in words if word),
        "Manufacturer": one(_MAKERS),
        "PatientSex": one(("F", "M", "O")),
        "PatientAge": f"{int(random.integers(0, 95)):03d}Y",
        "StudyDate": f"20{int(random.integers(10, 26))}0{int(random.integers(1, 10))}15",
    }
    if kind.planes:
        found["ImageOrientationPatient"] = _ORIENTATIONS[plane]
        found["SliceThickness"] = thickness
    if kind.modality == "MR":
        found["MagneticFieldStrength"] = float(one(("0.55", "1.5", "3", "7")))
    return found


def _pixels(kind: Kind, random: np.random.Generator) -> NDArray[np.generic]:
    """A bright ellipse with structure on a dark ground, and noise."""
    rows = np.linspace(-1, 1, kind.rows, dtype=np.float32)[:, np.newaxis]
    columns = np.linspace(-1, 1, kind.columns, dtype=np.float32)
    tall, wide = random.uniform(0.4, 0.95, 2)
    inside = (rows / tall) ** 2 + (columns / wide) ** 2 < 1
    waves = np.sin(rows * random.uniform(3, 20)) * np.cos(columns * random.uniform(3, 20))
    noise = random.random((kind.rows, kind.columns), dtype=np.float32)
    grey = inside * (0.5 + 0.3 * waves) + 0.1 * noise
    if kind.colour:
        return np.repeat((grey * 250).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    return (grey * 2000).astype("<u2")
