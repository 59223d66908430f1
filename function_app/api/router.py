"""From a request to a response: route, caller, checks, the operation, the audit."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from function_app.api.gate import Gate
from function_app.api.messages import (
    API_VERSIONS,
    JSON,
    VERSION,
    ApiError,
    Request,
    Response,
    json_response,
    problem_response,
    response_of,
)
from function_app.api.operations import Call, Operation
from indexer_core.access import AccessError, Caller
from indexer_core.audit import Audit, AuditRecord, hash_of, parse_purpose
from indexer_core.errors import ErrorKind, IndexerError
from indexer_core.ports import Clock

log = logging.getLogger(__name__)

MANIFEST_HEADER = "x-manifest"
"""Says which manifest an answer comes from, where a file does not."""
MAX_QUERY_CHARACTERS = 16_384

_REFUSED = frozenset({401, 403})
_TOLD = frozenset({ErrorKind.INVALID_INPUT, ErrorKind.NOT_ON_THIS_HOME})
"""Kinds of errors whose words help a caller, and are of nothing but the question."""

Authenticate = Callable[[Request], Caller]


@dataclass(slots=True)
class _Progress:
    """What the audit has to say of a request, as it gets known."""

    caller: str = ""
    purpose: str = ""
    asked: Any = None
    fields: tuple[str, ...] = ()
    returned: int = 0
    manifest: int | None = None


class Router:
    """Answers requests; safe for several threads.

    Parameters
    ----------
    authenticate
        Who a request comes from; raises `AccessError`.
    audit_key
        Key of the hashes of what was asked.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        authenticate: Authenticate,
        audit: Audit,
        audit_key: bytes,
        gate: Gate,
        clock: Clock,
    ) -> None:
        self.operations = tuple(operations)
        self._authenticate = authenticate
        self._audit = audit
        self._audit_key = audit_key
        self._gate = gate
        self._clock = clock

    def handle(self, request: Request) -> Response:
        """The answer, whatever comes; it never raises."""
        started_s = time.monotonic()
        operation: Operation | None = None
        progress = _Progress()
        try:
            operation, path = self._route(request)
            response = self._answered(operation, path, request, progress)
        except Exception as error:  # noqa: BLE001 - the last line of defence: no trace leaves the house
            if isinstance(error, AccessError):
                progress.caller = error.caller
            response = problem_response(_of_writes(operation, api_error(error)))
        if operation is not None and _is_recorded(operation, response):
            duration_ms = round(1000 * (time.monotonic() - started_s))
            response = self._recorded(operation, progress, response, duration_ms)
        return response

    def close(self) -> None:
        """Start nothing more."""
        self._gate.close()

    def _route(self, request: Request) -> tuple[Operation, dict[str, str]]:
        parts = tuple(request.path.strip("/").split("/"))
        found = [
            (each, values)
            for each in self.operations
            if (values := each.matches(parts)) is not None
        ]
        for operation, values in found:
            if operation.method == request.method:
                return operation, values
        if not found:
            raise ApiError("notFound", "there is no such path; GET /api/openapi.json lists them")
        allowed = ", ".join(sorted({each.method for each, _ in found}))
        raise ApiError("methodNotAllowed", f"this path takes {allowed}", {"allow": allowed})

    def _answered(
        self, operation: Operation, path: dict[str, str], request: Request, progress: _Progress
    ) -> Response:
        if operation.is_open:
            told = operation.run(Call(caller=Caller(id=""), path=request.path, query=(), values={}))
            return json_response(told.value)
        caller = self._authenticate(request)
        progress.caller = caller.id
        progress.purpose = parse_purpose(request.headers.get("x-purpose", ""))
        if sum(len(name) + len(value) for name, value in request.query) > MAX_QUERY_CHARACTERS:
            raise ApiError("queryTooLong", f"a query has at most {MAX_QUERY_CHARACTERS} characters")
        query = _without_version(request.query)
        values = operation.values(path, query, request.headers)
        body = _body(operation, request)
        sent = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else body
        progress.asked = {"values": values, "body": sent}
        call = Call(caller=caller, path=request.path, query=query, values=values, body=body)
        answer = self._gate.run(lambda: operation.run(call))
        progress.fields, progress.returned = answer.fields, answer.returned
        progress.manifest = answer.manifest
        headers = {} if answer.manifest is None else {MANIFEST_HEADER: str(answer.manifest)}
        if answer.value is None:
            return response_of(b"", answer.content_type, 204, headers)
        if answer.content_type == JSON:
            return json_response(answer.value, headers=headers)
        return response_of(answer.value, answer.content_type, headers=headers)

    def _recorded(
        self, operation: Operation, progress: _Progress, response: Response, duration_ms: int
    ) -> Response:
        """The response, once its record is kept; without one there is no answer."""
        asked = {"operation": operation.name, "asked": progress.asked}
        record = AuditRecord(
            time_s=self._clock.now_s(),
            caller=progress.caller,
            operation=operation.name,
            purpose=progress.purpose,
            asked="" if progress.asked is None else hash_of(asked, self._audit_key),
            fields=progress.fields,
            returned=progress.returned,
            manifest=progress.manifest,
            status=response.status,
            duration_ms=duration_ms,
        )
        log.info(
            "request operation=%s status=%d returned=%d manifest=%s duration_ms=%d",
            record.operation,
            record.status,
            record.returned,
            record.manifest,
            record.duration_ms,
        )
        try:
            self._audit.append(record)
        except Exception as error:  # noqa: BLE001 - whatever went wrong: nothing is answered unseen
            log.error("audit failed type=%s", type(error).__name__)  # noqa: TRY400 - no traceback: it may quote values
            lost = ApiError(
                "unavailable", "the request could not be recorded, so it is not answered"
            )
            return problem_response(_of_writes(operation, lost))
        return response


