"""Commands that keep an index in shape by hand; the worker does the same by itself."""

import argparse
import json
from dataclasses import asdict, replace

from local_host.opening import reading, writing
from local_host.settings import Settings

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def run_compact(options: argparse.Namespace, settings: Settings) -> int:
    """Merge segments."""
    reading(settings).reader()
    with writing(settings) as system:
        done = system.upkeep.compact(full=options.full)
    if options.format == "json":
        print(json.dumps(asdict(done)))
        return 0
    (n_before, n_after), (n_rows, n_kept) = done.n_segments, done.n_rows
    if not done.n_merges:
        print(f"nothing to merge: {n_after} segments")
        return 0
    print(f"{n_before} segments merged into {n_after}, {n_rows - n_kept} outdated rows left out")
    print("what was merged stays until gc finds that no manifest needs it")
    return 0


def run_gc(options: argparse.Namespace, settings: Settings) -> int:
    """Expire manifests past retention, and delete what nothing needs any more."""
    from indexer_core.cohorts.store import Cohorts
    from indexer_core.index.collect import retention_of

    reading(settings).reader()
    retention = retention_of((settings.azure or settings).retention_days)
    if options.keep_days is not None:
        # Who asks for days wants the last few manifests to go as well.
        retention = replace(retention_of(options.keep_days), keep_newest=1)
    if settings.azure is None:
        # Nobody else is writing while this holds the lock, so there is nobody to be spared.
        retention = replace(retention, grace_s=0.0)
    with writing(settings) as system:
        if not options.dry_run:
            Cohorts(system.index, system.clock, system.ids).sweep()
        done = system.upkeep.collect(retention, dry_run=options.dry_run)
    if options.format == "json":
        print(json.dumps(asdict(done)))
        return 0
    would = "would be " if options.dry_run else ""
    print(
        f"{done.n_expired} manifests {would}expired, {done.n_files} files {would}deleted "
        f"({_size(done.n_bytes)})"
    )
    return 0


def _size(n_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if n_bytes < 1000:  # as disks are labelled
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} {_UNITS[-1]}"
