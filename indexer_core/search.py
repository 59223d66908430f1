"""Searching what was selected: by vectors (the best text of a series counts), then by words."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.index.loaded import LiveRows, LiveSegment
from indexer_core.index.parts import Part
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, MapPoint
from indexer_core.lexical import best_possible, combine, matched_words, query_words
from indexer_core.named import Names, rows_named
from indexer_core.nearest import Near, Searched, nearest
from indexer_core.selection import PROVISIONAL, Selection, per_segment

CANDIDATES = 200
"""Series whose texts are read for exact words."""
# Above this many vectors an exact search takes half a second and more (600,000 of 512 dimensions:
# 40 ms on two cores), so that files built for it are searched approximately unless asked otherwise.
APPROXIMATE_ABOVE = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How a snapshot is searched: exactly, or so that a share of the true neighbours is found.

    recall: of the ten nearest, measured when the files were built; the lowest of all files that
    are searched approximately, 1 where all are searched exactly; None where nobody measured it.
    """

    exact: bool
    recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A series found.

    score: what it is ranked by. similarity: cosine of the best of its texts. text: the number of
    that text, None for a listing and for images. words: the query's words that its texts hold.
    """

    segment: LiveSegment
    row: int
    score: float
    text: int | None
    similarity: float = 0.0
    words: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The series key."""
        return self.segment.loaded.key(self.row)


def precision_of(
    snapshot: Snapshot, *, exact: bool | None = None, space_name: str = TEXT_SPACE
) -> Precision:
    """How to search a snapshot.

    Parameters
    ----------
    exact
        What is asked for; None: exactly up to `APPROXIMATE_ABOVE` vectors.
    """
    space = snapshot.manifest.space(space_name)
    if space is None or exact:
        return Precision(exact=True, recall=1.0)
    files = [part.vectors for part in snapshot.parts(space_name, space.live)]
    n_vectors = sum(file.n_vectors for file in files)
    recalls = [file.recall for file in files if file.recall is not None]
    if not recalls or (exact is None and n_vectors <= APPROXIMATE_ABOVE):
        return Precision(exact=True, recall=1.0)
    return Precision(exact=False, recall=min(recalls))


def search_text(
    snapshot: Snapshot,
    query: NDArray[np.float32],
    selection: Selection,
    top: int,
    *,
    exact: bool = True,
) -> list[Hit]:
    """The `top` best series for a query vector float32 (dimension,), best first.

    Ties are ordered by series key, so that a page never depends on how segments were merged.
    """
    return _search(snapshot, TEXT_SPACE, query, selection, top, exact=exact)


def search_words(
    snapshot: Snapshot,
    text: str,
    query: NDArray[np.float32],
    selection: Selection,
    top: int,
    *,
    exact: bool = True,
) -> list[Hit]:
    """As `search_text`, with exact words deciding between series that are about equally near.

    The words are looked for in the texts of the nearest series only, so the cost does not grow
    with the index. Which those are does not depend on `top`: fewer hits are the first of more.
    """
    found = search_text(snapshot, query, selection, max(top, CANDIDATES), exact=exact)
    return ranked_by_words(found, text, top)


def ranked_by_words(found: list[Hit], text: str, top: int) -> list[Hit]:
    """The `top` of the `CANDIDATES` or more nearest series, exact words deciding among those.

    found: nearest first, as many as there are up to the larger of `top` and `CANDIDATES`.
    """
    candidates, farther = found[:CANDIDATES], found[CANDIDATES:]
    words = query_words(text)
    hits: list[Hit] = []
    scores: list[float] = []  # of the best `top` so far, the least first
    for candidate in candidates:
        # Nor can any that follows, for they are farther away.
        if len(scores) == top and best_possible(candidate.similarity, words) < scores[0]:
            break
        hit = _with_words(candidate, words)
        hits.append(hit)
        insort(scores, hit.score)
        del scores[:-top]
    hits.sort(key=lambda hit: (-hit.score, hit.key))
    without = [replace(hit, score=combine(hit.similarity, words, ())) for hit in farther]
    return [*hits, *without][:top]


def search_images(
    snapshot: Snapshot,
    query: NDArray[np.float32],
    selection: Selection,
    top: int,
    *,
    exact: bool = True,
) -> list[Hit]:
    """The `top` series whose image vectors are nearest to float32 (dimension,), best first.

    Series without an image are never found; ties are ordered by series key.
    """
    found = _search(snapshot, IMAGE_SPACE, query, selection, top, exact=exact)
    return [replace(hit, text=None) for hit in found]