def _is_recorded(operation: Operation, response: Response) -> bool:
    """Whether the audit keeps a row: whoever tries tokens is seen, whatever they ask for."""
    if operation.is_open:
        return False
    return operation.is_recorded or response.status in _REFUSED


def _of_writes(operation: Operation | None, error: ApiError) -> ApiError:
    """The error; of what may have been written, one after which nobody asks again blindly."""
    if operation is None or not operation.writes or error.code not in {"timeLimit", "unavailable"}:
        return error
    return ApiError("unknownOutcome", error.detail)


def api_error(error: Exception) -> ApiError:
    """What a caller is told of an error: its code, and in words only what they did wrong."""
    match error:
        case ApiError():
            return error
        case AccessError():
            challenge = {"www-authenticate": "Bearer"} if error.refusal == "unauthenticated" else {}
            return ApiError(error.refusal.value, str(error), challenge)
        case IndexerError():
            told = str(error) if error.kind in _TOLD else None
            return ApiError(error.kind.value, told)
        case _:
            log.error("request failed type=%s", type(error).__name__)
            return ApiError("internal")


def _without_version(query: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    versions = [value for name, value in query if name == VERSION]
    if any(version not in API_VERSIONS for version in versions):
        raise ApiError("unsupportedApiVersion", f"{VERSION} is one of {', '.join(API_VERSIONS)}")
    return tuple((name, value) for name, value in query if name != VERSION)


def _body(operation: Operation, request: Request) -> Any:
    if operation.body is None:
        if request.body:
            raise ApiError("invalidInput", "this takes no body")
        return None
    if len(request.body) > operation.max_body_bytes:
        raise ApiError("tooLarge", f"a body has at most {operation.max_body_bytes} bytes")
    if not request.body:
        raise ApiError("invalidInput", "a body is missing")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in operation.body_types:
        raise ApiError("unsupportedMediaType", f"send {' or '.join(operation.body_types)}")
    if kind != JSON:
        return request.body
    body = parse_json(request.body)
    operation.check_body(body)
    return body


def parse_json(data: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, and no NaN.

    Raises
    ------
    ApiError
        It is something else.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
        # A lone surrogate is no character, and what is infinite no number, however it is written.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError("invalidInput", "the body is not JSON") from error
    return value


def _refuse(_constant: str) -> NoReturn:
    raise ValueError
