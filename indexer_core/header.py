"""Header bytes to facts: what one DICOM object is, or why it is none.

`read_header` is total: whatever the bytes are, it gives `InstanceFacts` (with flags for what was
odd) or `Rejected` (with a reason). Only the source it reads from can raise.
"""

import enum
import hashlib
from dataclasses import dataclass

from indexer_core.facts import InstanceFacts, Value
from indexer_core.headers import objects, tags
from indexer_core.headers.attributes import bounded, put, read_attributes
from indexer_core.headers.elements import Encoding
from indexer_core.headers.frames import MAX_FRAMES, Frames, read_frames
from indexer_core.headers.prefix import BytesSource, Prefix, RangeSource, read_prefix
from indexer_core.privacy import identifiers_of
from indexer_core.uids import derived_uid, patient_key, usable_uid, valid_uid

__all__ = ["BytesSource", "RangeSource", "RejectReason", "Rejected", "read_header"]


class RejectReason(enum.StrEnum):
    """Why an object is not indexed; stable and append-only."""

    EMPTY_FILE = "emptyFile"
    NOT_DICOM = "notDicom"
    DIRECTORY = "dicomDirectory"
    TRUNCATED = "truncatedHeader"
    NO_IDENTITY = "noIdentity"


_SENTENCES = {
    RejectReason.EMPTY_FILE: "empty file",
    RejectReason.NOT_DICOM: "not a DICOM file",
    RejectReason.DIRECTORY: "DICOMDIR (a directory of files, not an object)",
    RejectReason.TRUNCATED: "header cut off before the identifying tags",
    RejectReason.NO_IDENTITY: "holds no identifying attribute",
}


@dataclass(frozen=True, slots=True)
class Rejected:
    """An object that can never be indexed as it is."""

    reason: RejectReason

    @property
    def sentence(self) -> str:
        """The reason for people to read."""
        return _SENTENCES[self.reason]


def read_header(source: RangeSource, patient_secret: bytes) -> InstanceFacts | Rejected:
    """Read as little of an object as tells what it is.

    Parameters
    ----------
    source
        The object's bytes; 64 KiB are asked for first, pixel data never on purpose.
    patient_secret
        Key of the hash that stands for the patient.

    Raises
    ------
    Exception
        Only what `source` raises.
    """
    if source.size_bytes == 0:
        return Rejected(RejectReason.EMPTY_FILE)
    prefix = read_prefix(source)
    if prefix is None:
        return Rejected(RejectReason.NOT_DICOM)
    reason = _reason_to_reject(prefix)
    return _facts(prefix, patient_secret) if reason is None else Rejected(reason)


def _reason_to_reject(prefix: Prefix) -> RejectReason | None:
    meta, dataset = prefix.meta, prefix.dataset
    if (
        meta.text(tags.MEDIA_STORAGE_SOP_CLASS_UID) == objects.DIRECTORY
        or tags.DIRECTORY_RECORD_SEQUENCE in dataset
    ):
        return RejectReason.DIRECTORY
    if any(dataset.text(tag) for tag in _IDENTIFYING) or prefix.pixel_data:
        return None
    if any(meta.text(tag) for tag in _IDENTIFYING_META):
        return None
    return RejectReason.TRUNCATED if prefix.cut else RejectReason.NO_IDENTITY


# One of these (or pixel data) makes an object worth a row: it can be named, or shown.
_IDENTIFYING = (
    tags.SOP_CLASS_UID,
    tags.SOP_INSTANCE_UID,
    tags.MODALITY,
    tags.STUDY_INSTANCE_UID,
    tags.SERIES_INSTANCE_UID,
)
_IDENTIFYING_META = (tags.MEDIA_STORAGE_SOP_CLASS_UID, tags.MEDIA_STORAGE_SOP_INSTANCE_UID)