def listing(snapshot: Snapshot, selection: Selection) -> Iterator[Hit]:
    """Every selected series, in series-key order, without scores."""
    selected = [np.flatnonzero(mask) for mask in selection.rows]
    keys = [
        key
        for segment, rows in zip(snapshot.segments, selected, strict=True)
        for key in segment.loaded.rows.keys_at(rows)
    ]
    numbers = np.repeat(np.arange(len(selected)), [len(rows) for rows in selected])
    rows = np.concatenate([np.empty(0, np.int64), *selected])
    for place in sorted(range(len(keys)), key=keys.__getitem__):
        segment = snapshot.segments[numbers[place]]
        yield Hit(segment=segment, row=int(rows[place]), score=0.0, text=None)


def record_of(hit: Hit, snapshot: LiveRows) -> dict[str, Any]:
    """The series record of a hit, coordinates included."""
    record = hit.segment.loaded.rows.texts.record(hit.row) or {}
    point = point_of(hit, snapshot)
    if point is None:
        return {**record, "x": None, "y": None, "projectionVersion": None}
    if point.is_provisional:
        record = {**record, "flags": sorted({*record.get("flags", ()), PROVISIONAL})}
    return {**record, "x": point.x, "y": point.y, "projectionVersion": snapshot.projection_version}


def point_of(hit: Hit, snapshot: LiveRows) -> MapPoint | None:
    """Where a hit is on the map in force; None where it has no place."""
    projection = snapshot.projection_version
    return None if projection is None else hit.segment.loaded.point(projection, hit.row)


def blobs_of(hit: Hit) -> tuple[str, ...]:
    """URLs of the instances behind a hit (paths are PHI: shown only on request)."""
    return hit.segment.loaded.rows.texts.blobs(hit.row)


def keys_of(snapshot: Snapshot, uid: str) -> frozenset[str]:
    """Keys of the series that have this Series Instance UID, or have it as their key or short key.

    By columns alone, whatever the state of the rows: a removed series still has the rows that it
    had, and a series key stands for one UID for ever.
    """
    found: set[str] = set()
    rows = per_segment(snapshot, rows_named(snapshot.segments, Names.of([uid])))
    for segment, named in zip(snapshot.segments, rows, strict=True):
        found.update(segment.loaded.rows.keys_at(np.flatnonzero(named)))
    return frozenset(found)


def uids_ending_in(snapshot: Snapshot, ending: str) -> frozenset[str]:
    """Series Instance UIDs with this ending, as tables show them; of removed series, too."""
    found: set[str] = set()
    for segment in snapshot.segments:
        uids = segment.loaded.table.column("seriesInstanceUid")
        matching: pa.ChunkedArray = uids.filter(pc.fill_null(pc.ends_with(uids, ending), False))
        found.update(matching.to_pylist())
    return frozenset(found)


def check_dimension(query: NDArray[np.float32], dimension: int) -> None:
    """Refuse a query vector that does not belong to a space of this dimension.

    Raises
    ------
    InvalidInputError
        It does not.
    """
    if query.shape != (dimension,):
        raise InvalidInputError(
            f"the query has {query.shape[-1]} dimensions, the index {dimension}: "
            "it was encoded by another encoder"
        )


def _search(
    snapshot: Snapshot,
    space_name: str,
    query: NDArray[np.float32],
    selection: Selection,
    top: int,
    *,
    exact: bool,
) -> list[Hit]:
    space = snapshot.manifest.space(space_name)
    if space is None:
        return []
    check_dimension(query, space.dimension)
    parts = snapshot.parts(space_name, space.live)
    rows_of = dict(zip(snapshot.segments, selection.rows, strict=True))
    files = [
        Searched(
            file=part,
            selection=part.live
            if selection.is_all
            else part.select([rows_of[segment] for segment in part.segments]),
        )
        for part in parts
    ]
    found = nearest(query, files, top, exact=exact)
    return [_hit(parts[near.file], near) for near in found]


def _hit(part: Part, near: Near) -> Hit:
    number, row = part.place(near.row)
    return Hit(
        segment=part.segments[number],
        row=row,
        score=near.score,
        text=near.vector - int(part.starts[near.row]),
        similarity=near.score,
    )


def _with_words(hit: Hit, words: frozenset[str]) -> Hit:
    matched = matched_words(words, hit.segment.loaded.rows.texts.texts(hit.row))
    return replace(hit, score=combine(hit.similarity, words, matched), words=matched)
