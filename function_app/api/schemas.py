"""JSON schemas of what goes in and comes out."""

from collections.abc import Mapping
from typing import Any

from function_app.facets import MAX_LEAST, MAX_VALUES
from function_app.homes import MILVUS, SEGMENTS
from function_app.pages import MAX_TEXT_CHARACTERS, MAX_TOP
from function_app.series_list import MAX_LISTED
from indexer_core.facets import FACETS
from indexer_core.filters import FIELDS
from indexer_core.grouping import Level
from indexer_core.named import MAX_NAMES
from indexer_core.sorting import NEWEST_FIRST, SORTED_BY

Schema = dict[str, Any]

MAX_FILTERS = 64
MAX_LISTED_JSON = 500
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
        "similarity": nullable("number"),
        "pixelSimilarity": nullable("number"),
        "foundBy": texts(description="by texts, by pixels, or both"),
        "words": texts(description="words of the question that the texts hold"),
        "template": nullable("string"),
        "text": nullable("string", description="the text that matched best"),
        "filters": texts(description="conditions that it meets"),
        "unknown": texts(description="conditions that it may meet"),
        "unmet": texts(description="conditions that it does not meet"),
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
TEXT: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TEXT_CHARACTERS,
    "description": "what to look for, in plain language",
    "examples": ["axial T2 FLAIR of the brain"],
}
LEVEL: Schema = {"type": "string", "enum": [str(each) for each in Level], "default": "series"}
TOKEN: Schema = {"type": "string", "maxLength": 1024}
TOP: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": 10}
FILTERS: Schema = {
    "type": "array",
    "items": {"type": "string", "maxLength": MAX_FILTER_CHARACTERS},
    "maxItems": MAX_FILTERS,
    "description": "conditions such as modality=MR, plane=axial,coronal, ageYears>=60",
    "examples": [["modality=MR", "plane=axial,coronal"]],
}

