"""What each command does: one function per command, from arguments to exit status."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from function_app.search import SearchRequest, records, search
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.filters import Filter, parse_filter
from indexer_core.index.commit import Manifests
from indexer_core.index.reader import Reader
from indexer_core.index.verify import verify
from indexer_core.search import blobs_of
from local_host import output
from local_host.file_events import walk_events, watch_events
from local_host.locking import writer_lock
from local_host.roots import SCOPE
from local_host.runner import Runner, Tally
from local_host.settings import Settings
from local_host.trace import trace_series
from local_host.wiring import LocalSystem

_REPROCESS_BATCH = 256
_DEMO_SEARCHES = (
    "CT scan of the abdomen",
    "ultrasound of the heart",
    "magnetic resonance image, sagittal",
)


def run_index(options: argparse.Namespace, settings: Settings) -> int:
    """Index paths and stop."""
    with _writing(settings) as system:
        tally = _index(system, [Path(path) for path in options.paths])
        output.print_tally(tally, as_json=options.format == "json")
        return 0 if tally.went_well else 1


def run_watch(options: argparse.Namespace, settings: Settings) -> int:
    """Index paths, then follow them until interrupted."""
    import time

    paths = [Path(path) for path in options.paths]
    with _writing(settings) as system:
        warn = output.Warnings()
        with watch_events(
            paths,
            _known(system),
            system.clock,
            system.blob_events.send,
            exclude=[settings.data],
            on_warning=warn,
        ) as watch:
            tally = _index(system, paths)
            output.print_tally(tally, as_json=options.format == "json")
            print("watching; stop with Ctrl-C", file=sys.stderr)
            runner = Runner(system)
            while watch.error is None:
                before = Counter(runner.tally.series)
                runner.run_until_idle(close=False)
                output.print_news(runner.tally.series - before, as_json=options.format == "json")
                time.sleep(0.2)
        raise InvalidInputError("the folder can no longer be watched; start the command again")


def run_search(options: argparse.Namespace, settings: Settings) -> int:
    """Search and print the hits."""
    filters = _filters(options)
    system = _reading(settings)
    snapshot = system.reader().snapshot
    request = SearchRequest(text=options.text, filters=filters, top=options.top)
    found = search(request, snapshot, system.encoder, _template_names(system))
    output.print_hits(found, options.format)
    return 0


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Print the records."""
    filters = _filters(options)
    snapshot = _reading(settings).reader().snapshot
    rows = []
    for hit, record in records(snapshot, filters):
        blobs = {"blobs": list(blobs_of(hit))} if options.include_blobs else {}
        rows.append({**record, **blobs})
    output.write_records(rows, options.format, options.output)
    return 0


def run_demo(options: argparse.Namespace, settings: Settings) -> int:
    """Index the sample files of pydicom and search them."""
    folder = Path(str(files("pydicom") / "data" / "test_files"))
    print("Indexing the public sample files that ship inside pydicom ...", flush=True)
    with _writing(settings) as system:
        tally = _index(system, [folder])
        output.print_tally(tally, as_json=False)
    for text in _DEMO_SEARCHES:
        print(f'\n$ dicom-indexer search "{text}"', flush=True)
        request = SearchRequest(text=text, top=options.top)
        snapshot = system.reader().snapshot
        found = search(request, snapshot, system.encoder, _template_names(system))
        output.print_hits(found, "table")
    output.print_next_steps(settings.data)
    return 0 if tally.went_well else 1


def run_status(options: argparse.Namespace, settings: Settings) -> int:
    """Print state and lag."""
    system = _reading(settings)
    snapshot = system.reader().snapshot
    states = Counter(str(row.values["state"]) for row in system.blobs.scan())
    status = {
        "data": str(settings.data),
        "manifest": snapshot.manifest.number,
        "series": snapshot.n_series,
        "suppressed": len(snapshot.manifest.suppressed),
        "segments": len(snapshot.manifest.segments),
        "files": dict(sorted(states.items())),
        "folders": [str(path) for path in system.source.paths],
        "queues": {
            "blob-events": system.blob_events.length(),
            "series-check": system.series_checks.length(),
            "series-ready": system.series_ready.length(),
            "poison": system.poison.length(),
        },
        "openSeries": sum(1 for _ in system.assembly_keys()),
        "spaces": {space.name: space.live for space in snapshot.manifest.spaces},
        "projection": getattr(snapshot.manifest.projection, "version", None),
        "recipe": max((recipe.number for recipe in snapshot.manifest.recipes), default=0),
    }
    output.print_fields(status, as_json=options.format == "json")
    return 0


def run_log(options: argparse.Namespace, settings: Settings) -> int:
    """Print the lineage of the manifests, newest first."""
    system = _reading(settings)
    system.reader()
    history = list(Manifests(system.index).history())
    output.print_log(history, as_json=options.format == "json")
    return 0


def run_trace(options: argparse.Namespace, settings: Settings) -> int:
    """Print every stage that a series has passed."""
    system = _reading(settings)
    found = list(trace_series(system, options.uid, include_blobs=options.include_blobs))
    if not found:
        raise NotFoundError("no file of that series has been looked at")
    for stages in found:
        print(json.dumps(stages, indent=2))
    return 0


