"""Requests and responses as every host translates them, and problem documents (RFC 9457)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
PROBLEM = "application/problem+json"

API_VERSIONS = ("2026-12-01",)
"""Dates of the versions that are answered, the newest last."""
VERSION = "api-version"

# Answers hold patient data, and nothing in them is for a browser to run or to guess at.
SECURITY_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent.

    path: percent-decoded, from the first slash on. query: names and values in the order in which
    they came. headers: by lower-case name.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What goes back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A kind of problem: its status, and what it is called whatever the request was."""

    status: int
    title: str


CODES: Mapping[str, Code] = {
    "invalidInput": Code(status=400, title="The request cannot be answered as it is"),
    "unsupportedApiVersion": Code(status=400, title="This version of the API is not known"),
    "unauthenticated": Code(status=401, title="Sign in first"),
    "forbidden": Code(status=403, title="Not open to this caller"),
    "groupsOverage": Code(status=403, title="The token does not list the caller's groups"),
    "notFound": Code(status=404, title="Not found"),
    "methodNotAllowed": Code(status=405, title="This path does not take this method"),
    "conflict": Code(status=409, title="Others were faster, try again"),
    "manifestExpired": Code(status=410, title="The state of the index asked for has expired"),
    "tooLarge": Code(status=413, title="The request is too large"),
    "queryTooLong": Code(status=414, title="The address is too long"),
    "unsupportedMediaType": Code(status=415, title="The body is in a format that is not taken"),
    "misdirected": Code(status=421, title="This server does not answer for that host"),
    "headersTooLarge": Code(status=431, title="The headers are too large"),
    "internal": Code(status=500, title="The service has a fault"),
    "corruptIndex": Code(status=500, title="The index is damaged"),
    "imageEncoderUnavailable": Code(status=501, title="No image encoder can answer this"),
    "notOnThisHome": Code(status=501, title="The index has to be asked in its first home"),
    "notImplemented": Code(status=501, title="Not implemented"),
    "unavailable": Code(status=503, title="The service cannot answer now, try again later"),
    "unknownOutcome": Code(status=503, title="It is not known whether that took place, look again"),
    "busy": Code(status=503, title="Too many requests at once, try again later"),
    "timeLimit": Code(status=503, title="This took too long"),
}
"""Stable codes, append-only."""

RETRY_AFTER_S = 2


class ApiError(Exception):
    """A request that ends in a problem document.

    `detail` is shown to the caller: it never repeats what they sent.
    """

    def __init__(
        self, code: str, detail: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return response_of(body, JSON, status, headers)


def response_of(
    body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of any kind."""
    told = {
        "content-type": content_type,
        VERSION: API_VERSIONS[-1],
        **SECURITY_HEADERS,
        **(headers or {}),
    }
    return Response(status=status, headers=told, body=body)


def problem_response(error: ApiError) -> Response:
    """The problem document of an error."""
    code = CODES[error.code]
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": code.title,
        "status": code.status,
        "code": error.code,
    }
    if error.detail is not None:
        document["detail"] = error.detail
    headers = dict(error.headers)
    if code.status == 503:
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    return response_of(body, PROBLEM, code.status, headers)
