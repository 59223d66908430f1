"""Every series that meets conditions, in pages, in the order of a field, as the API lists them."""

from collections.abc import Sequence
from dataclasses import dataclass

from function_app.pages import conditions_json
from indexer_core.errors import InvalidInputError
from indexer_core.paging import Cursor, cursor_of, digest_of, token_of
from indexer_core.search import Hit
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.sorting import NEWEST_FIRST, Sort
from indexer_core.vector_index import VectorIndex

MAX_LISTED = 100_000
"""Series on a page, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """What is asked.

    Parameters
    ----------
    top
        Series on the page, at most.
    token
        Of the page before (`ListPage.token`); None for the first.
    """

    conditions: Conditions = ANYTHING
    sort: Sort = NEWEST_FIRST
    top: int = 100
    token: str | None = None

    def cursor(self) -> Cursor | None:
        """Where the page begins, with the manifest that answers it; None for the first page.

        Raises
        ------
        InvalidInputError
            The token is none, was altered, or belongs to another list; or `top` is out of range.
        """
        if not 1 <= self.top <= MAX_LISTED:
            raise InvalidInputError(f"a page has 1 to {MAX_LISTED} series")
        return None if self.token is None else cursor_of(self.token, self._digest)

    def token_after(self, last: Hit, manifest: int, n_before: int) -> str:
        """The token of the page behind a series."""
        cursor = Cursor(manifest=manifest, n_before=n_before, score=0.0, key=last.key)
        return token_of(cursor, self._digest)

    @property
    def _digest(self) -> str:
        return digest_of({"list": str(self.sort), **conditions_json(self.conditions)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """A page. count: of all pages together. token: of the next one, None where there is none."""

    hits: Sequence[Hit]
    count: int
    token: str | None


def list_series(request: ListRequest, index: VectorIndex) -> ListPage:
    """A page of a list from one state of an index: that of the token, where there is one.

    Raises
    ------
    InvalidInputError
        As `ListRequest.cursor`, or the state is that of another manifest.
    ManifestExpiredError
        What the page before ended with was erased since.
    """
    cursor, number = request.cursor(), index.state.number
    if cursor is not None and cursor.manifest != number:
        raise InvalidInputError(f"the page token belongs to manifest {cursor.manifest}")
    chosen = index.select(request.conditions)
    after = None if cursor is None else cursor.key
    found = chosen.in_order(request.sort, request.top + 1, after=after)
    hits = found[: request.top]
    n_told = len(hits) + (0 if cursor is None else cursor.n_before)
    is_last = len(found) <= request.top
    n_chosen = chosen.n_passed
    index.confirm()
    return ListPage(
        hits=hits,
        count=n_chosen,
        token=None if is_last else request.token_after(hits[-1], number, n_told),
    )


def uid_of(hit: Hit) -> str:
    """The Series Instance UID of a series, without unpacking its record."""
    return str(hit.segment.loaded.rows.column("seriesInstanceUid")[hit.row].as_py())
