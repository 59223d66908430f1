"""Operations that find series by how they look: like another one, or like an uploaded picture."""

from typing import Any

from function_app.api.asked import (
    CONDITIONS,
    PAGE,
    conditions_of,
    fields_of,
    linked,
    n_told,
    page_of_call,
)
from function_app.api.messages import ApiError
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.schemas import SIMILAR_ANSWER, TEXT, UID
from function_app.api.service import Service
from function_app.pages import cursor_of_page
from function_app.pixels_search import PixelsSearchRequest, pixels_search
from function_app.similar import SimilarRequest, UploadRequest, similar, similar_to_upload
from indexer_core.selection import Conditions
from indexer_core.uploads import MAX_UPLOAD_BYTES

_UPLOADS = ("application/dicom", "image/png", "image/jpeg", "application/octet-stream")


def look_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="similar",
            method="GET",
            path="/api/series/{uid}/similar",
            summary="Series that look like one that is indexed",
            run=lambda call: _similar(call, service),
            parameters=(
                Parameter(
                    name="uid", place="path", schema=UID, description="the series", required=True
                ),
                *CONDITIONS,
                *PAGE,
            ),
            answer=SIMILAR_ANSWER,
            errors=("manifestExpired",),
        ),
        Operation(
            name="pictured",
            method="GET",
            path="/api/similar",
            summary="Series whose pictures look like what words say, where one model knows both",
            run=lambda call: _pictured(call, service),
            parameters=(
                Parameter(name="q", place="query", schema=TEXT, description="text", required=True),
                Parameter(
                    name="withTexts",
                    place="query",
                    schema={"type": "boolean", "default": True},
                    description="whether series are ranked by their texts as well",
                ),
                *CONDITIONS,
                *PAGE,
            ),
            answer=SIMILAR_ANSWER,
            errors=("manifestExpired", "imageEncoderUnavailable"),
        ),
        Operation(
            name="similarToUpload",
            method="POST",
            path="/api/similar",
            summary="Series that look like a DICOM, PNG or JPEG file; nothing of it is kept",
            run=lambda call: _uploaded(call, service),
            parameters=(*CONDITIONS, *PAGE),
            body={"type": "string", "format": "binary", "minLength": 1},
            body_types=_UPLOADS,
            max_body_bytes=MAX_UPLOAD_BYTES,
            answer=SIMILAR_ANSWER,
            errors=("manifestExpired", "imageEncoderUnavailable"),
        ),
    )


def _similar(call: Call, service: Service) -> Answer:
    met, page = conditions_of(call), page_of_call(call)
    request = SimilarRequest(uid=call.values["uid"], conditions=met, page=page, exact=service.exact)
    cursor = cursor_of_page(page, request.question)
    ready = service.searchable(None if cursor is None else cursor.manifest)
    return _answer(call, similar(request, ready.index), met)


def _pictured(call: Call, service: Service) -> Answer:
    met, page = conditions_of(call), page_of_call(call)
    request = PixelsSearchRequest(
        text=call.values["q"],
        conditions=met,
        page=page,
        with_texts=call.values["withTexts"],
        exact=service.exact,
    )
    request.check()
    cursor = cursor_of_page(page, request.question)
    ready = service.searchable(None if cursor is None else cursor.manifest)
    tower = service.image_texts(ready)
    found = pixels_search(request, ready.index, tower, ready.encoder, service.template_names)
    return _answer(call, {**found, "like": []}, met)


def _uploaded(call: Call, service: Service) -> Answer:
    if service.uploads is None:
        raise ApiError("imageEncoderUnavailable", "this program does not look at pictures")
    met, page = conditions_of(call), page_of_call(call)
    request = UploadRequest(data=call.body, conditions=met, page=page, exact=service.exact)
    cursor = cursor_of_page(page, request.question)
    ready = service.searchable(None if cursor is None else cursor.manifest)
    return _answer(call, similar_to_upload(request, ready.index, service.uploads), met)


def _answer(call: Call, found: dict[str, Any], met: Conditions) -> Answer:
    return Answer(
        value=linked(call, found),
        manifest=found["manifest"],
        returned=n_told(found["value"]),
        fields=fields_of(met),
    )
