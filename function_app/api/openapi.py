"""The OpenAPI 3.1 document, made from the operations."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from function_app.api.messages import API_VERSIONS, CODES, JSON, VERSION
from function_app.api.messages import PROBLEM as PROBLEM_TYPE
from function_app.api.operations import Operation, Parameter
from function_app.api.router import MANIFEST_HEADER
from function_app.api.schemas import PROBLEM
from indexer_core import __version__

_DESCRIPTION = (
    "Finds DICOM series in plain language. Research software, not for diagnosis. Answers hold what "
    "headers say of patients, without names and ids; each comes from one manifest, and tells only "
    "of the scopes that are open to the caller."
)
_ANY = (
    *("invalidInput", "unsupportedApiVersion", "unauthenticated", "forbidden", "groupsOverage"),
    *("notFound", "queryTooLong", "misdirected", "headersTooLarge", "internal", "corruptIndex"),
    *("unavailable", "unknownOutcome", "busy", "timeLimit", "conflict"),
)
_WITH_BODY = ("tooLarge", "unsupportedMediaType")
_OPEN = ("misdirected", "headersTooLarge", "invalidInput", "internal")
_VERSION = Parameter(
    name=VERSION,
    place="query",
    schema={"type": "string", "enum": list(API_VERSIONS), "default": API_VERSIONS[-1]},
    description="version of the API",
)
_PURPOSE = Parameter(
    name="x-purpose",
    place="header",
    schema={"type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9 ._/-]{0,63})?$"},
    description="what the request is for; kept in the audit record",
)


def document_of(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dicom-indexer",
            "version": API_VERSIONS[-1],
            "summary": f"dicom-indexer {__version__}",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = operation.parameters
    if not operation.is_open:
        parameters = (*parameters, _VERSION, _PURPOSE)
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(each) for each in parameters],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        content = {kind: {"schema": operation.body} for kind in operation.body_types}
        told["requestBody"] = {"required": True, "content": content}
    if operation.is_open:
        told["security"] = []
    return told


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required or parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer is not None:
        content[JSON] = {"schema": operation.answer}
    for kind in operation.answer_types:
        schema = {} if kind.endswith("json") else {"type": "string"}
        content[kind.partition(";")[0]] = {"schema": schema}
    responses: dict[str, Any] = {
        "200": {"description": "OK", "headers": _headers(), "content": content}
    }
    if operation.nothing:
        responses["204"] = {"description": operation.nothing, "headers": _headers()}
    common = _OPEN if operation.is_open else _ANY
    if operation.body is not None:
        common = (*common, *_WITH_BODY)
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*common, *operation.errors)):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": f"{_phrase(status)}: {', '.join(codes)}",
            "headers": _headers(),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return responses


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _headers() -> Mapping[str, Any]:
    return {
        VERSION: {"required": True, "schema": {"type": "string"}},
        MANIFEST_HEADER: {"schema": {"type": "string"}, "description": "as in the body"},
    }
