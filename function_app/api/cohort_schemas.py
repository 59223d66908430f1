"""JSON schemas of what is asked and answered of saved cohorts."""

from function_app.api.schemas import (
    COUNT,
    FIELDS_UNKNOWN,
    FILTERS,
    INTERPRET,
    MANIFEST,
    NEXT_LINK,
    RECORD,
    TOLD,
    UID,
    Schema,
    closed,
    found,
    opened,
    texts,
)
from function_app.pages import MAX_TEXT_CHARACTERS
from indexer_core.named import MAX_NAMES

COHORT_NAME: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$",
    "examples": ["trial-7"],
}
_SUMMARY: Schema = {
    "name": {"type": "string"},
    "version": {"type": "integer", "minimum": 1},
    "kind": {"type": "string"},
    "created": {"type": "string"},
    "createdBy": {"type": "string"},
    "purpose": {"type": "string"},
    "text": {"type": "string"},
    "filters": texts(),
    "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
    "manifest": MANIFEST,
    "series": TOLD,
    "erased": TOLD,
    "digest": {"type": "string"},
    "asSaved": {"type": "boolean"},
}
COHORTS_ANSWER: Schema = opened(
    {
        "value": {"type": "array", "items": opened(_SUMMARY, tuple(_SUMMARY))},
        "nextLink": NEXT_LINK,
    },
    ("value", "nextLink"),
)
COHORT_ANSWER: Schema = opened(
    {
        **_SUMMARY,
        "deleted": TOLD,
        "attrition": {
            "type": "array",
            "items": opened(
                {"label": {"type": "string"}, "series": TOLD, "unknown": TOLD},
                ("label", "series", "unknown"),
            ),
        },
        "card": {"type": "object"},
    },
    (*_SUMMARY, "deleted", "attrition", "card"),
)
COHORT_BODY: Schema = closed(
    {
        "name": COHORT_NAME,
        "text": {"type": "string", "maxLength": MAX_TEXT_CHARACTERS},
        "interpret": INTERPRET,
        "filters": FILTERS,
        "withUnknown": FIELDS_UNKNOWN,
        "uids": {
            "type": "array",
            "items": UID,
            "minItems": 1,
            "maxItems": MAX_NAMES,
            "description": "the series themselves, by UID, key or short key, in place of filters",
        },
        "purpose": {"type": "string", "maxLength": MAX_TEXT_CHARACTERS},
    },
    ("name",),
)
COHORT_SERIES_ANSWER: Schema = found(RECORD)
NEWS_ANSWER: Schema = opened(
    {
        "before": MANIFEST,
        "after": MANIFEST,
        "counts": {"type": "object", "additionalProperties": COUNT},
        "series": {
            "type": "array",
            "items": opened(
                {
                    "change": {"type": "string"},
                    "seriesInstanceUid": {"type": "string"},
                    "why": {"type": "string"},
                    "fields": texts(),
                },
                ("change", "seriesInstanceUid"),
            ),
        },
    },
    ("before", "after", "counts", "series"),
)
