"""The page and the API over HTTP on one machine: waitress, and what keeps errors problem documents.

Waitress reads all connections in one loop, so slow clients cost no threads; requests that are
complete run on a few. Three of its classes are narrowed here: what cannot be parsed is answered as
everything else is; each path has its own largest body; and a request that is too large is read and
dropped up to a bound, for a client that is still sending would not see the answer.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from function_app.api.messages import ApiError, Request, Response, problem_response
from function_app.api.router import Router
from function_app.page import Page
from indexer_core.errors import InvalidInputError

THREADS = 32
MAX_BODY_BYTES = 65_536
MAX_HEADER_BYTES = 65_536
CONNECTIONS = 200
_IDLE_S = 20
_DROPPED_BYTES = 64 << 20
_MAX_PARAMETERS = 256
_CODES = {
    400: "invalidInput",
    413: "tooLarge",
    431: "headersTooLarge",
    500: "internal",
    501: "notImplemented",
}

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """The page, and the router for the rest, as a WSGI application for its own host names only.

    A page that has its name point to this machine (DNS rebinding) sends that name. None: for any,
    where a token keeps such pages out.
    """

    def __init__(self, router: Router, page: Page, hosts: Collection[str] | None) -> None:
        self._router = router
        self._page = page
        self._hosts = None if hosts is None else frozenset(hosts)

    def __call__(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        response = self._response(environ)
        status = HTTPStatus(response.status)
        headers = list(response.headers.items())
        if environ["REQUEST_METHOD"] == "HEAD":
            headers.append(("content-length", str(len(response.body))))
            start(f"{status.value} {status.phrase}", headers)
            return []
        start(f"{status.value} {status.phrase}", headers)
        return [response.body]

    def _response(self, environ: Mapping[str, Any]) -> Response:
        host = _host_of(environ.get("HTTP_HOST", ""))
        if self._hosts is not None and host not in self._hosts:
            return problem_response(ApiError("misdirected"))
        try:
            request = _request(environ)
        except ValueError:
            return problem_response(ApiError("invalidInput", "the address cannot be read"))
        return self._page.answer(request) or self._router.handle(request)


def _host_of(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0][1:].lower()
    return header.partition(":")[0].lower()


def _request(environ: Mapping[str, Any]) -> Request:
    """What a client sent; ValueError where its address is not UTF-8 or has too many parameters."""
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if kind := environ.get("CONTENT_TYPE"):
        headers["content-type"] = str(kind)
    query = parse_qsl(
        environ.get("QUERY_STRING", ""),
        keep_blank_values=True,
        errors="strict",
        max_num_fields=_MAX_PARAMETERS,
    )
    return Request(
        method=str(environ["REQUEST_METHOD"]),
        path=environ["PATH_INFO"].encode("latin-1").decode(),
        query=tuple(query),
        headers=headers,
        body=environ["wsgi.input"].read(),
    )


class _ProblemTask(ErrorTask):  # type: ignore[misc] # waitress has no types
    def execute(self) -> None:
        error = self.request.error
        response = problem_response(ApiError(_CODES.get(error.code, "invalidInput")))
        status = HTTPStatus(response.status)
        self.status = f"{status.value} {status.phrase}"
        self.response_headers.extend(response.headers.items())
        self.set_close_on_finish()
        self.content_length = len(response.body)
        self.write(response.body)


class _Parser(HTTPRequestParser):  # type: ignore[misc] # waitress has no types
    """Reads one request. What is refused for its size is read on and dropped, up to a bound."""

    error: Any = None
    expect_continue: bool = False
    _limit = 0
    _end = b""
    _left = 0
    _seen = b""

    def received(self, data: bytes) -> int:
        if self._left > 0:
            return self._drop(data)
        taken = int(super().received(data))
        if self.error is None and self.body_bytes_received > self._limit:
            self.error = RequestEntityTooLarge("")
        if self.error is not None:
            self._refuse(data[taken:])
            return len(data)
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address such as http://[ is none
            raise ParsingError("the request cannot be read") from error
        self._limit = self.adj.limit_of(self.path)
        if self.content_length > self._limit:
            self.error = RequestEntityTooLarge("")

    def _refuse(self, rest: bytes) -> None:
        """Decide how much is still to come, and whether it is worth reading."""
        self.completed = True
        if self.expect_continue:  # nothing comes before it is asked for
            self.expect_continue = False
        elif not isinstance(self.error, RequestEntityTooLarge | RequestHeaderFieldsTooLarge):
            return
        elif isinstance(self.error, RequestHeaderFieldsTooLarge):
            self._left, self._end, self.completed = _DROPPED_BYTES, b"\r\n\r\n", False
        elif self.chunked:
            self._left, self._end, self.completed = _DROPPED_BYTES, b"\r\n0\r\n\r\n", False
        elif 0 < self.content_length - self.body_bytes_received <= _DROPPED_BYTES:
            self._left, self.completed = self.content_length - self.body_bytes_received, False
        if not self.completed:
            self._drop(rest)

    def _drop(self, data: bytes) -> int:
        self._left -= len(data)
        seen = self._seen + data
        self.completed = self._left <= 0 or bool(self._end and self._end in seen)
        self._seen = seen[-len(self._end) :] if self._end else b""
        return len(data)


class _Channel(HTTPChannel):  # type: ignore[misc] # waitress has no types
    parser_class = _Parser
    error_task_class = _ProblemTask


class _TcpServer(TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    channel_class = _Channel


class Server:
    """Listens from the moment that it is made; port 0 takes any that is free.

    Raises
    ------
    InvalidInputError
        Nobody can listen there, or somebody does.
    """

    def __init__(
        self, router: Router, page: Page, host: str, port: int, *, hosts: Collection[str] | None
    ) -> None:
        limits = [each for each in router.operations if each.body is not None]

        def limit_of(path: str) -> int:
            parts = tuple(path.strip("/").split("/"))
            found = [each.max_body_bytes for each in limits if each.matches(parts) is not None]
            return max(found, default=MAX_BODY_BYTES)

        try:
            adjustments = Adjustments(
                host=host,
                port=port,
                threads=THREADS,
                ident=None,
                connection_limit=CONNECTIONS,
                channel_timeout=_IDLE_S,
                cleanup_interval=5,
                max_request_header_size=MAX_HEADER_BYTES,
                max_request_body_size=max(each.max_body_bytes for each in limits) + 1,
                log_socket_errors=False,
            )
            adjustments.limit_of = limit_of
            dispatcher = ThreadedTaskDispatcher()
            dispatcher.set_thread_count(THREADS)
            self._server = _TcpServer(
                Application(router, page, hosts),
                {},
                dispatcher=dispatcher,
                adj=adjustments,
                sockinfo=adjustments.listen[0],
            )
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"{host}:{port} cannot be listened on: take another --port"
            ) from error
        # It quotes addresses.
        logging.getLogger("waitress").setLevel(logging.CRITICAL)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.effective_port)

    def run(self) -> None:
        """Answer until it is interrupted or closed."""
        self._server.run()

    def close(self) -> None:
        """Stop listening, and let go of the threads."""
        self._server.close()
        self._server.task_dispatcher.shutdown(timeout=5)
