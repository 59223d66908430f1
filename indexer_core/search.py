"""Searching one snapshot: filters, then vectors (the best text of a series counts), then words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.filters import Filter, apply_filter
from indexer_core.index.reader import LiveSegment, Snapshot
from indexer_core.index.rows import record_at, row_at
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.lexical import combine, matched_words, query_words

# Five texts per series: twice that many hits hold enough distinct series, and k costs a flat scan
# nothing. Where it was too few, the search is repeated with more.
_OVERSAMPLE = 10
# Series whose texts are read for exact words.
_CANDIDATES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows that pass all filters, per segment, with the unknowns that were left out by field."""

    rows: tuple[NDArray[np.bool_], ...]
    n_passed: int
    unknown: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A series found.

    score: what it is ranked by. similarity: cosine of the best of its texts. text: the number of
    that text, None for a listing. words: the query's words that its texts hold.
    """

    segment: LiveSegment
    row: int
    score: float
    text: int | None
    similarity: float = 0.0
    words: tuple[str, ...] = ()


def select(snapshot: Snapshot, filters: Sequence[Filter]) -> Selection:
    """Rows of a snapshot that pass all filters."""
    unknown: dict[str, int] = {}
    rows = tuple(_passing(segment, filters, unknown) for segment in snapshot.segments)
    n_passed = sum(int(mask.sum()) for mask in rows)
    return Selection(rows=rows, n_passed=n_passed, unknown=unknown)


def search_text(
    snapshot: Snapshot, query: NDArray[np.float32], selection: Selection, top: int
) -> list[Hit]:
    """The `top` best series for a query vector float32 (dimension,), best first.

    Ties are ordered by series key, so that a page never depends on how segments were merged.
    """
    return _search(snapshot, TEXT_SPACE, query, selection, top)


def search_words(
    snapshot: Snapshot, text: str, query: NDArray[np.float32], selection: Selection, top: int
) -> list[Hit]:
    """As `search_text`, with exact words deciding between series that are about equally near.

    The words are looked for in the texts of the nearest series only, so the cost does not grow
    with the index.
    """
    candidates = search_text(snapshot, query, selection, max(top, _CANDIDATES))
    words = query_words(text)
    hits = [_with_words(hit, words) for hit in candidates]
    hits.sort(key=lambda hit: (-hit.score, _key_of(hit)))
    return hits[:top]


def listing(snapshot: Snapshot, selection: Selection) -> Iterator[Hit]:
    """Every selected series, in series-key order, without scores."""
    found = [
        (segment.loaded.orders[row][0], segment, int(row))
        for segment, mask in zip(snapshot.segments, selection.rows, strict=True)
        for row in np.flatnonzero(mask)
    ]
    for _, segment, row in sorted(found, key=lambda item: item[0]):
        yield Hit(segment=segment, row=row, score=0.0, text=None)


def record_of(hit: Hit, snapshot: Snapshot) -> dict[str, Any]:
    """The series record of a hit, coordinates included."""
    record = record_at(hit.segment.loaded.table, hit.row)
    x, y, version = coordinates_of(hit, snapshot)
    return {**record, "x": x, "y": y, "projectionVersion": version}


def coordinates_of(hit: Hit, snapshot: Snapshot) -> tuple[float | None, float | None, str | None]:
    """Map coordinates of a hit with their projection version; None where it has no place."""
    projection = snapshot.manifest.projection
    if projection is None:
        return None, None, None
    loaded = hit.segment.loaded
    points = loaded.points(projection.version)
    first = loaded.first_vector(IMAGE_SPACE, hit.row)
    if points is None or first == loaded.first_vector(IMAGE_SPACE, hit.row + 1):
        return None, None, None
    x, y = points[first]
    return float(x), float(y), projection.version


def blobs_of(hit: Hit) -> tuple[str, ...]:
    """URLs of the instances behind a hit (paths are PHI: shown only on request)."""
    return row_at(hit.segment.loaded.table, hit.row).blobs


def keys_of(snapshot: Snapshot, uid: str) -> frozenset[str]:
    """Keys of the series that have this Series Instance UID, or have it as their key.

    By columns alone, whatever the state of the rows: a removed series still has the rows that it
    had, and a series key stands for one UID for ever.
    """
    found: set[str] = set()
    for segment in snapshot.segments:
        keys = segment.loaded.table.column("seriesKey")
        named = pc.or_(
            pc.equal(keys, uid),
            pc.fill_null(pc.equal(segment.loaded.table.column("seriesInstanceUid"), uid), False),
        )
        matching: pa.ChunkedArray = keys.filter(named)
        found.update(matching.to_pylist())
    return frozenset(found)


def _passing(
    segment: LiveSegment, filters: Sequence[Filter], unknown: dict[str, int]
) -> NDArray[np.bool_]:
    results = [apply_filter(segment.loaded.table, condition) for condition in filters]
    for index, (condition, result) in enumerate(zip(filters, results, strict=True)):
        # Left out for this field alone: everything else about the series fits.
        others = segment.live.copy()
        for other, passing in enumerate(results):
            if other != index:
                others &= passing.passed
        left_out = int((others & result.unknown & ~result.passed).sum())
        unknown[condition.field] = unknown.get(condition.field, 0) + left_out
    passed = segment.live.copy()
    for result in results:
        passed &= result.passed
    return passed


def _search(
    snapshot: Snapshot,
    space_name: str,
    query: NDArray[np.float32],
    selection: Selection,
    top: int,
) -> list[Hit]:
    space = snapshot.manifest.space(space_name)
    if space is None:
        return []
    if query.shape != (space.dimension,):
        raise InvalidInputError(
            f"the query has {query.shape[-1]} dimensions, the index {space.dimension}: "
            "it was encoded by another encoder"
        )
    hits = [
        hit
        for segment, mask in zip(snapshot.segments, selection.rows, strict=True)
        if mask.any()
        for hit in _in_segment(segment, space_name, space.live, query, mask, top)
    ]
    hits.sort(key=lambda hit: (-hit.score, _key_of(hit)))
    return hits[:top]


def _key_of(hit: Hit) -> str:
    return hit.segment.loaded.orders[hit.row][0]


def _with_words(hit: Hit, words: frozenset[str]) -> Hit:
    record = record_at(hit.segment.loaded.table, hit.row)
    matched = matched_words(words, record.get("texts", ()))
    return replace(hit, score=combine(hit.similarity, words, matched), words=matched)


def _in_segment(
    segment: LiveSegment,
    space: str,
    encoder_id: str,
    query: NDArray[np.float32],
    mask: NDArray[np.bool_],
    top: int,
) -> Iterator[Hit]:
    counts = segment.loaded.counts(space)
    starts = np.concatenate(([0], np.cumsum(counts)))
    owner = np.repeat(np.arange(len(counts)), counts)
    vectors = segment.loaded.vectors(space, encoder_id)
    wanted = min(top, int((mask & (counts > 0)).sum()))
    selected = vectors.select(np.repeat(mask, counts))
    k = min(_OVERSAMPLE * wanted, selected.n_selected)
    best: dict[int, tuple[float, int]] = {}
    while k:
        scores, found = vectors.search(query[None, :], k, selected)
        for score, vector in zip(scores[0], found[0], strict=True):
            row = int(owner[vector])
            best.setdefault(row, (float(score), int(vector - starts[row])))
        if len(best) >= wanted or k >= selected.n_selected:
            break
        k = min(4 * k, selected.n_selected)
    for row, (score, text) in best.items():
        yield Hit(segment=segment, row=row, score=score, text=text, similarity=score)
