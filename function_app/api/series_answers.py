"""Operations on series: one that is named, and all that meet conditions."""

import json
from collections.abc import Iterator
from typing import Any

from function_app.api.asked import (
    DICOM_JSON,
    FILE_TYPES,
    MAX_NAMES_BYTES,
    NEXT_TOKEN,
    UIDS,
    conditions_of_body,
    fields_of,
    format_parameter,
    linked,
    whole,
)
from function_app.api.messages import JSON, ApiError
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.schemas import (
    LIST_ANSWER,
    LIST_BODY,
    MAX_LISTED_JSON,
    SERIES_ANSWER,
    UID,
)
from function_app.api.service import Service
from function_app.series_list import MAX_LISTED, ListPage, ListRequest, list_series, uid_of
from indexer_core.cohorts.exports import dicom_json, uid_list
from indexer_core.errors import InvalidInputError
from indexer_core.named import Names
from indexer_core.record_files import FORMATS, RECORD_COLUMNS, file_of
from indexer_core.search import Hit
from indexer_core.selection import Conditions
from indexer_core.sorting import NEWEST_FIRST, parse_sort
from indexer_core.vector_index import VectorIndex

UID_PARAMETER = Parameter(
    name="uid", place="path", schema=UID, description="the series", required=True
)
NO_SERIES = "no series that is open to this caller has that UID or key"
_USUAL_TOP = 100
_WEBP = "image/webp"


def series_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="listSeries",
            method="POST",
            path="/api/series",
            summary="All series that meet conditions, in the order of a field",
            run=lambda call: _list(call, service),
            parameters=(NEXT_TOKEN, format_parameter("uids", "dicom-json")),
            body=LIST_BODY,
            max_body_bytes=MAX_NAMES_BYTES,
            answer=LIST_ANSWER,
            answer_types=(*FILE_TYPES, UIDS, DICOM_JSON),
            errors=("manifestExpired",),
        ),
        Operation(
            name="series",
            method="GET",
            path="/api/series/{uid}",
            summary="All that is known of the series with this UID or key",
            run=lambda call: _series(call, service),
            parameters=(UID_PARAMETER,),
            answer=SERIES_ANSWER,
            errors=("manifestExpired",),
        ),
        Operation(
            name="thumbnail",
            method="GET",
            path="/api/series/{uid}/thumbnail",
            summary="A small picture of the series, where one may be shown",
            run=lambda call: _thumbnail(call, service),
            parameters=(UID_PARAMETER,),
            answer_types=(_WEBP,),
            errors=("manifestExpired", "notOnThisHome"),
            nothing="there is no picture of it that may be shown",
        ),
    )


def _list(call: Call, service: Service) -> Answer:
    asked, form = call.body, call.values["format"]
    met, top = conditions_of_body(call), asked.get("top")
    most = MAX_LISTED_JSON if form == "json" else MAX_LISTED
    if top is not None and top > most:
        raise InvalidInputError(f"a page of JSON has up to {most} series; files have more")
    usual = _USUAL_TOP if form == "json" else MAX_LISTED
    request = ListRequest(
        conditions=met,
        sort=parse_sort(asked.get("sort", str(NEWEST_FIRST))),
        top=usual if top is None else int(top),
        token=call.values["token"] or asked.get("token"),
    )
    cursor = request.cursor()
    number = whole(asked.get("manifest")) if cursor is None else cursor.manifest
    index = service.searchable(number).index
    page = list_series(request, index)
    if form != "json" and top is None and page.token is not None:
        raise InvalidInputError(
            f"a file has up to {MAX_LISTED} series, these are more: narrow them, or say top"
        )
    return _answer(call, page, index, fields_of(met))


def _answer(call: Call, page: ListPage, index: VectorIndex, fields: tuple[str, ...]) -> Answer:
    manifest, form = index.state.number, call.values["format"]
    records: Iterator[dict[str, Any]] = (index.record(hit) for hit in page.hits)
    value: Any
    match form:
        case "json":
            found = {
                "value": list(records),
                "count": page.count,
                "manifest": manifest,
                "nextLink": page.token,
            }
            value, kind = linked(call, found), JSON
        case "uids":
            uids = [uid_of(hit) for hit in page.hits]
            head = (f"manifest {manifest}", f"{len(set(uids))} Series Instance UIDs")
            value, kind = uid_list(head, uids).encode(), UIDS
        case "dicom-json":
            value, kind = json.dumps([dicom_json(each) for each in records]).encode(), DICOM_JSON
        case _:
            value, kind = file_of(records, RECORD_COLUMNS, form), FORMATS[form]
    return Answer(
        value=value,
        content_type=kind,
        manifest=manifest,
        returned=len(page.hits),
        fields=fields,
    )


def _series(call: Call, service: Service) -> Answer:
    index = service.searchable().index
    hits = _named(call, index)
    manifest = index.state.number
    value = [index.record(hit) for hit in hits]
    index.confirm()
    return Answer(
        value={"value": value, "manifest": manifest, "nextLink": None},
        manifest=manifest,
        returned=len(value),
    )


def _thumbnail(call: Call, service: Service) -> Answer:
    index = service.searchable().index
    for hit in _named(call, index):
        picture = service.thumbnail(hit.segment.loaded.rows.texts.row(hit.row))
        if picture is not None:
            return Answer(
                value=picture,
                content_type=_WEBP,
                manifest=index.state.number,
                returned=1,
            )
    return Answer(value=None, content_type=_WEBP, manifest=index.state.number)


def _named(call: Call, index: VectorIndex) -> list[Hit]:
    """The series of the path's name, in the order of their keys; at least one.

    Raises
    ------
    ApiError
        There is none that is open to the caller.
    ManifestExpiredError
        Nobody knows: the state was given up while it was read.
    """
    named = Conditions(scopes=call.caller.scopes, series=Names.of([call.values["uid"]]))
    hits = list(index.select(named).listed())
    if not hits:
        index.confirm()
        raise ApiError("notFound", NO_SERIES)
    return hits
