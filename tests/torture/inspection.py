"""Checks that a reader makes while it goes on, and the oracle in the end."""

from collections.abc import Iterator, Mapping

import numpy as np

from indexer_core.index.loaded import LoadedSegment
from indexer_core.index.manifest import Manifest
from indexer_core.index.rows import IndexRow, rows_of
from indexer_core.index.write_ids import is_behind
from tests.torture.content import IMAGE_ENCODER, TEXT_ENCODER, content_of, differences

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
            point = np.ascontiguousarray(points[n_images : n_images + 1]).tobytes()
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


def outranks(
    now: Mapping[str, Best], before: Mapping[str, Best], manifest: Manifest
) -> Iterator[str]:
    """Series whose row in force is outranked by one that was seen before.

    Only a purge, and a deletion after a long time, let nothing of a series remain.
    """
    for key, (order, alive) in before.items():
        if key in now:
            if tuple(now[key][0]) < tuple(order):
                yield f"{key} went back from {order} to {now[key][0]}"
        elif key not in manifest.suppressed and (
            alive or not is_behind(order[2], manifest.forgotten_before)
        ):
            yield f"{key} has gone with its row {order}"
