"""Pages of one answer, whatever is committed between them.

The first page is answered from the newest manifest. Its token names that manifest and the last
series told, so that the next page is answered from the same manifest by what ranks behind that
series: none is told twice and none is left out, however large the pages are. Series that were
erased meanwhile are masked in every later page, too. A manifest is kept for some days; a token
that outlives it is answered by `ManifestExpiredError`.

A token is opaque and checked, not secret: it says nothing that its holder was not told, and what
the holder may see is decided anew at every page.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

from indexer_core.errors import InvalidInputError, ManifestExpiredError, NotFoundError
from indexer_core.index.reader import Reader, Snapshot

_FORMAT = 1
_CHECK_BYTES = 6
_MAX_CHARACTERS = 1024
_MAX_NUMBER = 10**15


class Ranked(Protocol):
    """What pages consist of: the higher score first, equal ones by key."""

    @property
    def score(self) -> float:
        """What it is ranked by."""

    @property
    def key(self) -> str:
        """A name that no other has."""


Item = TypeVar("Item", bound=Ranked)

Ranking = Callable[[int], Sequence[Item]]
"""The first n of an answer, best first. Those of a smaller n are the first of a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page begins: behind the item of this score and key.

    n_before: how many items the pages before have told.
    """

    manifest: int
    n_before: int
    score: float
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Items of an answer, and where the next ones begin; None where there are no more."""

    items: tuple[Item, ...]
    after: Cursor | None


def page_of(ranking: Ranking[Item], manifest: int, size: int, cursor: Cursor | None) -> Page[Item]:
    """The first page of an answer, or the one that begins at `cursor`.

    Parameters
    ----------
    manifest
        The number of the manifest that `ranking` ranks: that of the cursor where there is one.
    """
    n_before = 0 if cursor is None else cursor.n_before
    found = _behind(ranking, cursor, n_before + size + 1, size + 1)
    items = tuple(found[:size])
    if len(found) <= size:
        return Page(items=items, after=None)
    after = Cursor(
        manifest=manifest, n_before=n_before + size, score=items[-1].score, key=items[-1].key
    )
    return Page(items=items, after=after)


def _behind(
    ranking: Ranking[Item], cursor: Cursor | None, depth: int, wanted: int
) -> Sequence[Item]:
    """The items behind a cursor, as many as are wanted, if there are so many."""
    if cursor is None:
        return ranking(depth)
    while True:
        ranked = ranking(depth)
        found = _after(cursor, ranked)
        # What was erased since has moved the others forward; what was restored, back.
        if len(found) >= wanted or len(ranked) < depth:
            return found
        depth += max(wanted, depth // 2)


def _after(cursor: Cursor, ranked: Sequence[Item]) -> Sequence[Item]:
    """What follows the item that was told last; where that was erased, what ranks behind it."""
    for place, item in enumerate(ranked):
        if item.key == cursor.key:
            return ranked[place + 1 :]
    last = (-cursor.score, cursor.key)
    return [item for item in ranked if (-item.score, item.key) > last]


def digest_of(request: Mapping[str, Any]) -> str:
    """What stands for a request in its tokens; `request`: JSON of all but the page and its size."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def token_of(cursor: Cursor, digest: str) -> str:
    """The token that continues the request of this digest at a cursor."""
    said = [_FORMAT, cursor.manifest, cursor.n_before, cursor.score, cursor.key, digest]
    body = json.dumps(said, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(body) + body).rstrip(b"=").decode()


def cursor_of(token: str, digest: str) -> Cursor:
    """Where the page of a token begins.

    Raises
    ------
    InvalidInputError
        It is no token, was altered, or belongs to another request.
    """
    if len(token) > _MAX_CHARACTERS:
        raise _not_a_token()
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        check, body = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
        said = json.loads(body)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _not_a_token() from error
    if check != _check(body) or not isinstance(said, list) or not said:
        raise _not_a_token()
    if said[0] != _FORMAT:
        raise InvalidInputError("the page token is of another version: ask from the first page")
    if len(said) != 6 or said[5] != digest:
        raise InvalidInputError("the page token belongs to another question: it may not change")
    return _cursor(*said[1:5])


def _cursor(manifest: object, n_before: object, score: object, key: object) -> Cursor:
    numbers = (manifest, n_before)
    if not all(type(n) is int and 0 <= n < _MAX_NUMBER for n in numbers):
        raise _not_a_token()
    if type(score) not in (int, float) or not isinstance(key, str):
        raise _not_a_token()
    assert isinstance(manifest, int)
    assert isinstance(n_before, int)
    assert isinstance(score, int | float)
    try:
        ranked_by = float(score)
    except OverflowError as error:
        raise _not_a_token() from error
    if not math.isfinite(ranked_by):
        raise _not_a_token()
    return Cursor(manifest=manifest, n_before=n_before, score=ranked_by, key=key)


def _not_a_token() -> InvalidInputError:
    return InvalidInputError("this is not a page token: take it from the answer before, unchanged")


def _check(body: bytes) -> bytes:
    return sha256(b"page" + body).digest()[:_CHECK_BYTES]


class PastSnapshots:
    """Snapshots that later pages are answered from; the last few are kept open.

    For one thread at a time, like the reader that it takes them from.
    """

    def __init__(self, reader: Reader, *, keep: int = 4) -> None:
        """`keep`: snapshots held at once; each shares with the others what they have in common."""
        self._reader = reader
        self._keep = keep
        self._past: dict[int, Snapshot] = {}

    def at(self, number: int) -> Snapshot:
        """The snapshot of manifest `number`, without what is suppressed by now.

        Call it after the reader was refreshed for the request: what that knows to be suppressed is
        masked.

        Raises
        ------
        ManifestExpiredError
            It is not kept any more.
        """
        now = self._reader.snapshot
        if now.manifest.number == number:
            return now
        found = self._past.pop(number, None)
        if found is None or found.manifest.suppressed != now.manifest.suppressed:
            try:
                found = self._reader.at(number)
            except NotFoundError as error:
                raise ManifestExpiredError(
                    f"manifest {number} is not kept any more: ask from the first page"
                ) from error
        self._past[number] = found
        while len(self._past) > self._keep:
            del self._past[next(iter(self._past))]
        return found
