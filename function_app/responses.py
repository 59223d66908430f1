"""HTTP answers: camelCase JSON, and RFC 9457 problem documents with a stable code."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func

from indexer_core.errors import ErrorKind, IndexerError

log = logging.getLogger(__name__)

_STATUS = {
    ErrorKind.INVALID_INPUT: 400,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.UNKNOWN_OUTCOME: 503,
    ErrorKind.CORRUPT_INDEX: 500,
    ErrorKind.MANIFEST_EXPIRED: 410,
    ErrorKind.IMAGE_ENCODER_UNAVAILABLE: 501,
}
_TITLES = {
    400: "The request cannot be answered as it is",
    404: "Not found",
    409: "Others were faster, try again",
    410: "The answer is no longer kept, ask again from its first page",
    500: "The index is damaged or the service has a fault",
    501: "This service lacks the encoder that the question needs",
    503: "The service cannot answer now, try again later",
}


def json_response(value: Mapping[str, Any], status: int = 200) -> func.HttpResponse:
    """A JSON answer."""
    body = json.dumps(value, ensure_ascii=False)
    return func.HttpResponse(body, status_code=status, mimetype="application/json")


def problem(status: int, code: str, detail: str | None = None) -> func.HttpResponse:
    """A problem document (RFC 9457)."""
    body = {"type": "about:blank", "title": _TITLES[status], "status": status, "code": code}
    if detail is not None:
        body["detail"] = detail
    return func.HttpResponse(
        json.dumps(body), status_code=status, mimetype="application/problem+json"
    )


def answer(handle: Callable[[], Mapping[str, Any]]) -> func.HttpResponse:
    """Run a handler; errors become problem documents, bugs one without any detail."""
    try:
        return json_response(handle())
    except IndexerError as error:
        status = _STATUS[error.kind]
        # Only what the caller did wrong is told in words; other messages may name what is inside.
        return problem(status, error.kind.value, str(error) if status == 400 else None)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no trace leaves the house
        log.error("request failed type=%s", type(error).__name__)  # noqa: TRY400 - no traceback: it may quote a query
        return problem(500, "internal")
