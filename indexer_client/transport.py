"""Requests: who asks, what is tried again, and what refusals become."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from indexer_client.errors import ApiProblemError, UnreachableError

_ATTEMPTS = 4
_MOST_WAIT_S = 30.0
_BUSY = 503
_UNKNOWN_OUTCOME = "unknownOutcome"


class Transport:
    """Asks one service.

    Parameters
    ----------
    address
        Of the service, without ``/api``.
    key
        A function key.
    token
        Gives a bearer token (Entra ID), asked for before every request.
    purpose
        Why questions are asked; the service keeps it with its record of who asked.
    wait
        Waits for so many seconds before a request is made again.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        token: Callable[[], str] | None = None,
        purpose: str | None = None,
        timeout_s: float = 60.0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"accept": "application/json, application/problem+json"}
        if key is not None:
            headers["x-functions-key"] = key
        if purpose is not None:
            headers["x-purpose"] = purpose
        self._token = token
        self._wait = wait
        self._client = httpx.Client(
            base_url=address.rstrip("/"), headers=headers, timeout=timeout_s
        )

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        data: bytes | None = None,
        kind: str | None = None,
    ) -> Any:
        """The JSON of an answer.

        Parameters
        ----------
        query
            None and empty values are left out; a list is a name given several times.
        body
            JSON to send.
        data, kind
            Bytes to send instead, and their media type.

        Raises
        ------
        ApiProblemError
            The service refused.
        UnreachableError
            It was not reached.
        """
        response = self.request(method, path, query=query, body=body, data=data, kind=kind)
        try:
            return response.json()
        except ValueError as error:
            raise UnreachableError(
                "the answer is not JSON: is this the address of the API?"
            ) from error

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        data: bytes | None = None,
        kind: str | None = None,
    ) -> httpx.Response:
        """A response that went well; see `json`."""
        asked = (query or {}).items()
        given = {name: value for name, value in asked if value not in (None, (), [])}
        headers = {} if kind is None else {"content-type": kind}
        for attempt in range(_ATTEMPTS):
            if self._token is not None:
                headers["authorization"] = f"Bearer {self._token()}"
            try:
                response = self._client.request(
                    method, path, params=given or None, json=body, content=data, headers=headers
                )
            except httpx.HTTPError as error:
                raise UnreachableError(
                    f"the service was not reached: {type(error).__name__}"
                ) from error
            # Told so by the service: nothing was done, and it may be asked again.
            is_busy = response.status_code == _BUSY and _problem(response).code != _UNKNOWN_OUTCOME
            if not is_busy or attempt == _ATTEMPTS - 1:
                break
            self._wait(_seconds(response.headers.get("retry-after"), attempt))
        if response.is_success:
            return response
        raise _problem(response)


def _seconds(told: str | None, attempt: int) -> float:
    """How long to wait: as told, or twice as long every time."""
    try:
        return min(max(float(told or ""), 0.0), _MOST_WAIT_S)
    except ValueError:
        return min(2.0**attempt, _MOST_WAIT_S)


def _problem(response: httpx.Response) -> ApiProblemError:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        found = {}
    return ApiProblemError(
        response.status_code,
        str(found.get("code", "unknown")),
        str(found.get("title", response.reason_phrase)),
        str(found.get("detail", "")),
    )
