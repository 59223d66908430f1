"""What is kept of headers: instance facts, and the series facts aggregated from them.

Series facts also hold what pixel models found, since a pixel is not read again to describe anew.

Only what an allow-list admits gets in here, free text already scrubbed of the names and ids that
occur in the same header (`indexer_core.privacy`). Series facts are stored in the index row, so
that new rules and templates can be applied without reading a blob again (`reprocess`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from indexer_core.errors import CorruptIndexError

FACTS_FORMAT = 2
"""2 is written only where there are findings, so that older programs read all the others."""

_WITHOUT_FINDINGS = 1

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """One DICOM object as its header describes it.

    Parameters
    ----------
    sop_instance_uid, series_instance_uid, study_instance_uid, sop_class_uid, transfer_syntax_uid
        Identifiers; the first three are derived where the header lacks them (flag ``derivedUid``).
    patient_key
        Keyed hash of issuer and patient id, empty when the header has no patient id.
    frames
        Number of frames, 1 for a single-frame image, 0 without pixels.
    has_pixels
        A picture whose pixel data the header announces (its element was met and is not empty, or
        Rows and Columns are there where the read ended before it); nothing of it is read.
    attributes
        Allow-listed header values by DICOM keyword (functional groups flattened into the same
        keywords; the orientation of every distinct frame group under ``ImageOrientationPatient``).
        Numbers are int or float, codes are strings ``"<value>|<scheme>|<meaning>"``, several
        values are tuples. Derived, beside DICOM's keywords: ``AgeYears`` (90 stands for all above
        89), ``FramesPerOrientation`` (in the order of the orientations, where there is more than
        one frame), ``FrameGaps``.
    position_mm
        Position along the slice normal, or None.
    flags
        What was odd (``derivedUid``, ``noPreamble``, ``burnedInRisk``, ``truncatedHeader``, ...).
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    patient_key: str
    frames: int
    has_pixels: bool
    attributes: dict[str, Value]
    position_mm: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a pixel model says of one field of a series.

    Parameters
    ----------
    field
        ``bodyRegion`` or ``plane``.
    value
        In the vocabulary of the field, ``unknown`` where the model abstained.
    confidence
        Of the best value, in [0, 1], also of one that was too weak to be given.
    source
        ``model:<name>``.
    scores
        The best values with their share in [0, 1], best first, over all slices.
    n_slices, n_agreeing
        Slices that were looked at, and those whose own best value is the first of `scores`.
    labels
        Digest of the label set that was asked.
    """

    field: str
    value: str
    confidence: float
    source: str
    scores: tuple[tuple[str, float], ...]
    n_slices: int
    n_agreeing: int
    labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """A series as its headers describe it: value sets, nothing averaged away.

    Parameters
    ----------
    instances, frames
        Counts over the instances used (a SOP Instance UID that occurs in two blobs counts once).
    attributes
        DICOM keyword -> distinct values with the number of instances that have each, most frequent
        first (ties: by value), at most 16 values; ``SOPClassUID`` and ``TransferSyntaxUID`` are
        among them, what differs in each instance by nature (``InstanceNumber``) is not.
    planes
        Plane name (axial, coronal, sagittal, oblique) -> number of frames or instances,
        from ImageOrientationPatient and the functional groups.
    patient_keys
        Distinct keyed hashes (more than one is a conflict).
    n_slice_gaps
        Places where the spacing between sorted positions exceeds 1.5 times its median, plus gaps
        in the instance numbers when there are no positions.
    flags
        Flags of the series, sorted.
    findings
        What pixel models say of it; no part of the headers.
    """

    scope: str
    series_instance_uid: str
    study_instance_uid: str
    instances: int
    frames: int
    has_pixels: bool
    attributes: dict[str, tuple[tuple[Value, int], ...]]
    planes: dict[str, int] = field(default_factory=dict)
    patient_keys: tuple[str, ...] = ()
    n_slice_gaps: int = 0
    flags: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def to_json(facts: InstanceFacts | SeriesFacts) -> dict[str, Any]:
    """Plain JSON value with ``format_version``.

    The inverses are `instance_from_json` and `series_from_json`.
    """
    values = asdict(facts)
    if not values.get("findings"):
        values.pop("findings", None)
        return {"format_version": _WITHOUT_FINDINGS, **values}
    return {"format_version": FACTS_FORMAT, **values}


def instance_from_json(document: Mapping[str, Any]) -> InstanceFacts:
    """Instance facts from what `to_json` made of them, JSON's lists turned back into tuples.

    Raises
    ------
    CorruptIndexError
        The document is of a newer format, or is not one of instance facts.
    """
    values = _fields(document, InstanceFacts)
    values["attributes"] = {name: _value(value) for name, value in values["attributes"].items()}
    values["flags"] = tuple(values["flags"])
    return InstanceFacts(**values)


def series_from_json(document: Mapping[str, Any]) -> SeriesFacts:
    """Series facts from what `to_json` made of them, JSON's lists turned back into tuples.

    Raises
    ------
    CorruptIndexError
        The document is of a newer format, or is not one of series facts.
    """
    values = _fields(document, SeriesFacts)
    values["attributes"] = {
        name: tuple((_value(value), count) for value, count in counted)
        for name, counted in values["attributes"].items()
    }
    values["patient_keys"] = tuple(values["patient_keys"])
    values["flags"] = tuple(values["flags"])
    values["findings"] = tuple(_finding(stored) for stored in values["findings"])
    return SeriesFacts(**values)


def _finding(stored: Mapping[str, Any]) -> Finding:
    scores = tuple((str(value), float(share)) for value, share in stored["scores"])
    return Finding(**{**stored, "scores": scores})


def _fields(document: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The document without its version, once version and field names are known to be right."""
    if document.get("format_version") not in range(1, FACTS_FORMAT + 1):
        raise CorruptIndexError("header facts of an unknown format version")
    values = {name: value for name, value in document.items() if name != "format_version"}
    if kind is SeriesFacts and document["format_version"] == _WITHOUT_FINDINGS:
        values.setdefault("findings", ())
    if values.keys() != {entry.name for entry in fields(kind)}:
        raise CorruptIndexError(f"not a stored {kind.__name__}")
    return values


def _value(value: Any) -> Value:
    return tuple(value) if isinstance(value, list | tuple) else value
