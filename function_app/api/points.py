"""Operations of a page that draws the map: its points, what has changed, which series match."""

from dataclasses import replace
from typing import Any

from function_app.api.asked import (
    AT,
    MAX_NAMES_BYTES,
    conditions_of_body,
    fields_of,
    whole,
)
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.schemas import (
    FIELDS_UNKNOWN,
    FILTERS,
    INTERPRET,
    MANIFEST,
    SERIES,
    TEXT,
    Schema,
    closed,
)
from function_app.api.service import Service
from function_app.points import MAX_COLUMNS, PointsAnswer, PointsRequest, matches, points
from function_app.search import SearchRequest
from indexer_core.facets import FACETS
from indexer_core.point_files import POINTS
from indexer_core.selection import Conditions

_COLUMNS: Schema = {
    "type": "array",
    "items": {"type": "string", "enum": list(FACETS)},
    "maxItems": MAX_COLUMNS,
    "examples": [["modality", "plane"]],
}
_MATCHES_BODY: Schema = closed(
    {
        "text": TEXT,
        "interpret": INTERPRET,
        "filters": FILTERS,
        "withUnknown": FIELDS_UNKNOWN,
        "series": SERIES,
        "manifest": MANIFEST,
    }
)


def point_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="mapPoints",
            method="GET",
            path="/api/map/points",
            summary="All points of the map, or those that have changed, as arrays",
            run=lambda call: _points(call, service),
            parameters=(
                Parameter(
                    name="columns",
                    place="query",
                    schema=_COLUMNS,
                    description="fields of each point, as codes; repeatable",
                ),
                Parameter(
                    name="since",
                    place="query",
                    schema=MANIFEST,
                    description="only what has changed since this manifest, where that can be told",
                ),
                AT,
            ),
            answer_types=(POINTS,),
            errors=("manifestExpired", "notOnThisHome"),
        ),
        Operation(
            name="mapMatches",
            method="POST",
            path="/api/map/matches",
            summary="The short keys of all series that meet every filter, as an array",
            run=lambda call: _matches(call, service),
            body=_MATCHES_BODY,
            max_body_bytes=MAX_NAMES_BYTES,
            answer_types=(POINTS,),
            errors=("manifestExpired", "notOnThisHome"),
        ),
    )


def _points(call: Call, service: Service) -> Answer:
    asked = call.values
    request = PointsRequest(columns=tuple(asked["columns"] or ()), scopes=call.caller.scopes)
    request.fields()
    if asked["since"] is None:
        snapshot, before = service.snapshot(asked["manifest"]), None
    else:
        snapshot, before = service.compared(asked["manifest"], asked["since"])
    return _answer(points(request, snapshot, before), snapshot.manifest.number)


def _matches(call: Call, service: Service) -> Answer:
    asked = call.body
    met = conditions_of_body(call)
    if "text" in asked:
        met = _with_words(met, asked)
    snapshot = service.snapshot(whole(asked.get("manifest")))
    return _answer(matches(met, snapshot), snapshot.manifest.number, fields_of(met))


def _with_words(met: Conditions, asked: dict[str, Any]) -> Conditions:
    """The conditions with those that a search reads from the words."""
    request = SearchRequest(
        text=asked["text"],
        filters=met.filters,
        with_unknown=met.with_unknown,
        scopes=met.scopes,
        interpret=asked.get("interpret", True),
    )
    request.check()
    read = request.understood().conditions
    return replace(met, alternatives=read.alternatives, with_unknown=read.with_unknown)


def _answer(found: PointsAnswer, manifest: int, fields: tuple[str, ...] = ()) -> Answer:
    return Answer(
        value=found.data,
        content_type=POINTS,
        manifest=manifest,
        returned=found.n_told,
        fields=fields,
    )
