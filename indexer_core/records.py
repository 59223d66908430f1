"""The series record of DESIGN §5a: what a row says of a series, and how it is exported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from indexer_core.facts import SeriesFacts
from indexer_core.phrases import age_years, clean_descriptions, field_strength_t, sex, thickness_mm
from indexer_core.rules.conditions import FactsView
from indexer_core.rules.model import BodyPart, Classification, Evidence, Vote

RECORD_FORMAT = 1
_DATE = re.compile(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})(?!\d)")
# Pictures that devices write names into; anything else only when the header says so.
_SCREEN_MODALITIES = ("US", "XC", "ES", "OT")
_SCREEN_CLASSES = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRecord:
    """What is known of a series; None and "" mean that the headers do not tell.

    age_years is 90 for anyone over 89; study_date is ISO 8601; texts are the five of the templates;
    x and y are map coordinates of `projection_version`.
    """

    series_key: str
    scope: str
    series_instance_uid: str
    study_instance_uid: str
    revision: int
    modality: str
    header_modality: str
    body_region: str
    body_part: BodyPart | None
    plane: str
    sequence: tuple[str, ...]
    contrast: str
    instances: int
    frames: int
    has_pixels: bool
    slice_thickness_mm: float | None
    field_strength_t: float | None
    manufacturer: str
    model: str
    age_years: float | None
    sex: str
    study_date: str
    patient_key: str
    descriptions: tuple[str, ...]
    texts: tuple[str, ...]
    flags: tuple[str, ...]
    evidence: dict[str, Evidence]
    x: float | None = None
    y: float | None = None
    projection_version: str = ""
    blobs: tuple[str, ...] = ()


def build_record(
    series_key: str,
    revision: int,
    facts: SeriesFacts,
    classification: Classification,
    texts: Sequence[str],
    *,
    xy: tuple[float, float] | None = None,
    projection_version: str = "",
    blobs: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> SeriesRecord:
    """The record of a series; `flags` are added to those of facts and classification."""
    view = FactsView(facts)
    x, y = xy if xy is not None else (None, None)
    return SeriesRecord(
        series_key=series_key,
        scope=facts.scope,
        series_instance_uid=facts.series_instance_uid,
        study_instance_uid=facts.study_instance_uid,
        revision=revision,
        modality=classification.modality,
        header_modality=classification.header_modality,
        body_region=classification.body_region,
        body_part=classification.body_part,
        plane=classification.plane,
        sequence=classification.sequence,
        contrast=classification.contrast,
        instances=facts.instances,
        frames=facts.frames,
        has_pixels=facts.has_pixels,
        slice_thickness_mm=thickness_mm(view),
        field_strength_t=field_strength_t(view),
        manufacturer=classification.manufacturer,
        model=view.text("ManufacturerModelName"),
        age_years=age_years(view),
        sex=sex(view),
        study_date=iso_date(view.text("StudyDate")),
        patient_key=facts.patient_keys[0] if facts.patient_keys else "",
        descriptions=clean_descriptions(view),
        texts=tuple(texts),
        flags=_flags(view, classification, flags),
        evidence={**classification.evidence, **_gaps(facts), **_findings(facts)},
        x=x,
        y=y,
        projection_version=projection_version,
        blobs=tuple(blobs),
    )


def _gaps(facts: SeriesFacts) -> dict[str, Evidence]:
    """How many slices the flag `sliceGap` is about, and by what they are missed."""
    if facts.n_slice_gaps <= 0:
        return {}
    source = "geometry" if facts.planes else "InstanceNumber"
    return {"sliceGap": Evidence(value=facts.n_slice_gaps, source=source, confidence=1.0)}


def _findings(facts: SeriesFacts) -> dict[str, Evidence]:
    """What pixel models found by themselves, where they abstained as well."""
    return {
        f"pixel{found.field[:1].upper()}{found.field[1:]}": Evidence(
            value=found.value,
            source=found.source,
            confidence=found.confidence,
            votes=tuple(
                Vote(found.field, value, found.source, share, f"labels {found.labels}")
                for value, share in found.scores
            ),
        )
        for found in facts.findings
    }


def iso_date(text: str) -> str:
    """``YYYY-MM-DD`` of a DICOM date, old separators allowed; "" when it is none."""
    match = _DATE.match(text.strip())
    if match is None:
        return ""
    year, month, day = match.groups()
    valid = 1 <= int(month) <= 12 and 1 <= int(day) <= 31
    return f"{year}-{month}-{day}" if valid else ""


def _flags(view: FactsView, said: Classification, more: Sequence[str]) -> tuple[str, ...]:
    annotated = view.components("BurnedInAnnotation")
    pictured = view.facts.has_pixels and (
        said.modality in _SCREEN_MODALITIES
        or any(
            uid.startswith(_SCREEN_CLASSES) and uid[len(_SCREEN_CLASSES) :][:1] in ("", ".")
            for uid, _ in view.texts("SOPClassUID")
        )
    )
    found = {*view.facts.flags, *said.flags, *more}
    if "YES" in annotated or (pictured and "NO" not in annotated):
        found.add("burnedInRisk")
    if len(view.facts.planes) > 1:
        found.add("mixedOrientation")
    if view.facts.n_slice_gaps > 0:
        found.add("sliceGap")
    return tuple(sorted(found))


def to_public_json(record: SeriesRecord, include_blobs: bool = False) -> dict[str, Any]:
    """The keys of DESIGN §5a in their order; unknown numbers and texts are null."""
    part = record.body_part
    public: dict[str, Any] = {
        "seriesKey": record.series_key,
        "scope": record.scope,
        "seriesInstanceUid": record.series_instance_uid,
        "studyInstanceUid": record.study_instance_uid,
        "revision": record.revision,
        "modality": record.modality,
        "headerModality": record.header_modality or None,
        "bodyRegion": record.body_region,
        "bodyPart": None if part is None else _public_part(part),
        "plane": record.plane,
        "sequence": list(record.sequence),
        "contrast": record.contrast,
        "instances": record.instances,
        "frames": record.frames,
        "hasPixels": record.has_pixels,
        "sliceThicknessMm": record.slice_thickness_mm,
        "fieldStrengthT": record.field_strength_t,
        "manufacturer": record.manufacturer or None,
        "model": record.model or None,
        "ageYears": record.age_years,
        "sex": record.sex or None,
        "studyDate": record.study_date or None,
        "patientKey": record.patient_key or None,
        "descriptions": list(record.descriptions),
        "texts": list(record.texts),
        "flags": list(record.flags),
        "evidence": {name: found.to_json() for name, found in record.evidence.items()},
        "x": record.x,
        "y": record.y,
        "projectionVersion": record.projection_version or None,
    }
    if include_blobs:
        public["blobs"] = list(record.blobs)
    return public


def _public_part(part: BodyPart) -> dict[str, str | None]:
    return {
        "term": part.term,
        "code": part.code or None,
        "scheme": part.scheme or None,
        "meaning": part.meaning or None,
    }


def record_to_dict(record: SeriesRecord) -> dict[str, Any]:
    """Plain values under stable snake_case names; the inverse of `record_from_dict`."""
    plain = {"format_version": RECORD_FORMAT, **asdict(record)}
    plain["evidence"] = {name: found.to_json() for name, found in record.evidence.items()}
    return plain


def record_from_dict(stored: Mapping[str, Any]) -> SeriesRecord:
    """The record that `record_to_dict` stored, also after a trip through JSON.

    Raises
    ------
    ValueError
        Stored by a newer version.
    """
    if stored["format_version"] > RECORD_FORMAT:
        raise ValueError("the record was stored by a newer version of dicom-indexer")
    values = {name: stored[name] for name in SeriesRecord.__dataclass_fields__}
    part = values["body_part"]
    values["body_part"] = None if part is None else BodyPart(**part)
    values["evidence"] = {
        name: _evidence_from_json(name, found) for name, found in values["evidence"].items()
    }
    for name in ("sequence", "descriptions", "texts", "flags", "blobs"):
        values[name] = tuple(values[name])
    return SeriesRecord(**values)


def _evidence_from_json(name: str, found: Mapping[str, Any]) -> Evidence:
    value = found["value"]
    return Evidence(
        value=tuple(value) if isinstance(value, list) else value,
        source=found["source"],
        confidence=found["confidence"],
        votes=tuple(
            Vote(name, vote["value"], vote["source"], vote["confidence"], vote["rule"])
            for vote in found["votes"]
        ),
    )
