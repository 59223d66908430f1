"""Cohorts as others read them: DICOM JSON (PS3.18 annex F), and lists of Series Instance UIDs."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from indexer_core.cohorts.model import Cohort
from indexer_core.uids import valid_uid

# PS3.5 section 6.2.
_CODE = re.compile(r"[A-Z0-9 _]{1,16}", re.ASCII)
_SEX = frozenset({"F", "M", "O"})
_LONG = 64


def dicom_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """The series-level attributes that a record tells, as one object of the DICOM JSON model.

    A value that its attribute could not hold is left out, and so is what only a model has seen:
    the modality is that of the header.
    """
    term = (record.get("bodyPart") or {}).get("term") or ""
    texts = {
        "00080020": ("DA", (record.get("studyDate") or "").replace("-", "")),
        "00080060": ("CS", _code(record.get("headerModality"))),
        "00080070": ("LO", _long(record.get("manufacturer"))),
        "00081090": ("LO", _long(record.get("model"))),
        "00100040": ("CS", record["sex"] if record.get("sex") in _SEX else ""),
        "00101010": ("AS", _age(record.get("ageYears"))),
        "00180015": ("CS", _code(term.upper())),
        "0020000D": ("UI", _uid(record.get("studyInstanceUid"))),
        "0020000E": ("UI", _uid(record.get("seriesInstanceUid"))),
    }
    numbers = {
        "00180050": ("DS", record.get("sliceThicknessMm")),
        "00180087": ("DS", record.get("fieldStrengthT")),
        "00201209": ("IS", record.get("instances")),
    }
    found = {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in texts.items() if value}
    found |= {
        tag: {"vr": vr, "Value": [value]}
        for tag, (vr, value) in numbers.items()
        if value is not None
    }
    return dict(sorted(found.items()))


def uid_manifest(cohort: Cohort, records: Iterable[Mapping[str, Any]]) -> str:
    """Series Instance UIDs, one a line and each once, below lines that say what they are.

    `cohort save --uids` reads it again.
    """
    named = [str(record["seriesInstanceUid"]) for record in records]
    created = datetime.fromtimestamp(cohort.created_s, UTC).isoformat(timespec="seconds")
    head = (
        f"cohort {cohort.title}, saved {created}",
        f"manifest {cohort.manifest}",
        f"digest sha256:{cohort.digest}",
        f"{len(set(named))} Series Instance UIDs; {left_out(cohort, len(named))}",
    )
    return uid_list(head, named)


def uid_list(head: Iterable[str], uids: Iterable[str]) -> str:
    """UIDs, one a line and each once, below lines that say what they are."""
    lines = (*(f"# {line}" for line in head), *sorted(set(uids)))
    return "".join(f"{line}\n" for line in lines)


def left_out(cohort: Cohort, n_shown: int) -> str:
    """What is said of the series that a cohort had when it was saved, and that are not shown."""
    n_hidden = max(0, len(cohort.members) - n_shown)
    return f"{n_hidden} left out as deleted now, {cohort.n_erased} as erased"


def parse_uids(text: str) -> list[str]:
    """Series Instance UIDs or series keys, one a line; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _code(value: str | None) -> str:
    text = (value or "").strip()
    return text if _CODE.fullmatch(text) else ""


def _long(value: str | None) -> str:
    text = (value or "").strip()
    return text if len(text) <= _LONG and "\\" not in text and text.isprintable() else ""


def _uid(value: str | None) -> str:
    return value if value and valid_uid(value) else ""


def _age(age_years: float | None) -> str:
    return "" if age_years is None else f"{int(age_years):03d}Y"
