"""Reads files of points as a page does, and holds a map that is kept up to date by them."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES = {"uint8": "u1", "uint16": "<u2", "float32": "<f4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsFile:
    """What a file says."""

    head: dict[str, Any]
    sections: dict[str, np.ndarray]

    @property
    def ids(self) -> list[str]:
        return short_keys(self.sections["ids"])

    @property
    def removed(self) -> list[str]:
        return short_keys(self.sections["removed"])

    def points(self) -> dict[str, tuple[Any, ...]]:
        """Place, flags and columns of each point, by its short key."""
        columns = {
            name: [None if code == 65_535 else values[code] for code in self._codes(name)]
            for name, values in self.head["columns"].items()
        }
        x, y, flags = (self.sections[name].tolist() for name in ("x", "y", "flags"))
        assert len(x) == len(y) == len(flags) == len(self.ids) == self.head["count"]
        assert len(set(self.ids)) == len(self.ids)
        return {
            key: (x[n], y[n], flags[n], *(columns[name][n] for name in sorted(columns)))
            for n, key in enumerate(self.ids)
        }

    def _codes(self, name: str) -> list[int]:
        codes = self.sections[f"column:{name}"].tolist()
        # No text is told that no point of the file has.
        used = set(codes) - {65_535}
        assert used == set(range(len(self.head["columns"][name])))
        return codes


def parse_points(data: bytes) -> PointsFile:
    """A file, every byte of which is accounted for."""
    magic, length = struct.unpack_from("<4sI", data)
    assert magic == b"DXP1"
    at = 8 + length
    assert at % 8 == 0
    head = json.loads(data[8:at])
    sections = {}
    for each in head["sections"]:
        kind = np.dtype(_TYPES[each["type"]])
        sections[each["name"]] = np.frombuffer(data, kind, each["length"], at)
        size = each["length"] * kind.itemsize
        assert set(data[at + size : at + size + -size % 8]) <= {0}
        at += size + -size % 8
    assert at == len(data)
    return PointsFile(head=head, sections=sections)


def short_keys(section: np.ndarray) -> list[str]:
    """Short keys of a section of bytes."""
    text = section.tobytes().hex()
    return [text[at : at + 16] for at in range(0, len(text), 16)]


class KeptMap:
    """What a page holds: the whole map once, and changes from then on."""

    def __init__(self) -> None:
        self.manifest: int | None = None
        self.points: dict[str, tuple[Any, ...]] = {}

    def take(self, file: PointsFile) -> None:
        """Bring it up to date."""
        if file.head["since"] is None:
            self.points = {}
        else:
            assert file.head["since"] == self.manifest
            for key in file.removed:
                self.points.pop(key, None)
        self.points.update(file.points())
        self.manifest = file.head["manifest"]
        assert len(self.points) == file.head["total"]