UID: Schema = {
    "type": "string",
    "pattern": "^[0-9A-Za-z._-]{1,64}$",
    "description": "Series Instance UID, series key, or the first 16 digits of one",
    "examples": ["1.2.840.113619.2.388.57473.14165493.12954.1537408441.601"],
}
COUNT: Schema = {"type": "integer", "minimum": 0}
STAGES: Schema = opened(
    {
        "seriesKey": {"type": "string"},
        "traceId": {"type": "string", "description": "of the series, in telemetry"},
        "files": opened({"live": COUNT, "rejectedMessage": nullable("string")}, ("live",)),
        "assembly": nullable("object"),
        "index": nullable("object"),
    },
    ("seriesKey", "traceId", "files", "assembly", "index"),
)
TRACE_ANSWER: Schema = found(STAGES)
SERIES_ANSWER: Schema = found(RECORD)
LIST_ANSWER: Schema = found(
    RECORD, count={"type": "integer", "minimum": 0, "description": "of all pages"}
)
_BY_NAME: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
STATUS_ANSWER: Schema = opened(
    {
        "home": {
            "type": "string",
            "enum": [SEGMENTS, MILVUS],
            "description": "what answers searches",
        },
        "manifest": {**MANIFEST, "description": "what searches are answered from"},
        "newest": {
            **MANIFEST,
            "description": "higher where an encoder is awaited, or Milvus has not followed yet",
        },
        "lag": {**COUNT, "description": "manifests between these two"},
        "series": {**COUNT, "description": "that this caller may find"},
        "spaces": {**_BY_NAME, "description": "the encoder of each kind of vectors"},
        "building": {**_BY_NAME, "description": "encoders that are being switched to"},
        "projection": nullable("string"),
        "recipe": {**COUNT, "description": "generation of rules and templates"},
        "index": nullable(
            "object",
            description="of the whole index, for callers who see all of it",
            properties={
                "segments": COUNT,
                "suppressed": COUNT,
                "openSeries": COUNT,
                "queues": {"type": "object", "additionalProperties": COUNT},
            },
            required=["segments", "suppressed", "openSeries", "queues"],
        ),
    },
    (
        *("home", "manifest", "newest", "lag", "series", "spaces", "building", "projection"),
        *("recipe", "index"),
    ),
)
EXPLORER_ANSWER: Schema = opened(
    {
        "viewer": nullable(
            "string", description="an address with {study} and {series} in place of UIDs"
        ),
        "version": {"type": "string"},
    },
    ("viewer", "version"),
)
BOOLEAN: Schema = {"type": "boolean", "default": False}
FIELDS_UNKNOWN: Schema = {"type": "array", "items": {"type": "string", "enum": list(FIELDS)}}
FIELDS_COUNTED: Schema = {
    "type": "array",
    "items": {"type": "string", "enum": list(FACETS)},
    "minItems": 1,
    "maxItems": len(FACETS),
    "examples": [["modality", "bodyRegion"]],
}
MOST_VALUES: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_VALUES, "default": 20}
LEAST: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_LEAST, "default": 0}
SERIES: Schema = {
    "type": "array",
    "items": UID,
    "maxItems": MAX_NAMES,
    "description": "only these series are looked at; by UID, key or short key",
}
INTERPRET: Schema = {"type": "boolean", "default": True}
SEARCH_BODY: Schema = closed(
    {
        "text": TEXT,
        "top": TOP,
        "level": LEVEL,
        "token": TOKEN,
        "filters": FILTERS,
        "withUnknown": FIELDS_UNKNOWN,
        "series": SERIES,
        "interpret": INTERPRET,
        "facets": FIELDS_COUNTED,
        "manifest": MANIFEST,
    },
    ("text",),
)
LIST_BODY: Schema = closed(
    {
        "filters": FILTERS,
        "withUnknown": FIELDS_UNKNOWN,
        "series": SERIES,
        "sort": {
            "type": "string",
            "enum": [f"{sign}{field}" for field in SORTED_BY for sign in ("", "-")],
            "default": str(NEWEST_FIRST),
            "description": "a field, with - before it the greatest first; unknown ones last",
        },
        "top": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LISTED,
            "description": f"at most; of JSON up to {MAX_LISTED_JSON}",
        },
        "token": TOKEN,
        "manifest": MANIFEST,
    }
)
FACETS_BODY: Schema = closed(
    {
        "facets": FIELDS_COUNTED,
        "filters": FILTERS,
        "withUnknown": FIELDS_UNKNOWN,
        "series": SERIES,
        "excludeOwn": BOOLEAN,
        "most": MOST_VALUES,
        "least": LEAST,
        "manifest": MANIFEST,
    },
    ("facets",),
)
TOLD: Schema = nullable("integer", minimum=0, description="null: too few to be told")
_FACET: Schema = opened(
    {
        "values": {
            "type": "array",
            "items": opened(
                {
                    "value": {"type": "string"},
                    "count": TOLD,
                    "from": nullable("number"),
                    "below": nullable("number"),
                },
                ("value", "count"),
            ),
        },
        "unknown": TOLD,
        "other": TOLD,
        "isWithheld": {"type": "boolean"},
    },
    ("values", "unknown", "other", "isWithheld"),
)
FACETS_ANSWER: Schema = opened(
    {
        "facets": {"type": "object", "additionalProperties": _FACET},
        "count": TOLD,
        "manifest": MANIFEST,
    },
    ("facets", "count", "manifest"),
)
SEARCH_ANSWER: Schema = found(
    HIT,
    interpretation=INTERPRETATION,
    fit={"type": "string", "description": "how well the answer fits the question"},
    count={"type": "integer", "minimum": 0, "description": "series that meet every filter"},
    possible={"type": "integer", "minimum": 0, "description": "series that may"},
    rankedBy=texts(description="text; pixels, too, where words can be compared with pictures"),
    exact={"type": "boolean"},
    recall=nullable("number", description="of the ten nearest; null: not measured"),
)
SEARCH_ANSWER["properties"]["facets"] = {"type": "object", "additionalProperties": _FACET}
_CODED: Schema = opened(
    {
        "values": {"type": "array", "items": nullable("string")},
        "codes": {"type": "array", "items": nullable("integer")},
    },
    ("values", "codes"),
)
_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}}
MAP_ANSWER: Schema = opened(
    {
        "projectionVersion": nullable("string"),
        "manifest": MANIFEST,
        "count": COUNT,
        "isSample": {"type": "boolean"},
        "unplaced": COUNT,
        "keys": texts(),
        "uids": texts(),
        "x": _NUMBERS,
        "y": _NUMBERS,
        "modality": _CODED,
        "bodyRegion": _CODED,
        "provisional": {"type": "array", "items": COUNT},
    },
    ("projectionVersion", "manifest", "count", "keys", "uids", "x", "y"),
)
SIMILAR_ANSWER: Schema = found(
    HIT,
    count=COUNT,
    level={"type": "string"},
    like=texts(description="keys of the series that were named"),
    imageEncoder={"type": "string"},
    interpretation=opened({"filters": {"type": "array"}, "unknown": {"type": "object"}}),
    exact={"type": "boolean"},
    recall=nullable("number", description="of the ten nearest; null: not measured"),
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