def run_rejects(options: argparse.Namespace, settings: Settings) -> int:
    """Print what was set aside."""
    rows = [row.values for row in _reading(settings).rejects.scan()]
    output.print_rejects(rows, as_json=options.format == "json")
    return 0


def run_replay(options: argparse.Namespace, settings: Settings) -> int:
    """Look again at rejected files and send rejected messages once more."""
    del options
    with _writing(settings) as system:
        n_sent = 0
        for row in list(system.rejects.scan()):
            n_sent += 1
            if row.partition == SCOPE:
                system.look_again(str(row.values["url"]))
            else:
                system.send_again(row)
                system.rejects.delete(row)
        runner = Runner(system, output.progress())
        runner.reclaim()
        tally = runner.run_until_idle()
        print(f"replayed {n_sent}")
        output.print_tally(tally, as_json=False)
        return 0 if tally.went_well else 1


def run_reprocess(options: argparse.Namespace, settings: Settings) -> int:
    """Apply the rules and templates in force to every row that older ones made."""
    del options
    with _writing(settings) as system:
        progress = output.progress()
        outdated = list(system.indexer.outdated())
        for start in range(0, len(outdated), _REPROCESS_BATCH):
            system.indexer.reprocess(outdated[start : start + _REPROCESS_BATCH])
            n_done = min(start + _REPROCESS_BATCH, len(outdated))
            progress.advance("reprocessing", n_done, len(outdated))
        progress.close()
        print(f"reprocessed {len(outdated)} series")
    return 0


def run_delete(options: argparse.Namespace, settings: Settings) -> int:
    """Suppress a series."""
    with _writing(settings) as system:
        keys = _keys_of(system.reader(), options.uid)
        system.indexer.suppress(keys)
        print(f"deleted {len(keys)} series; restore brings them back")
    return 0


def run_restore(options: argparse.Namespace, settings: Settings) -> int:
    """Unsuppress a series, and index what changed meanwhile."""
    with _writing(settings) as system:
        keys = _keys_of(system.reader(), options.uid)
        system.indexer.restore(keys)
        for key in keys:
            system.assembly.resend(key)
        tally = Runner(system).run_until_idle()
        print(f"restored {len(keys)} series")
        return 0 if tally.went_well else 1


def run_verify(options: argparse.Namespace, settings: Settings) -> int:
    """Prove the index."""
    system = _reading(settings)
    system.reader()
    seen = verify(system.index, FlatFp16Vectors())
    output.print_verification(seen, as_json=options.format == "json")
    return 0 if not seen.problems else 1


@contextmanager
def _writing(settings: Settings) -> Iterator[LocalSystem]:
    with writer_lock(settings.data):
        system = LocalSystem(settings)
        try:
            yield system
        finally:
            system.close()


def _reading(settings: Settings) -> LocalSystem:
    if not (settings.data / "index").is_dir():
        raise NotFoundError(
            f"nothing is indexed in {settings.data} yet: run dicom-indexer index FOLDER"
        )
    return LocalSystem(settings)


def _index(system: LocalSystem, paths: list[Path]) -> Tally:
    missing = [str(path) for path in paths if not path.exists() and not _was_indexed(system, path)]
    if missing:
        raise InvalidInputError(f"no such file or folder: {', '.join(missing)}")
    warn = output.Warnings()
    system.source.add(path.absolute() for path in paths)
    progress = output.progress()
    runner = Runner(system, progress)
    runner.reclaim()
    runner.emit(
        walk_events(
            paths,
            _known(system),
            system.clock,
            exclude=[system.settings.data],
            on_warning=warn,
        )
    )
    tally = runner.run_until_idle()
    progress.close()
    for reason, count in warn.reasons.items():
        tally.failures[reason] += count
    tally.rejects.update(
        str(row.values["reason"]) for row in system.rejects.scan() if row.partition == SCOPE
    )
    return tally


def _was_indexed(system: LocalSystem, path: Path) -> bool:
    return any(
        path.absolute() == root or root in path.absolute().parents for root in system.source.paths
    )


def _known(system: LocalSystem) -> list[str]:
    return [str(row.values["url"]) for row in system.blobs.scan() if row.values["state"] != "gone"]


def _filters(options: argparse.Namespace) -> tuple[Filter, ...]:
    return tuple(parse_filter(text) for text in options.filter)


def _template_names(system: LocalSystem) -> tuple[str, ...]:
    return tuple(template.name for template in system.describer.templates.templates)


def _keys_of(reader: Reader, uid: str) -> frozenset[str]:
    keys = set()
    for key in reader.series_keys():
        place = reader.winner(key)
        assert place is not None
        record = reader.row(place).record
        if uid in (key, None if record is None else record["seriesInstanceUid"]):
            keys.add(key)
    if not keys:
        raise NotFoundError("no indexed series has that UID; export lists them all")
    return frozenset(keys)
