"""What several operations are asked in the same way: conditions, pages, manifests, formats."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from function_app.api.messages import JSON
from function_app.api.operations import Answer, Call, Parameter
from function_app.api.schemas import (
    FIELDS_UNKNOWN,
    FILTERS,
    LEVEL,
    MANIFEST,
    MAX_FILTERS,
    TOKEN,
    TOP,
)
from function_app.pages import PageRequest, level_of
from indexer_core.errors import InvalidInputError
from indexer_core.filters import Filter, parse_field, parse_filter
from indexer_core.named import Names
from indexer_core.record_files import FORMATS, file_of
from indexer_core.selection import Conditions

FILTER = Parameter(
    name="filter",
    place="query",
    schema=FILTERS,
    description="conditions: one each, or several with semicolons between",
)
WITH_UNKNOWN = Parameter(
    name="withUnknown",
    place="query",
    schema=FIELDS_UNKNOWN,
    description="fields that a series may have unknown, whatever the filters ask for",
)
AT = Parameter(
    name="manifest",
    place="query",
    schema=MANIFEST,
    description="answer from this manifest; 410 when it has expired",
)
NEXT_TOKEN = Parameter(
    name="token",
    place="query",
    schema=TOKEN,
    description="of the next page, as `nextLink` has it",
)
PAGE = (
    Parameter(name="top", place="query", schema=TOP, description="at most"),
    Parameter(
        name="level",
        place="query",
        schema=LEVEL,
        description="what the page consists of",
    ),
    NEXT_TOKEN,
)
CONDITIONS = (FILTER, WITH_UNKNOWN)
FILE_TYPES = tuple(FORMATS.values())
UIDS = "text/plain; charset=utf-8"
"""A list of Series Instance UIDs."""
DICOM_JSON = "application/dicom+json"
MAX_NAMES_BYTES = 8 << 20
"""Bytes of a body that may name as many series as can be named."""


def format_parameter(*further: str) -> Parameter:
    """JSON, or a file of records in one of these formats."""
    return Parameter(
        name="format",
        place="query",
        schema={"type": "string", "enum": ["json", *FORMATS, *further], "default": "json"},
        description="of the answer",
    )


def conditions_of(call: Call) -> Conditions:
    """Filters of the query, within the scopes of the caller."""
    return conditions(call, call.values["filter"], call.values["withUnknown"])


def conditions_of_body(call: Call) -> Conditions:
    """Filters and named series of the body, within the scopes of the caller."""
    body = call.body
    return conditions(call, body.get("filters"), body.get("withUnknown"), body.get("series"))


def conditions(
    call: Call,
    filters: Iterable[str] | None,
    with_unknown: Iterable[str] | None,
    series: Iterable[str] | None = None,
) -> Conditions:
    """Filters as they are written, among the series of these names, within the caller's scopes."""
    return Conditions(
        filters=parsed_filters(filters or ()),
        with_unknown=frozenset(map(parse_field, with_unknown or ())),
        scopes=call.caller.scopes,
        series=None if series is None else Names.of(series),
    )


def parsed_filters(texts: Iterable[str]) -> tuple[Filter, ...]:
    """Conditions, one in each text or several with semicolons between."""
    parts = [part for text in texts for part in text.split(";") if part.strip()]
    if len(parts) > MAX_FILTERS:
        raise InvalidInputError(f"a request has at most {MAX_FILTERS} filters")
    return tuple(map(parse_filter, parts))


def page_of_call(call: Call) -> PageRequest:
    """The page that is asked for."""
    values = call.values
    return PageRequest(top=values["top"], level=level_of(values["level"]), token=values["token"])


def linked(call: Call, found: dict[str, Any]) -> dict[str, Any]:
    """A page whose `nextLink` is a link: this request with the token of the next page."""
    token = found["nextLink"]
    if token is None:
        return found
    query = [(name, value) for name, value in call.query if name != "token"]
    return {**found, "nextLink": f"{call.path}?{urlencode([*query, ('token', token)])}"}


def whole(number: Any) -> int | None:
    """A whole number, as JSON may write it: 1.0."""
    return None if number is None else int(number)


def n_told(value: Sequence[Mapping[str, Any]]) -> int:
    """How many series the items of a page tell of, for the audit: members of groups, too."""
    return sum(max(1, len(each.get("members", ()))) for each in value)


def fields_of(conditions: Conditions) -> tuple[str, ...]:
    """Names of the fields that are asked about, for the audit."""
    return tuple(sorted({each.field for each in conditions.distinct}))


def records_answer(
    call: Call,
    found: dict[str, Any],
    columns: Sequence[str],
    fields: tuple[str, ...] = (),
) -> Answer:
    """The answer `found` in the format that is asked for: JSON, or a file of its `value`."""
    form = call.values["format"]
    records = found["value"]
    is_file = form != "json"
    return Answer(
        value=file_of(records, columns, form) if is_file else found,
        content_type=FORMATS[form] if is_file else JSON,
        manifest=found["manifest"],
        returned=n_told(records),
        fields=fields,
    )
