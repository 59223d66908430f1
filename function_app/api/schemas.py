"""JSON schemas of what goes in and comes out."""

from collections.abc import Mapping
from typing import Any

from function_app.search import MAX_TEXT_CHARACTERS, MAX_TOP

Schema = dict[str, Any]

MAX_FILTERS = 64
MAX_FILTER_CHARACTERS = 1_000


def nullable(kind: str, **more: Any) -> Schema:
    """A value of a type, or null."""
    return {"type": [kind, "null"], **more}


def texts(**more: Any) -> Schema:
    """A list of strings."""
    return {"type": "array", "items": {"type": "string"}, **more}


def closed(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> Schema:
    """An object with these names and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def opened(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> Schema:
    """An object with these names; later versions may add some."""
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def found(item: Schema, **more: Any) -> Schema:
    """A list of what was found, and the manifest that all of it comes from."""
    properties = {
        "value": {"type": "array", "items": item},
        "manifest": MANIFEST,
        "nextLink": NEXT_LINK,
        **more,
    }
    return opened(properties, ("value", "manifest", "nextLink", *more))


MANIFEST: Schema = {
    "type": "integer",
    "minimum": 0,
    "description": "the state of the index that the whole answer comes from",
}
NEXT_LINK: Schema = nullable("string", description="the next page, from the same manifest")

_EVIDENCE: Schema = {
    "type": "object",
    "description": "by field: value, source and confidence of what was decided",
    "additionalProperties": opened(
        {"source": {"type": "string"}, "confidence": {"type": "number"}}
    ),
}
_PROPERTIES: Schema = {
    "seriesKey": {"type": "string"},
    "scope": {"type": "string"},
    "seriesInstanceUid": {"type": "string"},
    "studyInstanceUid": {"type": "string"},
    "revision": {"type": "integer"},
    "modality": {"type": "string"},
    "headerModality": nullable("string"),
    "bodyRegion": {"type": "string"},
    "bodyPart": nullable(
        "object",
        properties={
            "term": {"type": "string"},
            "code": nullable("string"),
            "scheme": nullable("string"),
            "meaning": nullable("string"),
        },
    ),
    "plane": {"type": "string"},
    "sequence": texts(),
    "contrast": {"type": "string"},
    "instances": {"type": "integer"},
    "frames": {"type": "integer"},
    "hasPixels": {"type": "boolean"},
    "sliceThicknessMm": nullable("number"),
    "fieldStrengthT": nullable("number"),
    "manufacturer": nullable("string"),
    "model": nullable("string"),
    "ageYears": nullable("number", description="over 89 is 90"),
    "sex": nullable("string"),
    "studyDate": nullable("string"),
    "patientKey": nullable("string", description="a keyed hash"),
    "descriptions": texts(),
    "flags": texts(),
    "x": nullable("number"),
    "y": nullable("number"),
    "projectionVersion": nullable("string"),
}
_NAMED = ("seriesKey", "scope", "seriesInstanceUid", "studyInstanceUid", "modality")

RECORD: Schema = opened({**_PROPERTIES, "texts": texts(), "evidence": _EVIDENCE}, _NAMED)
"""All that is known of a series, without the places of its files."""

_WHY: Schema = opened(
    {
        "similarity": {"type": "number"},
        "words": texts(description="words of the question that the texts hold"),
        "template": nullable("string"),
        "text": nullable("string", description="the text that matched best"),
        "filters": texts(),
        "evidence": _EVIDENCE,
        "flags": texts(),
    },
    ("similarity", "filters", "evidence"),
)
HIT: Schema = opened(
    {**_PROPERTIES, "score": {"type": "number"}, "why": _WHY}, (*_NAMED, "score", "why")
)
INTERPRETATION: Schema = opened(
    {
        "text": {"type": "string"},
        "filters": {
            "type": "array",
            "items": opened(
                {"field": {"type": "string"}, "operator": {"type": "string"}, "values": texts()},
                ("field", "operator", "values"),
            ),
        },
        "unknown": {
            "type": "object",
            "description": "by field: series left out only because that field is unknown",
            "additionalProperties": {"type": "integer", "minimum": 0},
        },
    },
    ("text", "filters", "unknown"),
)
SEARCH_ANSWER: Schema = found(
    HIT,
    interpretation=INTERPRETATION,
    count={"type": "integer", "minimum": 0, "description": "series that pass the filters"},
    exact={"type": "boolean"},
    recall={"type": "number"},
)
TEXT: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TEXT_CHARACTERS,
    "description": "what to look for, in plain language",
    "examples": ["axial T2 FLAIR of the brain"],
}
TOP: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": 10}
FILTERS: Schema = {
    "type": "array",
    "items": {"type": "string", "maxLength": MAX_FILTER_CHARACTERS},
    "maxItems": MAX_FILTERS,
    "description": "conditions such as modality=MR, plane=axial,coronal, ageYears>=60",
    "examples": [["modality=MR", "plane=axial,coronal"]],
}
SEARCH_BODY: Schema = closed({"text": TEXT, "top": TOP, "filters": FILTERS}, ("text",))

UID: Schema = {
    "type": "string",
    "pattern": "^[0-9A-Za-z._-]{1,64}$",
    "description": "Series Instance UID, or series key",
    "examples": ["1.2.840.113619.2.388.57473.14165493.12954.1537408441.601"],
}
_COUNT: Schema = {"type": "integer", "minimum": 0}
STAGES: Schema = opened(
    {
        "seriesKey": {"type": "string"},
        "files": opened({"live": _COUNT, "rejectedMessage": nullable("string")}, ("live",)),
        "assembly": nullable("object"),
        "index": nullable("object"),
    },
    ("seriesKey", "files", "assembly", "index"),
)
TRACE_ANSWER: Schema = found(STAGES)
SERIES_ANSWER: Schema = found(RECORD)
_BY_NAME: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
STATUS_ANSWER: Schema = opened(
    {
        "manifest": MANIFEST,
        "newest": {**MANIFEST, "description": "higher where an encoder is awaited"},
        "series": {**_COUNT, "description": "that this caller may find"},
        "spaces": {**_BY_NAME, "description": "the encoder of each kind of vectors"},
        "building": {**_BY_NAME, "description": "encoders that are being switched to"},
        "projection": nullable("string"),
        "recipe": {**_COUNT, "description": "generation of rules and templates"},
        "index": nullable(
            "object",
            description="of the whole index, for callers who see all of it",
            properties={
                "segments": _COUNT,
                "suppressed": _COUNT,
                "openSeries": _COUNT,
                "queues": {"type": "object", "additionalProperties": _COUNT},
            },
            required=["segments", "suppressed", "openSeries", "queues"],
        ),
    },
    ("manifest", "newest", "series", "spaces", "building", "projection", "recipe", "index"),
)
HEALTH_ANSWER: Schema = closed({"status": {"const": "ok"}}, ("status",))
DOCUMENT: Schema = {"type": "object", "description": "OpenAPI 3.1"}
PROBLEM: Schema = opened(
    {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable"},
        "detail": {"type": "string"},
    },
    ("type", "title", "status", "code"),
)