def _facts(prefix: Prefix, patient_secret: bytes) -> InstanceFacts:
    dataset = prefix.dataset
    identifiers = identifiers_of(dataset)
    attributes = read_attributes(dataset, identifiers)
    frames = read_frames(dataset, identifiers)
    _add_frames(attributes, frames)
    attributes, shortened = bounded(attributes)
    sop_class_uid = dataset.text(tags.SOP_CLASS_UID) or prefix.meta.text(
        tags.MEDIA_STORAGE_SOP_CLASS_UID
    )
    has_pixels = _has_pixels(prefix, sop_class_uid)
    sop, study, series, uid_flags = _uids(prefix)
    flags = {*prefix.odd, *uid_flags, *_flags(prefix, attributes, sop_class_uid)}
    return InstanceFacts(
        sop_instance_uid=sop,
        series_instance_uid=series,
        study_instance_uid=study,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=_transfer_syntax(prefix),
        patient_key=patient_key(
            patient_secret, dataset.text(tags.ISSUER_OF_PATIENT_ID), dataset.text(tags.PATIENT_ID)
        ),
        frames=_n_frames(prefix) if has_pixels else 0,
        has_pixels=has_pixels,
        attributes=attributes,
        position_mm=frames.position_mm,
        flags=tuple(sorted(flags | ({"attributesCut"} if shortened else set()))),
    )


def _add_frames(attributes: dict[str, Value], frames: Frames) -> None:
    for keyword, values in frames.values.items():
        if keyword not in attributes:
            put(attributes, keyword, values)
    ordered = sorted(frames.orientations.items(), key=lambda entry: (-entry[1], entry[0]))[:16]
    if ordered:
        attributes["ImageOrientationPatient"] = tuple(v for vector, _ in ordered for v in vector)
    if sum(frames.orientations.values()) > 1:
        put(attributes, "FramesPerOrientation", tuple(count for _, count in ordered))
    if frames.n_gaps:
        attributes["FrameGaps"] = frames.n_gaps


def _has_pixels(prefix: Prefix, sop_class_uid: str) -> bool:
    dataset = prefix.dataset
    if not objects.shows_picture(sop_class_uid, dataset.text(tags.MODALITY)):
        return False
    if prefix.pixel_data is not None:
        return prefix.pixel_data
    # The read ended before pixel data could be met: its description announces it.
    return not prefix.cut and tags.ROWS in dataset and tags.COLUMNS in dataset


def _n_frames(prefix: Prefix) -> int:
    number = prefix.dataset.number(tags.NUMBER_OF_FRAMES, b"IS")
    return int(number) if number is not None and 1 <= number < 2**31 else 1


def _uids(prefix: Prefix) -> tuple[str, str, str, set[str]]:
    """SOP Instance, Study and Series Instance UID, derived where they are missing."""
    dataset = prefix.dataset
    sop = dataset.text(tags.SOP_INSTANCE_UID)
    if not usable_uid(sop):
        sop = prefix.meta.text(tags.MEDIA_STORAGE_SOP_INSTANCE_UID)
    seed = sop.encode() if usable_uid(sop) else hashlib.sha256(prefix.first_bytes).digest()
    told = {
        "sop": sop,
        "study": dataset.text(tags.STUDY_INSTANCE_UID),
        "series": dataset.text(tags.SERIES_INSTANCE_UID),
    }
    flags = set()
    for level, uid in told.items():
        if not usable_uid(uid):
            told[level] = derived_uid(level.encode() + b":" + seed)
            flags.add("derivedUid")
        elif not valid_uid(uid):
            flags.add("invalidUid")
    return told["sop"], told["study"], told["series"], flags


def _transfer_syntax(prefix: Prefix) -> str:
    """As told, or as the bytes show where it is not told."""
    told = prefix.meta.text(tags.TRANSFER_SYNTAX_UID)
    return told or _SYNTAX_OF[prefix.encoding]


_SYNTAX_OF = {
    Encoding(little=True, implicit=True): "1.2.840.10008.1.2",
    Encoding(little=True, implicit=False): "1.2.840.10008.1.2.1",
    Encoding(little=False, implicit=False): "1.2.840.10008.1.2.2",
    # There is no such syntax; old ACR-NEMA writers used it.
    Encoding(little=False, implicit=True): "",
}


def _flags(prefix: Prefix, attributes: dict[str, Value], sop_class_uid: str) -> set[str]:
    annotated = attributes.get("BurnedInAnnotation")
    risk = annotated == "YES" or (annotated is None and objects.may_show_text(sop_class_uid))
    found = {
        "burnedInRisk": risk,
        "truncatedHeader": prefix.cut,
        "truncatedPixels": prefix.pixels_cut,
        "manyFrames": _n_frames(prefix) > MAX_FRAMES,
    }
    return {flag for flag, is_set in found.items() if is_set}
