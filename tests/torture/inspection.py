"""Checks that a reader makes while it goes on, and the oracle in the end."""

from collections.abc import Iterable, Iterator, Mapping

from indexer_core.index.loaded import LoadedSegment
from indexer_core.index.manifest import Manifest
from indexer_core.index.rows import IndexRow, rows_of
from indexer_core.index.write_ids import is_behind
from tests.torture.content import IMAGE_ENCODER, PURGED, TEXT_ENCODER, content_of, differences

Order = tuple[int, int, str]
Best = tuple[Order, bool]
"""Place of the row in force in the order of its series, and whether it is no tombstone."""


def check_segment(loaded: LoadedSegment, manifest: Manifest) -> Iterator[str]:
    """Every row of a segment with its vectors and coordinates, bit by bit."""
    texts = loaded.vectors("text", TEXT_ENCODER).reconstruct()
    images = loaded.vectors("image", IMAGE_ENCODER).reconstruct()
    assert manifest.projection is not None
    points = loaded.points(manifest.projection.version)
    n_texts = n_images = 0
    for row in rows_of(loaded.table):
        yield from (f"{loaded.segment.id}: {wrong}" for wrong in _check_row(row))
        content = content_of(row)
        own_texts = texts[n_texts : n_texts + row.text_count]
        own_images = images[n_images : n_images + row.image_count]
        if own_texts.tobytes() != content.stored_texts():
            yield f"{loaded.segment.id}: text vectors of {content} are not as written"
        if own_images.tobytes() != content.stored_image():
            yield f"{loaded.segment.id}: the image vector of {content} is not as written"
        if row.image_count:
            assert points is not None
            point = points.xy[n_images : n_images + 1].tobytes()
            if point != content.stored_point():
                yield f"{loaded.segment.id}: coordinates of {content} are not as published"
        n_texts += row.text_count
        n_images += row.image_count
    if n_texts != len(texts) or n_images != len(images):
        yield f"{loaded.segment.id}: more vectors than its rows have"


def _check_row(row: IndexRow) -> Iterator[str]:
    content = content_of(row)
    for wrong in differences(row, content):
        yield f"the {wrong} of {content} is not as written"


def gone_back(
    now: Mapping[str, Best], before: Mapping[str, Best], manifest: Manifest
) -> Iterator[str]:
    """Series whose row in force is outranked by one that was seen before.

    A purge takes one segment after the other, in any order: what is left of its series meanwhile is
    hidden.
    """
    for key, (order, _) in before.items():
        is_purged = key.startswith(PURGED) and key in manifest.suppressed
        if key in now and tuple(now[key][0]) < tuple(order) and not is_purged:
            yield f"{key} went back from {order} to {now[key][0]}"


def gone(
    now: Mapping[str, Best], before: Mapping[str, Best], manifest: Manifest
) -> Iterator[tuple[str, Order]]:
    """Series of which nothing remains, with the row in force that was seen last.

    A purge does that, and a deletion after a long time. That deletion need not have been seen: who
    looks rarely may find it forgotten. So this is no verdict yet: see `is_forgotten`.
    """
    for key, (order, _) in before.items():
        if key not in now and key not in manifest.suppressed:
            yield key, (order[0], order[1], order[2])


def is_forgotten(tombstones: Iterable[Order], seen: Order, forgotten_before: str) -> bool:
    """Whether a deletion outranked what was seen and was old enough to be forgotten."""
    return any(order >= seen and is_behind(order[2], forgotten_before) for order in tombstones)
