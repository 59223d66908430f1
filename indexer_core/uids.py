"""Identifiers: DICOM UIDs, those derived where a header lacks them, and the keys of the index."""

import hashlib
import hmac
import json
import re
import uuid

# Part of the stored format: another value would rename every series without UIDs.
NAMESPACE = uuid.UUID("386c8579-fa02-5fe6-a04b-a727b4449732")

# DICOM PS3.5 section 9.1: components of digits without leading zeros, 64 characters at most.
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)
_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def valid_uid(text: str) -> bool:
    """Whether the text is a UID by DICOM PS3.5 section 9.1."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def usable_uid(text: str) -> bool:
    """Whether the text can serve as an identifier although it may not be a valid UID."""
    return _USABLE.fullmatch(text) is not None


def derived_uid(seed: bytes) -> str:
    """A UID that depends on nothing but the seed: ``2.25.`` and a UUID in decimal.

    The form is that of DICOM PS3.5 annex B.2; the UUID is of version 5 (RFC 9562), over the
    hexadecimal seed.
    """
    return f"2.25.{uuid.uuid5(NAMESPACE, seed.hex()).int}"


def series_key(scope: str, study_uid: str, series_uid: str) -> str:
    """Key of a series: sha256 (hexadecimal) of scope, Study and Series Instance UID."""
    return _digest(scope, study_uid, series_uid)


def instance_key(url: str) -> str:
    """Key of the row of a blob: sha256 (hexadecimal) of its URL."""
    return hashlib.sha256(url.encode()).hexdigest()


def patient_key(secret: bytes, issuer: str, patient_id: str) -> str:
    """Keyed hash (HMAC-SHA256, hexadecimal) of a patient's identity; empty without an id."""
    if not patient_id:
        return ""
    return hmac.new(secret, _unambiguous(issuer, patient_id), hashlib.sha256).hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256(_unambiguous(*parts)).hexdigest()


def _unambiguous(*parts: str) -> bytes:
    """Joined so that no two different lists of parts give the same bytes."""
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()
