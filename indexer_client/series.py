"""What the service says of a series."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where a classified field comes from: the header, a model, both; confidence from 0 to 1."""

    value: Any
    source: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a series was found.

    similarity: cosine of question and `text`, the best of its texts, which `template` made; None
    where nothing was compared. words: of the question, those that its texts hold. filters: met.
    """

    similarity: float | None
    words: tuple[str, ...]
    template: str | None
    text: str | None
    filters: tuple[str, ...]
    evidence: Mapping[str, Evidence]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series record; None and "unknown" mean that the headers do not tell.

    score: what it is ranked by; None where nothing was. raw: all that the service says, by the
    names of its JSON.
    """

    key: str
    scope: str
    uid: str
    study_uid: str
    modality: str
    body_region: str
    body_part: str | None
    plane: str
    sequence: tuple[str, ...]
    contrast: str
    instances: int
    frames: int
    has_pixels: bool
    slice_thickness_mm: float | None
    field_strength_t: float | None
    manufacturer: str | None
    model: str | None
    age_years: float | None
    sex: str | None
    study_date: str | None
    patient_key: str | None
    descriptions: tuple[str, ...]
    flags: tuple[str, ...]
    x: float | None
    y: float | None
    score: float | None
    why: Why | None
    raw: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Series":
        """Read a record of an answer."""
        part = value.get("bodyPart")
        return cls(
            key=value["seriesKey"],
            scope=value["scope"],
            uid=value["seriesInstanceUid"],
            study_uid=value["studyInstanceUid"],
            modality=value["modality"],
            body_region=value["bodyRegion"],
            body_part=part.get("term") if isinstance(part, Mapping) else part,
            plane=value["plane"],
            sequence=tuple(value["sequence"]),
            contrast=value["contrast"],
            instances=value["instances"],
            frames=value["frames"],
            has_pixels=value["hasPixels"],
            slice_thickness_mm=value["sliceThicknessMm"],
            field_strength_t=value["fieldStrengthT"],
            manufacturer=value["manufacturer"],
            model=value["model"],
            age_years=value["ageYears"],
            sex=value["sex"],
            study_date=value["studyDate"],
            patient_key=value["patientKey"],
            descriptions=tuple(value["descriptions"]),
            flags=tuple(value["flags"]),
            x=value["x"],
            y=value["y"],
            score=value.get("score"),
            why=_why(value["why"]) if "why" in value else None,
            raw=value,
        )


def _why(value: Mapping[str, Any]) -> Why:
    evidence = {
        field: Evidence(
            value=found["value"], source=found["source"], confidence=found["confidence"]
        )
        for field, found in value.get("evidence", {}).items()
    }
    return Why(
        similarity=value.get("similarity"),
        words=tuple(value.get("words", ())),
        template=value.get("template"),
        text=value.get("text"),
        filters=tuple(value.get("filters", ())),
        evidence=evidence,
        flags=tuple(value.get("flags", ())),
    )
