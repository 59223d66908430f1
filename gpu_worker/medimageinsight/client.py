"""Requests to an online endpoint of Azure Machine Learning, tried again while that makes sense.

What an endpoint answers: 200; 401 and 403 (key or token), 404 (no deployment), 408 and 504 (the
model took too long), 413 (too large), 424 (the model's container failed; its own status is in a
header), 429 (too many requests, with or without Retry-After), 502 and 503 (starting, scaling).
"""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from math import isfinite
from typing import Any

import httpx
import numpy as np

from gpu_worker.medimageinsight.credentials import Credential
from gpu_worker.medimageinsight.wire import (
    DIMENSION,
    Answer,
    Column,
    MalformedAnswerError,
    RefusedError,
    parse_answer,
    request_of,
)
from indexer_core.errors import InvalidInputError, UnavailableError

log = logging.getLogger(__name__)

_OK = 200
_TOO_LARGE = 413
_MODEL_FAILED = 424
_UNAUTHORISED = (401, 403)
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_MODEL_STATUS = "ms-azureml-model-error-statuscode"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """An endpoint and how it is used.

    Parameters
    ----------
    url
        The scoring URI. Only https, except on this very machine.
    deployment
        One deployment of the endpoint, "" for whichever its traffic rules choose.
    max_images, max_texts
        Rows per request: Azure takes a thousand, its documentation advises dozens. Eight pictures
        of 480 x 480 are at most 2.5 MB.
    concurrency
        Requests at a time; a deployment of MedImageInsight takes three per instance.
    connect_s, answer_s
        The deployment itself gives up after 90 seconds.
    max_tries, patience_s
        Of one request: how often it is tried, and how long it waits between tries altogether.
    first_pause_s, longest_pause_s
        Pauses double from the first to the longest, each drawn at random below that.
    """

    url: str
    deployment: str = ""
    max_images: int = 8
    max_texts: int = 64
    concurrency: int = 4
    connect_s: float = 10.0
    answer_s: float = 100.0
    max_tries: int = 10
    patience_s: float = 180.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True)
class _Again:
    """Not this time: why, and after how many seconds the other side wants to be asked again."""

    reason: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _TooLarge:
    """The request must be split."""


