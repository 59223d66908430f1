"""What classification says about a series: values, and every vote behind them."""

from dataclasses import dataclass, field
from typing import Any

REGIONS = (
    "head",
    "neck",
    "chest",
    "breast",
    "heart",
    "abdomen",
    "pelvis",
    "spine",
    "upper extremity",
    "lower extremity",
    "whole body",
    "other",
    "unknown",
)
PLANES = ("axial", "coronal", "sagittal", "oblique", "projection", "mixed", "unknown")
CONTRASTS = ("yes", "no", "unknown")
FIELDS = ("modality", "bodyRegion", "bodyPart", "plane", "sequence", "contrast", "manufacturer")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Vote:
    """One opinion about one field.

    Parameters
    ----------
    field
        One of `FIELDS`.
    value
        The value voted for, in the vocabulary of that field.
    source
        DICOM keyword the opinion comes from, ``geometry``, ``physics``, or ``model:<encoder>``.
    confidence
        Weight in [0, 1].
    rule
        Name of the rule that matched, never the text it matched.
    """

    field: str
    value: str
    source: str
    confidence: float
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The value of a field, its strongest source, its confidence, and all votes, best first."""

    value: str | int | tuple[str, ...]
    source: str
    confidence: float
    votes: tuple[Vote, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value of DESIGN §5a ``evidence``."""
        return {
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "source": self.source,
            "confidence": self.confidence,
            "votes": [
                {
                    "value": vote.value,
                    "source": vote.source,
                    "confidence": vote.confidence,
                    "rule": vote.rule,
                }
                for vote in self.votes
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPart:
    """An anatomical term, coded where DICOM's context groups have a SNOMED CT code for it."""

    term: str
    code: str = ""
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What a series is, as far as its headers (and pixel models) tell.

    Parameters
    ----------
    modality
        What the object is; `header_modality` is what its header says ("" when it says nothing).
    body_part
        None when nothing finer than `body_region` is known.
    sequence
        Labels of the documented list, in its order.
    synonyms
        Other words for the anatomy, for the templates.
    manufacturer
        Normalised name, "" when the header has none.
    flags
        Findings of classification only (``phantom``, ``headerModalityMismatch``, ...), sorted.
    evidence
        Field name (`FIELDS`) -> evidence.
    """

    modality: str
    header_modality: str
    body_region: str
    body_part: BodyPart | None
    plane: str
    sequence: tuple[str, ...]
    contrast: str
    synonyms: tuple[str, ...] = ()
    manufacturer: str = ""
    flags: tuple[str, ...] = ()
    evidence: dict[str, Evidence] = field(default_factory=dict)
    rules_digest: str = ""
