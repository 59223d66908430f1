"""Commands about series: finding, telling, hiding and showing them."""

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from indexer_core.errors import NotFoundError
from local_host import output
from local_host.answering import answering
from local_host.named_series import keys_named, whole_uid
from local_host.opening import known_data, reading, writing
from local_host.settings import Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from function_app.search import SearchRequest
    from indexer_core.filters import Filter
    from indexer_core.vector_index import VectorIndex


def run_search(options: argparse.Namespace, settings: Settings) -> int:
    """Search and print the hits."""
    from function_app.search import SearchRequest
    from indexer_core.index.segment import TEXT_SPACE

    text = " ".join(options.text)
    request = SearchRequest(
        text=text,
        filters=_filters(options),
        top=options.top,
        interpret=not options.no_interpret,
        with_unknown=_fields(options.with_unknown),
    )
    request.check()
    system = reading(settings)
    request = replace(request, exact=system.reading.exact)
    with answering(system, options.at, searched=[TEXT_SPACE]) as index:
        found = answer(request, index, system)
    output.print_hits(found, options.format)
    return 0


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Print the records."""
    from function_app.search import records
    from indexer_core.search import blobs_of
    from indexer_core.snapshot_index import SnapshotIndex

    filters = _filters(options)
    snapshot = reading(settings).snapshot(options.at)
    rows = []
    for hit, record in records(SnapshotIndex(snapshot), filters):
        blobs = {"blobs": list(blobs_of(hit))} if options.include_blobs else {}
        rows.append({**record, **blobs})
    output.write_records(rows, options.format, options.output, include_blobs=options.include_blobs)
    return 0


def run_trace(options: argparse.Namespace, settings: Settings) -> int:
    """Print every stage that a series has passed."""
    from function_app.trace import trace_series

    system = known_data(settings)
    reader = system.stores.reader(system.vector_files)
    uid = whole_uid(reader.refresh(), options.uid)
    include_blobs = options.include_blobs
    found = list(trace_series(system.stores, reader, uid, include_blobs=include_blobs))
    if not found:
        raise NotFoundError("no file of that series has been looked at")
    for stages in found:
        print(json.dumps(stages, indent=2))
    return 0


def run_delete(options: argparse.Namespace, settings: Settings) -> int:
    """Suppress a series."""
    reading(settings)
    with writing(settings) as system:
        reader = system.reader()
        keys = keys_named(reader, options.uid) - reader.snapshot.manifest.suppressed
        if not keys:
            print("already deleted")
            return 0
        system.indexer.suppress(keys)
        print(f"deleted {len(keys)} series; restore brings them back")
    return 0


def run_restore(options: argparse.Namespace, settings: Settings) -> int:
    """Unsuppress a series, and index what changed meanwhile."""
    from local_host.runner import Runner

    reading(settings)
    with writing(settings) as system:
        reader = system.reader()
        keys = keys_named(reader, options.uid) & reader.snapshot.manifest.suppressed
        if not keys:
            print("not deleted, so there is nothing to restore")
            return 0
        n_purged = 0
        for key in keys:  # before the commit: a crash after it would forget what changed meanwhile
            system.assembly.mark_unsent(key)
            n_purged += system.assembly.reopen(key)
        system.indexer.restore(keys)
        tally = Runner(system).run_until_idle()
        print(f"restored {len(keys)} series")
        if n_purged:
            print("it was purged: index its folder again (or backfill) to have its files read")
        return 0 if tally.went_well else 1


def answer(request: "SearchRequest", index: "VectorIndex", system: LocalSystem) -> dict[str, Any]:
    """What the API answers to a search."""
    from function_app.search import search
    from indexer_core.templates import template_names

    encoder = system.encoder_named(index.state.text_encoder)
    tower = system.image_texts(index.state.image_encoder, encoder)
    return search(request, index, encoder, template_names(), tower)


def _fields(given: list[str]) -> frozenset[str]:
    """Fields as an option names them, in any case, several parted by commas."""
    from indexer_core.filters import FIELDS

    known = {name.lower(): name for name in FIELDS}
    named = (name.strip() for text in given for name in text.split(",") if name.strip())
    return frozenset(known.get(name.lower(), name) for name in named)


def _filters(options: argparse.Namespace) -> tuple["Filter", ...]:
    from indexer_core.filters import parse_filter

    return tuple(parse_filter(text) for text in options.filter)
