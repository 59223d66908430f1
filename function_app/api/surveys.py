"""Operations about all series that meet conditions: what they consist of, where they are."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from function_app.api.asked import (
    AT,
    CONDITIONS,
    MAX_NAMES_BYTES,
    conditions_of,
    conditions_of_body,
    fields_of,
    whole,
)
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.schemas import (
    BOOLEAN,
    FACETS_ANSWER,
    FACETS_BODY,
    FIELDS_COUNTED,
    LEAST,
    MAP_ANSWER,
    MOST_VALUES,
)
from function_app.api.service import Service
from function_app.facets import FacetsRequest, facets
from function_app.map_points import ARROW, MapPointsRequest, map_points, map_points_arrow
from indexer_core.selection import Conditions

_DEFAULTS = {
    "excludeOwn": False,
    "most": MOST_VALUES["default"],
    "least": LEAST["default"],
    "manifest": None,
}


def survey_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="facets",
            method="GET",
            path="/api/facets",
            summary="How many of the series that meet conditions have each value of some fields",
            run=lambda call: _facets(service, call.values, conditions_of(call)),
            parameters=(
                Parameter(
                    name="facets",
                    place="query",
                    schema=FIELDS_COUNTED,
                    description="fields; repeatable",
                    required=True,
                ),
                *CONDITIONS,
                Parameter(
                    name="excludeOwn",
                    place="query",
                    schema=BOOLEAN,
                    description="count each field as if its own filters were not set",
                ),
                Parameter(
                    name="most", place="query", schema=MOST_VALUES, description="values listed"
                ),
                Parameter(
                    name="least",
                    place="query",
                    schema=LEAST,
                    description="smaller counts are not told",
                ),
                AT,
            ),
            answer=FACETS_ANSWER,
            errors=("manifestExpired",),
        ),
        Operation(
            name="facetsByBody",
            method="POST",
            path="/api/facets",
            summary="The same, asked in a body",
            run=lambda call: _facets(service, {**_DEFAULTS, **call.body}, conditions_of_body(call)),
            body=FACETS_BODY,
            max_body_bytes=MAX_NAMES_BYTES,
            answer=FACETS_ANSWER,
            errors=("manifestExpired",),
        ),
        Operation(
            name="map",
            method="GET",
            path="/api/map",
            summary="Where on the map the series are that meet conditions",
            run=lambda call: _map(call, service),
            parameters=(
                *CONDITIONS,
                Parameter(
                    name="most",
                    place="query",
                    schema={"type": "integer", "minimum": 1, "maximum": 10_000_000},
                    description="points at most: an even sample of more",
                ),
                Parameter(
                    name="format",
                    place="query",
                    schema={"type": "string", "enum": ["json", "arrow"], "default": "json"},
                    description="JSON has up to 100,000 points",
                ),
                AT,
            ),
            answer=MAP_ANSWER,
            answer_types=(ARROW,),
            errors=("manifestExpired", "notOnThisHome"),
        ),
    )


def _facets(service: Service, asked: Mapping[str, Any], met: Conditions) -> Answer:
    request = FacetsRequest(
        fields=tuple(asked["facets"]),
        conditions=met,
        exclude_own=asked["excludeOwn"],
        most=int(asked["most"]),
        least=int(asked["least"]),
    )
    request.check()
    found = facets(request, service.searchable(whole(asked["manifest"])).index)
    return Answer(value=found, manifest=found["manifest"], fields=fields_of(met))


def _map(call: Call, service: Service) -> Answer:
    met = conditions_of(call)
    request = MapPointsRequest(conditions=met, most=call.values["most"])
    request.check()
    snapshot = service.snapshot(call.values["manifest"])
    manifest, fields = snapshot.manifest.number, fields_of(met)
    if call.values["format"] == "arrow":
        points = map_points_arrow(request, snapshot)
        n_told = int(pa.ipc.open_stream(points).schema.metadata[b"count"])
        return Answer(
            value=points, content_type=ARROW, manifest=manifest, returned=n_told, fields=fields
        )
    found = map_points(request, snapshot)
    return Answer(value=found, manifest=manifest, returned=len(found["keys"]), fields=fields)
