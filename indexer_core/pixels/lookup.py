"""Lookup tables of a header: modality and VOI LUT (DICOM PS3.3 C.11.1.1 and C.11.2.1.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Output by input value; inputs outside of the table get its first or last output.

    Parameters
    ----------
    first
        Input value of the first entry.
    outputs : ndarray of float32, shape (n,), n >= 1, read-only
    """

    first: int
    outputs: NDArray[np.float32]

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of values, which are rounded to whole numbers; same shape."""
        places = np.rint(values) - np.float32(self.first)
        np.clip(places, 0, len(self.outputs) - 1, out=places)
        return self.outputs[places.astype(np.intp)]

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest output: tables state more bits than they use."""
        return float(self.outputs.min()), float(self.outputs.max())


def lookup_table(dataset: Dataset, keyword: str) -> LookupTable | None:
    """The first table of a sequence such as ``VOILUTSequence``; None where none is usable."""
    try:
        item: Dataset = dataset[keyword].value[0]
        n_entries, first, _ = (int(value) for value in item["LUTDescriptor"].value)
        _, is_little_endian = dataset.original_encoding
        outputs = _outputs(
            item, n_entries or 1 << 16, ">u2" if is_little_endian is False else "<u2"
        )
    except Exception:  # noqa: BLE001 - absent or damaged: a table only improves the looks
        return None
    if outputs.size == 0:
        return None
    if dataset.get("PixelRepresentation") == 1 and first >= 1 << 15:
        first -= 1 << 16  # the first input is as signed as the pixels, whatever its VR says
    outputs.flags.writeable = False
    return LookupTable(first, outputs)


def _outputs(item: Dataset, n_entries: int, words: str) -> NDArray[np.float32]:
    data = item["LUTData"].value
    if isinstance(data, bytes):
        found = np.frombuffer(data, "u1" if len(data) < 2 * n_entries else words)
    else:
        found = np.asarray(data)
    return np.ascontiguousarray(found[:n_entries], dtype=np.float32)
