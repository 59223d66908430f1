"""Series of every kind that the homes of an index are to tell apart."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support.segments import IMAGE_DIMENSION, TEXT_DIMENSION, unit_vectors

RESTRICTED = "south"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A series.

    look: what its vectors follow from; series of one look have the same. n_images: image vectors.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    look: str
    n_images: int = 1
    is_provisional: bool = False

    @property
    def texts(self) -> np.ndarray:
        """Its text vectors as the index keeps them: float32 (5, dimension)."""
        return _kept(unit_vectors(f"text {self.look}", 5, TEXT_DIMENSION))

    @property
    def images(self) -> np.ndarray:
        """Its image vectors likewise."""
        return _kept(unit_vectors(f"image {self.look}", self.n_images, IMAGE_DIMENSION))


def _kept(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float16).astype(np.float32)


def _record(chance: random.Random) -> dict[str, Any]:
    return {
        "scope": chance.choice(["north", "North", RESTRICTED]),
        "studyInstanceUid": chance.choice(["1.1", "1.2", "1.3", ""]),
        "patientKey": chance.choice(["p1", "p2", "P2", None]),
        "modality": chance.choice(["MR", "mr", "CT", "US", None, ""]),
        "plane": chance.choice(["axial", "coronal", "unknown", None]),
        "model": chance.choice(["Gyro_scan 5%", "gyroscan", "Discovery", "unknown"]),
        "bodyPart": chance.choice([{"term": "Knee"}, {"term": "skull"}, None]),
        "sequence": chance.sample(["T1", "t1", "FLAIR"], chance.randint(0, 2)),
        "flags": chance.choice([[], ["sliceGap"], ["burnedInRisk", "sliceGap"]]),
        "hasPixels": chance.choice([True, False]),
        "ageYears": chance.choice([None, 30.0, 41.0, 60.0, 75.5]),
        "instances": chance.choice([1, 2, 3, 200]),
        "studyDate": chance.choice([None, "2018-03-01", "2019-05-17", "2019-12-31", "2020-01-01"]),
    }


def some_series() -> dict[str, Made]:
    """Series of every kind, and forty that look the same."""
    chance = random.Random(3)
    plain = {
        f"{number:02x}" * 32: Made(
            record=_record(chance),
            look=f"look{number} {chance.choice(['brain', 'knee', 'spine'])}",
            n_images=chance.choice([0, 1, 1, 2]),
            is_provisional=chance.random() < 0.2,
        )
        for number in range(70)
    }
    twins = {f"twin{number:03}": Made(record={"sex": "F"}, look="twin") for number in range(40)}
    return {**plain, **twins}


SERIES = some_series()
KEYS = sorted(SERIES)
PROVISIONAL = {key for key, made in SERIES.items() if made.is_provisional and made.n_images}


def known(key: str, field: str) -> Any:
    """What a series says of a field; None where it is unknown."""
    value = SERIES[key].record.get(field)
    if field == "flags":
        return [*(value or ()), *(["provisional"] if key in PROVISIONAL else [])]
    value = value["term"] if field == "bodyPart" and value else value
    return None if value in (None, "", "unknown", []) else value


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Keys, the highest score first, equal ones by key."""
    return sorted(scores, key=lambda key: (-scores[key], key))


def nearest(keys: Iterable[str], query: np.ndarray, space: str = "texts") -> dict[str, float]:
    """Keys by their best vector, as float32 scores."""
    found = {}
    for key in keys:
        vectors = getattr(SERIES[key], space).astype(np.float64)
        if len(vectors):
            found[key] = float(np.float32(np.max(np.sum(vectors * query, axis=1))))
    return found