def checked_url(url: str) -> str:
    """The URL, where a key may be sent to it.

    Raises
    ------
    InvalidInputError
        It is none, names a user, or is not encrypted.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInputError("the endpoint is no URL") from error
    if not parsed.host or parsed.userinfo:
        raise InvalidInputError("the endpoint is a URL like https://HOST/score, without a user")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and is_loopback(url)):
        raise InvalidInputError("the endpoint must be https: pictures and the key are sent to it")
    return url


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this very machine."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class EndpointClient:
    """Sends rows; belongs to one event loop.

    Parameters
    ----------
    credential
        None: the endpoint asks for nothing.
    sleep, jitter
        Pauses, and random numbers in [0, 1).
    """

    def __init__(
        self,
        settings: EndpointSettings,
        credential: Credential | None,
        *,
        dimension: int = DIMENSION,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._credential = credential
        self._dimension = dimension
        self._sleep = sleep
        self._jitter = jitter
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.answer_s, connect=settings.connect_s),
            limits=httpx.Limits(max_connections=settings.concurrency),
            # A redirect would take the key along.
            follow_redirects=False,
        )
        self._url = checked_url(settings.url)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, column: Column, rows: Sequence[Sequence[str]]) -> Answer:
        """The answer to any number of rows, in order, asked in several requests at a time.

        Raises
        ------
        UnavailableError
            It does not answer now.
        RefusedError
            It will not answer however often it is asked.
        UnusableVectorError
            It has no vector for one of the rows.
        """
        size = self._settings.max_images if column == "image" else self._settings.max_texts
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        tasks = [asyncio.ensure_future(self._ask_part(column, part)) for part in parts]
        try:
            return _joined(await asyncio.gather(*tasks), self._dimension)
        finally:
            for task in tasks:
                task.cancel()  # the others, where one has failed

    async def _ask_part(self, column: Column, rows: Sequence[Sequence[str]]) -> Answer:
        async with self._slots:
            answer = await self._insist(column, rows)
        if isinstance(answer, Answer):
            return answer
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return _joined([await self._ask_part(column, half) for half in halves], self._dimension)

    async def _insist(self, column: Column, rows: Sequence[Sequence[str]]) -> Answer | _TooLarge:
        settings = self._settings
        waited_s, reason = 0.0, ""
        for number in range(settings.max_tries):
            outcome = await self._try(column, rows)
            if not isinstance(outcome, _Again):
                return outcome
            reason = outcome.reason
            pause_s = max(self._pause_s(number), outcome.after_s)
            waited_s += pause_s
            if number + 1 == settings.max_tries or waited_s > settings.patience_s:
                break
            log.info("endpoint asked again reason=%s pause_s=%.1f", reason, pause_s)
            await self._sleep(pause_s)
        raise UnavailableError(f"the MedImageInsight endpoint does not answer now ({reason})")

    def _pause_s(self, number: int) -> float:
        """Full jitter: those that were turned away together must not come back together."""
        longest_s = min(self._settings.first_pause_s * 2.0**number, self._settings.longest_pause_s)
        return longest_s * self._jitter()

    async def _try(
        self, column: Column, rows: Sequence[Sequence[str]]
    ) -> Answer | _Again | _TooLarge:
        response = await self._post(request_of(rows))
        if isinstance(response, _Again):
            return response
        status = response.status_code
        if status == _MODEL_FAILED:
            status = _number(response.headers.get(_MODEL_STATUS, ""), 500)
        if status in _PASSING:
            return _Again(f"status {status}", _retry_after_s(response))
        if status == _TOO_LARGE and len(rows) > 1:
            return _TooLarge()
        if status != _OK:
            raise RefusedError(_refusal(status))
        try:
            return parse_answer(response.content, column, len(rows), self._dimension)
        except MalformedAnswerError as error:
            return _Again(str(error))

    async def _post(self, body: dict[str, Any]) -> httpx.Response | _Again:
        """The response; shown the credential anew, once, where it was refused."""
        for anew in (False, True):
            headers = await self._headers(anew=anew)
            try:
                response = await self._http.post(
                    self._url, content=json.dumps(body).encode(), headers=headers
                )
            except httpx.RequestError as error:
                # Only the kind: the text may hold the address.
                return _Again(type(error).__name__)
            if response.status_code not in _UNAUTHORISED or self._credential is None:
                return response
        return response

    async def _headers(self, *, anew: bool) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._settings.deployment:
            headers["azureml-model-deployment"] = self._settings.deployment
        if self._credential is not None:
            try:
                secret = await asyncio.to_thread(self._credential.secret, anew=anew)
            except InvalidInputError as error:
                # No key is no fault of what is asked about.
                raise RefusedError(str(error)) from error
            headers["Authorization"] = f"Bearer {secret}"
        return headers


def _refusal(status: int) -> str:
    if status in _UNAUTHORISED:
        why = "it refuses the key or token: set the key of this endpoint, or give this program's "
        why += "identity the right to use it"
    elif status == 404:
        why = "there is nothing at this address: take the scoring URI from the endpoint's page, "
        why += "and see that a deployment gets its traffic"
    elif status in range(300, 400):
        why = "it answers with a redirect: give the address that it leads to"
    else:
        why = "it does not understand the request: it is not MedImageInsight"
    return f"the MedImageInsight endpoint answers {status}: {why}"


def _retry_after_s(response: httpx.Response) -> float:
    """Seconds that the other side asks to wait: a number, or until a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return 0.0
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if isfinite(seconds) else 0.0


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else default


def _joined(answers: Sequence[Answer], dimension: int) -> Answer:
    vectors = [answer.vectors for answer in answers]
    scales = [answer.scale for answer in answers if answer.scale is not None]
    return Answer(
        vectors=np.concatenate([np.empty((0, dimension), dtype=np.float32), *vectors]),
        scale=scales[0] if scales else None,
    )
