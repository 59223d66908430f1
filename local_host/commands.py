"""What each command does: one function per command, from arguments to exit status."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer_core.adapters.local_files import path_of
from indexer_core.errors import (
    ConflictError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from local_host import output
from local_host.file_events import OnWarning, WalkWarning, Watch, walk_events, watch_events
from local_host.opening import holds, known_data, reading, writing
from local_host.pixel_commands import ask_about_pixels
from local_host.roots import SCOPE
from local_host.settings import Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from indexer_core.index.reader import Snapshot
    from indexer_core.indexing import Indexer
    from indexer_core.ports import Row
    from indexer_core.reconcile import Looks
    from local_host.runner import Runner, Tally

_REWALK_S = 600.0
_PAUSE_S = 0.2
_POLL_S = 1.0
_SWEEP_S = 60.0
_BACK_OFF_S = 5.0
_REPROCESS_BATCH = 256
_POISON_BATCH = 32
_POISON_HIDDEN_S = 60.0


def run_index(options: argparse.Namespace, settings: Settings) -> int:
    """Index paths and stop."""
    paths = [] if settings.azure else _paths(options, settings)
    with writing(settings) as system:
        tally = (
            _index_parts(system, options.paths) if settings.azure else index_paths(system, paths)
        )
        output.print_tally(tally, as_json=options.format == "json")
        return 0 if tally.went_well else 1


def run_watch(options: argparse.Namespace, settings: Settings) -> int:
    """Index paths, then follow them until interrupted."""
    if settings.azure is not None:
        return _run_watch_account(options, settings)
    if not options.paths:
        raise InvalidInputError("name the folders to watch")
    paths = _paths(options, settings)
    with writing(settings) as system:
        as_json = options.format == "json"
        try:
            for is_first in chain([True], repeat(False)):
                _watch_for_a_while(system, paths, is_first=is_first, as_json=as_json)
        except KeyboardInterrupt:
            print("stopped watching", file=sys.stderr)
    return 0


def _watch_for_a_while(
    system: LocalSystem, paths: list[Path], *, is_first: bool, as_json: bool
) -> None:
    """Walk, then follow; until events were lost, or long enough that some may have been."""
    from function_app.handlers import sweep
    from local_host.runner import Runner

    warn = output.Warnings()
    # Entered before the walk, so that nothing falls between.
    with (
        _watching(system, paths, warn if is_first else _ignore) as watch,
        closing(output.LateBar()) as bar,
    ):
        if is_first:
            output.print_tally(index_paths(system, paths), as_json=as_json)
            print("watching; stop with Ctrl-C", file=sys.stderr, flush=True)
        runner = Runner(system, bar)
        if not is_first:
            runner.emit(_walk(system, paths, _ignore))
            sweep(system.services, older_than_s=10 * system.settings.quiet_s)
        until_s = time.monotonic() + _REWALK_S
        while watch.is_complete and time.monotonic() < until_s:
            before = Counter(runner.tally.series)
            runner.run_until_idle(close=False)
            output.print_news(runner.tally.series - before, as_json=as_json)
            time.sleep(_PAUSE_S)
    if watch.error is not None:
        time.sleep(_PAUSE_S)  # whatever stopped it may last: do not spin


@contextmanager
def _watching(system: LocalSystem, paths: list[Path], on_warning: OnWarning) -> Iterator[Watch]:
    try:
        with watch_events(
            paths,
            _known(system),
            system.clock,
            system.blob_events.send,
            exclude=[system.settings.data],
            on_warning=on_warning,
        ) as watch:
            yield watch
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"{error.filename or 'a watched folder'} has gone and cannot be watched; "
            "run dicom-indexer index on it to take its series out"
        ) from error


def _run_watch_account(options: argparse.Namespace, settings: Settings) -> int:
    """Do the work of the functions and the worker, whoever sends it, until interrupted."""
    as_json = options.format == "json"
    with writing(settings) as system:
        system.home.create()
        try:
            if options.paths:
                output.print_tally(_index_parts(system, options.paths), as_json=as_json)
            print("working on the queues; stop with Ctrl-C", file=sys.stderr, flush=True)
            with closing(output.LateBar()) as bar:
                _work_for_ever(system, bar, as_json=as_json)
        except KeyboardInterrupt:
            print("stopped watching", file=sys.stderr)
    return 0


def _work_for_ever(system: LocalSystem, bar: output.LateBar, *, as_json: bool) -> None:
    from function_app.handlers import sweep
    from local_host.runner import Runner

    assert system.settings.azure is not None
    older_than_s = 10 * system.settings.azure.quiet_s
    runner = Runner(system, bar)
    swept_s = -_SWEEP_S
    while True:
        before = Counter(runner.tally.series)
        try:
            if time.monotonic() - swept_s >= _SWEEP_S:
                sweep(system.services, older_than_s)
                swept_s = time.monotonic()
            while runner.round():
                pass
            system.upkeep.when_idle(lambda: system.series_ready.length() > 0)
        except (UnavailableError, UnknownOutcomeError, ConflictError) as error:
            # Whatever was under way comes back to its queue by itself.
            print(f"dicom-indexer: {error}; trying again", file=sys.stderr, flush=True)
            time.sleep(_BACK_OFF_S)
        output.print_news(runner.tally.series - before, as_json=as_json)
        time.sleep(_POLL_S)


def run_backfill(options: argparse.Namespace, settings: Settings) -> int:
    """Enqueue a look at everything, and work on it."""
    from indexer_core.reconcile import Backfill
    from local_host.runner import Runner

    _check_no_work(options, settings)
    known_data(settings).close()
    with writing(settings) as system, _bar() as progress:
        system.home.create()
        runner = Runner(system, progress)
        runner.reclaim()
        backfill = Backfill(
            looks=_looks(runner, system, work=not options.no_work), jobs=system.stores.jobs
        )
        reports = {
            part.title: backfill.run(part.listing, progress=partial(_listed, progress))
            for part in system.home.parts()
        }
        tally = None if options.no_work else runner.run_until_idle()
        progress.close()
        output.print_backfill(reports, tally, as_json=options.format == "json")
    return 0 if tally is None or tally.went_well else 1


def run_reconcile(options: argparse.Namespace, settings: Settings) -> int:
    """Compare storage, rows and index, and mend where they differ."""
    from indexer_core.reconcile import compare, resend_lost
    from local_host.runner import Runner

    _check_no_work(options, settings)
    known_data(settings).close()
    with writing(settings) as system, _bar() as progress:
        runner = Runner(system, progress)
        runner.reclaim()
        looks = _looks(runner, system, work=not options.no_work)
        reports = {
            part.title: compare(
                part.listing,
                blobs=system.blobs,
                looks=looks,
                holds=part.holds,
                progress=partial(_listed, progress),
            )
            for part in system.home.parts()
        }
        if not options.no_work:  # so that what only waited is not handed on twice
            runner.run_until_idle()
        reader = system.stores.reader(system.vector_files)
        n_resent = resend_lost(system.instances, system.assembly, reader, system.rejects)
        tally = None if options.no_work else runner.run_until_idle()
        progress.close()
        output.print_reconciliation(reports, n_resent, tally, as_json=options.format == "json")
    return 0 if tally is None or tally.went_well else 1


def _check_no_work(options: argparse.Namespace, settings: Settings) -> None:
    if options.no_work and settings.azure is None:
        raise InvalidInputError("--no-work needs --store azure, where other programs do the work")


def _looks(runner: "Runner", system: LocalSystem, *, work: bool = True) -> "Looks":
    """Looks that are worked on, or waited for, when their queue is deep."""
    from indexer_core.reconcile import Looks

    def wait() -> None:
        if not work or not runner.look():
            time.sleep(_POLL_S)

    return Looks(system.blob_events, emit=system.home.emit, wait=wait)


def _listed(progress: "output.Bar", n_listed: int) -> None:
    progress.advance("listing", n_listed, n_listed)


@contextmanager
def _bar() -> Iterator["output.Bar"]:
    progress = output.progress()
    try:
        yield progress
    finally:
        progress.close()


def run_status(options: argparse.Namespace, settings: Settings) -> int:
    """Print state and lag."""
    system = known_data(settings)
    snapshot = system.stores.reader(system.vector_files).refresh()
    output.print_status(_status(system, snapshot), as_json=options.format == "json")
    return 0


def _status(system: LocalSystem, snapshot: "Snapshot") -> dict[str, Any]:
    from indexer_core.cohorts.pinned import pinned_cohorts
    from indexer_core.purge_receipts import Purges

    manifest = snapshot.manifest
    states = Counter(str(row.values["state"]) for row in system.blobs.scan())
    return {
        "data": system.home.place,
        "manifest": manifest.number,
        "series": snapshot.n_series,
        "suppressed": len(manifest.suppressed),
        "purging": sum(1 for _ in Purges(system.index).pending()),
        "segments": len(manifest.segments),
        "cohorts": len(pinned_cohorts(manifest)),
        "pins": {name: number for number, names in manifest.pins.items() for name in names},
        "files": dict(sorted(states.items())),
        "folders": _folders(system),
        "queues": {
            "blob-events": system.blob_events.length(),
            "series-check": system.series_checks.length(),
            "series-ready": system.series_ready.length(),
            "poison": system.poison.length(),
        },
        "openSeries": sum(1 for _ in system.assembly_keys()),
        "spaces": {space.name: space.live for space in manifest.spaces},
        "building": {space.name: space.building for space in manifest.spaces if space.building},
        "projection": getattr(manifest.projection, "version", None),
        "recipe": max((recipe.number for recipe in manifest.recipes), default=0),
    }


def _folders(system: LocalSystem) -> list[str]:
    if system.settings.azure is not None:
        return [part.title for part in system.home.parts()]
    return [str(path) for path in system.source.paths]


def run_rejects(options: argparse.Namespace, settings: Settings) -> int:
    """Print what was set aside."""
    rows = [row.values for row in known_data(settings).rejects.all()]
    output.print_rejects(rows, as_json=options.format == "json")
    return 0


def run_replay(options: argparse.Namespace, settings: Settings) -> int:
    """Look again at rejected files and send rejected messages once more."""
    from local_host.runner import Runner

    _check_no_work(options, settings)
    known_data(settings)
    with writing(settings) as system:
        rows = list(system.rejects.all())
        n_sent = sum(_sent_again(system, row) for row in rows)
        _empty_poison(system)
        print(f"replayed {n_sent:,}")
        if n_sent < len(rows):
            print(f"{len(rows) - n_sent:,} stay: messages that this version cannot read")
        if options.no_work:
            return 0
        runner = Runner(system, output.progress())
        runner.reclaim()
        tally = runner.run_until_idle()
        output.print_tally(tally, as_json=False)
        return 0 if tally.went_well else 1


def _sent_again(system: LocalSystem, row: "Row") -> bool:
    """Whether what was set aside is tried again; a message that cannot be read never succeeds."""
    if "url" in row.values:
        system.look_again(str(row.values["url"]))
        return True
    try:
        system.send_again(row)
    except InvalidInputError:
        return False
    system.rejects.drop(row)
    return True


def _empty_poison(system: LocalSystem) -> None:
    """Take the copies off the poison queue; a row was written before each of them was sent."""
    while messages := system.poison.receive(_POISON_BATCH, _POISON_HIDDEN_S):
        for message in messages:
            system.poison.delete(message)


def run_reprocess(options: argparse.Namespace, settings: Settings) -> int:
    """Apply the rules and templates in force to every row that older ones made.

    With `--pixels`, the pixel model is asked about series that were indexed without it, too.
    """
    from local_host.golden import check_reprocess, load_golden

    reading(settings).reader()
    questions = load_golden(Path(options.golden)) if options.golden is not None else []
    with writing(settings) as system, _bar() as progress:
        if questions:
            check_reprocess(questions, system, partial(_reprocess, progress, "rehearsing"))
        n_done = _reprocess(progress, "reprocessing", system.indexer)
        told = ask_about_pixels(system, progress) if options.pixels else ""
        progress.close()
        print(f"reprocessed {n_done} series")
        if told:
            print(told)
    return 0


def _reprocess(progress: "output.Bar", stage: str, indexer: "Indexer") -> int:
    """Apply the rules and templates in force; how many series were not of these."""
    outdated = list(indexer.outdated())
    for start in range(0, len(outdated), _REPROCESS_BATCH):
        indexer.reprocess(outdated[start : start + _REPROCESS_BATCH])
        progress.advance(stage, min(start + _REPROCESS_BATCH, len(outdated)), len(outdated))
    return len(outdated)


def _paths(options: argparse.Namespace, settings: Settings) -> list[Path]:
    """The paths to index: those that exist, and those that were indexed and may be gone."""
    paths = [Path(path) for path in options.paths]
    absent = [path for path in paths if not os.path.lexists(path)]
    if absent and holds(settings.data, "state.sqlite"):
        system = LocalSystem(settings)
        absent = [path for path in absent if not _was_indexed(system, path)]
    if absent:
        raise InvalidInputError(f"no such file or folder: {', '.join(map(str, absent))}")
    return paths


def index_paths(system: LocalSystem, paths: list[Path]) -> "Tally":
    """Look at every file below the paths, and work until there is nothing left to do."""
    from local_host.runner import Runner

    warn = output.Warnings()
    system.source.add(_absolute(path) for path in paths)
    progress = output.progress()
    try:
        runner = Runner(system, progress)
        runner.reclaim()
        runner.emit(_walk(system, paths, warn))
        tally = runner.run_until_idle()
    finally:
        progress.close()
    for reason, count in warn.reasons.items():
        tally.failures[reason] += count
    tally.rejects.update(
        str(row.values["reason"])
        for row in system.rejects.blobs(SCOPE)
        if _is_below(row.values["url"], paths)
    )
    return tally


def _index_parts(system: LocalSystem, paths: list[str]) -> "Tally":
    """Look at everything in some sources, or folders of them, of an account, and work on it."""
    from indexer_core.reconcile import look_at_all
    from local_host.runner import Runner

    parts = system.home.parts(paths)
    with _bar() as progress:
        system.home.create()
        runner = Runner(system, progress)
        looks = _looks(runner, system)
        for part in parts:
            look_at_all(
                part.listing,
                blobs=system.blobs,
                looks=looks,
                holds=part.holds,
                progress=partial(_listed, progress),
            )
        tally = runner.run_until_idle()
    tally.rejects.update(
        str(row.values["reason"])
        for scope in {part.scope for part in parts}
        for row in system.rejects.blobs(scope)
        if any(part.holds(str(row.values["url"])) for part in parts)
    )
    return tally


def _walk(system: LocalSystem, paths: list[Path], on_warning: OnWarning) -> Iterator[str]:
    return walk_events(
        paths,
        _known(system),
        system.clock,
        exclude=[system.settings.data],
        on_warning=on_warning,
    )


def _ignore(_: WalkWarning) -> None:
    """Told once is enough."""


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - pathlib's absolute() keeps ".."


def _is_below(url: str, paths: list[Path]) -> bool:
    place = path_of(url)
    return any(place.is_relative_to(_absolute(path)) for path in paths)


def _was_indexed(system: LocalSystem, path: Path) -> bool:
    return any(_absolute(path).is_relative_to(root) for root in system.source.paths)


def _known(system: LocalSystem) -> list[str]:
    return [str(row.values["url"]) for row in system.blobs.scan() if row.values["state"] != "gone"]
