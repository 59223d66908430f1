"""What each operation does: from a checked call to an answer, all of it from one manifest."""

from collections.abc import Mapping
from typing import Any

from function_app.api.asked import (
    AT,
    CONDITIONS,
    FILE_TYPES,
    MAX_NAMES_BYTES,
    NEXT_TOKEN,
    PAGE,
    conditions_of,
    conditions_of_body,
    fields_of,
    format_parameter,
    linked,
    records_answer,
    whole,
)
from function_app.api.cohort_answers import cohort_operations
from function_app.api.looks import look_operations
from function_app.api.messages import ApiError
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.points import point_operations
from function_app.api.schemas import (
    DOCUMENT,
    EXPLORER_ANSWER,
    FIELDS_COUNTED,
    HEALTH_ANSWER,
    INTERPRET,
    SEARCH_ANSWER,
    SEARCH_BODY,
    STATUS_ANSWER,
    TEXT,
    TOP,
    TRACE_ANSWER,
)
from function_app.api.series_answers import NO_SERIES, UID_PARAMETER, series_operations
from function_app.api.service import Service
from function_app.api.states import state_operations
from function_app.api.surveys import survey_operations
from function_app.facets import FacetsRequest, facets
from function_app.pages import level_of
from function_app.search import SearchRequest, search
from indexer_core import __version__
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.record_files import HIT_COLUMNS
from indexer_core.selection import Conditions

INTERPRET_PARAMETER = Parameter(
    name="interpret",
    place="query",
    schema=INTERPRET,
    description="whether the text is read for filters, too",
)
FACETS_PARAMETER = Parameter(
    name="facets",
    place="query",
    schema=FIELDS_COUNTED,
    description="fields to count over what fits; repeatable",
)
_DEFAULTS = {
    "top": TOP["default"],
    "level": "series",
    "token": None,
    "interpret": True,
    "facets": None,
    "manifest": None,
}


def operations_of(service: Service, document: dict[str, Any]) -> tuple[Operation, ...]:
    """All operations over a service; `document` is what describes them."""
    return (
        Operation(
            name="search",
            method="POST",
            path="/api/search",
            summary="Find series by describing them",
            run=lambda call: _search_posted(call, service),
            parameters=(NEXT_TOKEN, format_parameter()),
            body=SEARCH_BODY,
            max_body_bytes=MAX_NAMES_BYTES,
            answer=SEARCH_ANSWER,
            answer_types=FILE_TYPES,
            errors=("manifestExpired",),
        ),
        Operation(
            name="searchByLink",
            method="GET",
            path="/api/search",
            summary="The same as a link",
            run=lambda call: _search_linked(call, service),
            parameters=(
                Parameter(name="q", place="query", schema=TEXT, description="text", required=True),
                *PAGE,
                *CONDITIONS,
                INTERPRET_PARAMETER,
                FACETS_PARAMETER,
                AT,
                format_parameter(),
            ),
            answer=SEARCH_ANSWER,
            answer_types=FILE_TYPES,
            errors=("manifestExpired",),
        ),
        Operation(
            name="trace",
            method="GET",
            path="/api/trace/{uid}",
            summary="Every stage that a series has passed, from its files to its row",
            run=lambda call: _trace(call, service),
            parameters=(UID_PARAMETER,),
            answer=TRACE_ANSWER,
            errors=("notOnThisHome",),
        ),
        Operation(
            name="status",
            method="GET",
            path="/api/status",
            summary="What is indexed, and what is left to do",
            run=lambda call: _status(call, service),
            answer=STATUS_ANSWER,
        ),
        Operation(
            name="explorer",
            method="GET",
            path="/api/explorer",
            summary="What a page about this index has to know of the service",
            run=lambda _: Answer(value={"viewer": service.viewer, "version": __version__}),
            answer=EXPLORER_ANSWER,
        ),
        *series_operations(service),
        *state_operations(service),
        *look_operations(service),
        *survey_operations(service),
        *point_operations(service),
        *cohort_operations(service),
        Operation(
            name="health",
            method="GET",
            path="/api/health",
            summary="Whether the service runs; says nothing else",
            run=lambda _: Answer(value={"status": "ok"}),
            answer=HEALTH_ANSWER,
            is_open=True,
        ),
        Operation(
            name="openapi",
            method="GET",
            path="/api/openapi.json",
            summary="This document",
            run=lambda _: Answer(value=document),
            answer=DOCUMENT,
            is_open=True,
        ),
    )


def _search_posted(call: Call, service: Service) -> Answer:
    asked = call.body
    return _search(
        call,
        service,
        conditions_of_body(call),
        # A link is asked for by the same body: no word of it may stand in an address.
        {**_DEFAULTS, **asked, **({"token": token} if (token := call.values["token"]) else {})},
    )


def _search_linked(call: Call, service: Service) -> Answer:
    asked = call.values
    return _search(call, service, conditions_of(call), {**asked, "text": asked["q"]})


def _search(call: Call, service: Service, met: Conditions, asked: Mapping[str, Any]) -> Answer:
    request = SearchRequest(
        text=asked["text"],
        filters=met.filters,
        top=int(asked["top"]),
        level=level_of(asked["level"]),
        token=asked["token"],
        exact=service.exact,
        interpret=asked["interpret"],
        with_unknown=met.with_unknown,
        scopes=met.scopes,
        series=met.series,
    )
    request.check()
    understood = request.understood()
    cursor = understood.resumed.cursor
    number = whole(asked["manifest"]) if cursor is None else cursor.manifest
    ready = service.searchable(number)
    found = search(
        request,
        ready.index,
        ready.encoder,
        service.template_names,
        service.image_texts(ready),
        understood,
    )
    met = understood.conditions
    if asked["facets"]:
        counted = FacetsRequest(fields=tuple(asked["facets"]), conditions=met)
        found = {**found, "facets": facets(counted, ready.index)["facets"]}
    return records_answer(call, linked(call, found), HIT_COLUMNS, fields_of(met))


def _trace(call: Call, service: Service) -> Answer:
    manifest, value = service.trace(call.values["uid"], call.caller)
    if not value:
        raise ApiError("notFound", NO_SERIES)
    return Answer(
        value={"value": value, "manifest": manifest, "nextLink": None},
        manifest=manifest,
        returned=len(value),
    )


def _status(call: Call, service: Service) -> Answer:
    ready = service.searchable()
    state, manifest = ready.index.state, service.manifest()
    seen = ready.index.select(Conditions(scopes=call.caller.scopes))
    spaces = {TEXT_SPACE: state.text_encoder, IMAGE_SPACE: state.image_encoder}
    whole = {
        "segments": len(manifest.segments),
        "suppressed": len(manifest.suppressed),
        **(service.waiting() if call.caller.scopes is None else {}),
    }
    value = {
        "home": service.home_name,
        "manifest": state.number,
        "newest": ready.newest,
        "lag": ready.newest - state.number,
        "series": seen.n_passed,
        "spaces": {name: encoder for name, encoder in spaces.items() if encoder},
        "building": {space.name: space.building for space in manifest.spaces if space.building},
        "projection": state.projection_version,
        "recipe": max((recipe.number for recipe in manifest.recipes), default=0),
        "index": whole if call.caller.scopes is None else None,
    }
    return Answer(value=value, manifest=state.number)
