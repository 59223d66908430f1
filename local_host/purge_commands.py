"""The command that erases series, and what it prints: receipts."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from indexer_core.errors import InvalidInputError, NotFoundError
from local_host.opening import reading, writing
from local_host.output import print_fields
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.purge_receipts import Purge, Remaining
    from local_host.wiring import LocalSystem

_LONGEST_NAP_S = 60.0


def run_purge(options: argparse.Namespace, settings: Settings) -> int:
    """Hide series and erase them, or carry on with what is pending, or print receipts."""
    from indexer_core.purge_receipts import Purges

    as_json = options.format == "json"
    system = reading(settings)
    if options.receipts:
        _print_all(list(Purges(system.index).all()), as_json=as_json)
        return 0
    _check(options)
    with writing(settings) as system:
        if options.uid is not None or options.patient is not None:
            keys = _keys(system, options)
            asked = "series" if options.patient is None else "patient"
            system.purger.request(keys, asked)
            for key in sorted(keys):
                print(f"hidden, whatever becomes of it: series {key}", file=sys.stderr)
            print("only who knows these keys can restore the series", file=sys.stderr, flush=True)
        done = _carry_on(system, wait=options.wait)
        _print_all(done, as_json=as_json)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.uid is not None and options.patient is not None:
        raise InvalidInputError("name a series or a patient, not both")
    if options.scope is not None and options.patient is None:
        raise InvalidInputError("--scope goes with --patient")


def _keys(system: "LocalSystem", options: argparse.Namespace) -> frozenset[str]:
    from indexer_core.purge_targets import series_of_patient, series_with_uid

    if options.patient is None:
        keys = series_with_uid(system.stores, options.uid.strip())
        missing = "no series has that UID or key, in no retained manifest and in no file seen"
    else:
        keys = series_of_patient(system.stores, options.patient.strip(), options.scope)
        missing = "no series has that patientKey; export shows it"
    if not keys:
        raise NotFoundError(missing)
    return keys


def _carry_on(system: "LocalSystem", *, wait: bool) -> "Sequence[Purge]":
    from indexer_core.purge_receipts import State

    known: dict[str, Purge] = {}
    while True:
        for purge in system.purger.carry_on():
            known[purge.id] = purge
        waiting = [purge.due_s for purge in known.values() if purge.state is not State.DONE]
        if not wait or not waiting:
            return list(known.values())
        nap_s = min(waiting) - system.clock.now_s()
        time.sleep(min(max(nap_s, 0.0), _LONGEST_NAP_S))


def _print_all(purges: "Sequence[Purge]", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_told(purge) for purge in purges], indent=2))
        return
    if not purges:
        print("nothing is to be purged")
    for purge in purges:
        _print(purge)


def _print(purge: "Purge") -> None:
    from indexer_core.purge_receipts import State

    fields: dict[str, str | Sequence[str]] = {
        "purge": purge.id,
        "asked for": f"{_when(purge.requested_s)}, {len(purge.series)} series by {purge.asked}",
        "state": str(purge.state),
    }
    if purge.state is not State.DONE:
        fields["next"] = f"hidden now; run dicom-indexer purge after {_when(purge.due_s)} to erase"
        print_fields(fields)
        return
    erased = [f"{count:,} {what}" for what, count in sorted(purge.erased.items()) if count]
    empty = sorted(what for what, count in purge.erased.items() if not count)
    fields["state"] = f"done {_when(purge.finished_s)}"
    fields["erased"] = erased or "nothing was left to erase"
    fields["held nothing"] = ", ".join(empty) or "-"
    fields["remaining"] = [_remaining(one) for one in _left(purge)]
    fields["series keys"] = [f"sha256 of 'purge KEY': {one}" for one in purge.series]
    if purge.n_restored:
        fields["restored"] = f"{purge.n_restored} series were restored meanwhile, so not erased"
    if purge.n_interrupted:
        fields["interrupted"] = f"{purge.n_interrupted} times; the counts may lack what went then"
    print_fields(fields)


def _left(purge: "Purge") -> "list[Remaining]":
    """What a purge never reaches, whatever the stores."""
    from indexer_core.purge_receipts import Remaining

    files = f"{purge.n_files:,} files in the sources, which are yours: they are not read any more"
    elsewhere = "exports, backups and snapshots that were made of the index by other means"
    return [*purge.remaining, Remaining(what=files), Remaining(what=elsewhere)]


def _remaining(one: "Remaining") -> str:
    return one.what if one.until_s is None else f"{one.what}: until {_when(one.until_s)}"


def _when(time_s: float | None) -> str:
    assert time_s is not None
    return datetime.fromtimestamp(time_s, UTC).isoformat(sep=" ", timespec="seconds")


def _told(purge: "Purge") -> dict[str, Any]:
    times = ("requested_s", "due_s", "started_s", "finished_s")
    named = {
        name.removesuffix("_s"): None if not (value := getattr(purge, name)) else _when(value)
        for name in times
    }
    return {
        "purge": purge.id,
        "state": str(purge.state),
        "asked": purge.asked,
        **named,
        "series": len(purge.series),
        "seriesHashes": list(purge.series) if purge.finished_s else [],
        "files": purge.n_files,
        "restored": purge.n_restored,
        "erased": dict(sorted(purge.erased.items())),
        "remaining": [
            {"what": one.what, "until": None if one.until_s is None else _when(one.until_s)}
            for one in _left(purge)
        ],
        "interrupted": purge.n_interrupted,
        "software": purge.software,
        "commit": purge.commit,
    }
