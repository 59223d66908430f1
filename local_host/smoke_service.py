"""The HTTP API of a deployment, asked by the standard library alone."""

import json
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from indexer_core.errors import InvalidInputError
from local_host.serve_command import is_loopback
from local_host.smoke import Answered

_TIMEOUT_S = 60.0
_MAX_BODY_BYTES = 4 << 20


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an answer: the key and the token go to no other host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


class HttpService:
    """Implements `local_host.smoke.Service`.

    Parameters
    ----------
    endpoint
        ``https://HOST``, with or without ``/api``; plain HTTP on this machine only.
    key
        A function key, or "".
    token
        A bearer token, or "".

    Raises
    ------
    InvalidInputError
        It is no such address.
    """

    def __init__(self, endpoint: str, *, key: str = "", token: str = "") -> None:
        self._address = _checked(endpoint)
        self._headers = {"accept": "application/json, application/problem+json"}
        if key:
            self._headers["x-functions-key"] = key
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._opener = build_opener(_NoRedirects)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answered:
        """Answer a request; status 0 where nobody answers."""
        headers, data = self._headers, None
        if body is not None:
            headers = {**headers, "content-type": "application/json"}
            data = json.dumps(body).encode()
        request = Request(self._address + path, data, headers, method=method)  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return _answered(response.status, response)
        except HTTPError as error:
            with error:
                return _answered(error.code, error)
        except (URLError, HTTPException, OSError) as error:
            # Its reason may be another error; neither quotes what was sent.
            reason = error.reason if isinstance(error, URLError) else error
            return Answered(status=0, body={}, code=f"no answer ({type(reason).__name__})")


def _checked(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    is_bare = parts.path.strip("/") in {"", "api"} and not parts.query and not parts.fragment
    if not host or parts.username is not None or not is_bare:
        raise InvalidInputError("--endpoint is an address such as https://NAME.azurewebsites.net")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise InvalidInputError("--endpoint begins with https:// (http:// on this machine only)")
    return f"{parts.scheme}://{parts.netloc}"


def _answered(status: int, response: HTTPResponse | HTTPError) -> Answered:
    try:
        found = json.loads(response.read(_MAX_BODY_BYTES))
    except (ValueError, HTTPException, OSError):
        found = None
    if not isinstance(found, dict):
        return Answered(status=status, body={}, code="without JSON")
    code = found.get("code")
    return Answered(status=status, body=found, code=code if isinstance(code, str) else "")
