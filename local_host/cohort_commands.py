"""Commands about cohorts: saving, showing, comparing and exporting them."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from indexer_core.errors import InvalidInputError
from local_host import cohort_output as output
from local_host.opening import reading, writing
from local_host.output import write_data, write_records
from local_host.settings import Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from indexer_core.cohorts.model import Cohort, Draft
    from indexer_core.cohorts.store import Cohorts
    from indexer_core.index.reader import Reader


def run_cohort(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the actions."""
    reading(settings)  # there is an index
    actions: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "save": _save,
        "list": _list,
        "show": _show,
        "diff": _diff,
        "refresh": _refresh,
        "export": _export,
        "card": _card,
        "delete": _delete,
    }
    actions[options.action](options, settings)
    return 0


def _save(options: argparse.Namespace, settings: Settings) -> None:
    draw = _drawn(options)
    with writing(settings) as system:
        reader = system.reader()
        saved = _cohorts(system).save(
            options.name,
            lambda: draw(reader),
            purpose=options.purpose,
            created_by=options.by,
        )
    output.print_saved(saved, as_json=options.format == "json")


def _drawn(options: argparse.Namespace) -> "Callable[[Reader], Draft]":
    """How to draw what is asked for.

    Raises
    ------
    InvalidInputError
        It is not clear which series are meant.
    """
    from indexer_core.cohorts.asking import ask
    from indexer_core.cohorts.drawing import draw, draw_named
    from indexer_core.filters import parse_field, parse_filter
    from indexer_core.selection import Conditions

    text = " ".join(options.text).strip()
    fields = (name for given in options.with_unknown for name in given.split(","))
    beside = Conditions(
        filters=tuple(map(parse_filter, options.filter)),
        with_unknown=frozenset(map(parse_field, fields)),
    )
    if options.uids is None:
        today = datetime.now(UTC).date()
        question = ask(text, beside, today=today, interpret=not options.no_interpret)
        return lambda reader: draw(reader.refresh(), question)
    if beside.filters or beside.with_unknown:
        raise InvalidInputError("--uids names the series: leave the filters out")
    names = _uids(options.uids)
    return lambda reader: draw_named(reader.refresh(), names, text=text)


def _uids(file: str) -> list[str]:
    from indexer_core.cohorts.exports import parse_uids

    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return parse_uids(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInputError("the list of UIDs is no text") from error


def _list(options: argparse.Namespace, settings: Settings) -> None:
    found = list(_cohorts(reading(settings)).all())
    output.print_list(found, as_json=options.format == "json")


def _show(options: argparse.Namespace, settings: Settings) -> None:
    from indexer_core.cohorts.wire import whole

    system = reading(settings)
    cohort = _named(system, options.name)
    found = whole(cohort, system.reader().at(cohort.manifest), least=options.least)
    output.print_whole(found, options.least, as_json=options.format == "json")


def _diff(options: argparse.Namespace, settings: Settings) -> None:
    from indexer_core.cohorts.comparing import compare, news

    system = reading(settings)
    reader = system.reader()
    before = _named(system, options.name)
    then = reader.at(before.manifest)
    if options.to == "newest":
        found = news(before, then=then, now=reader.snapshot)
        output.print_difference(found, before.title, "now", options.format)
        return
    after = _cohorts(system).load(before.name, _version(options.to))
    found = compare(
        before,
        after,
        then=then,
        now=reader.at(after.manifest),
        hidden=reader.snapshot.manifest.suppressed,
    )
    output.print_difference(found, before.title, after.title, options.format)


def _refresh(options: argparse.Namespace, settings: Settings) -> None:
    from indexer_core.cohorts.comparing import news
    from indexer_core.cohorts.drawing import draw_again

    with writing(settings) as system:
        reader = system.reader()
        before = _named(system, options.name)
        found = news(before, then=reader.at(before.manifest), now=reader.snapshot)
        saved = None
        if not found.is_empty:
            saved = _cohorts(system).save(
                before.name,
                lambda: draw_again(reader.refresh(), before),
                purpose=before.purpose,
                created_by=before.created_by,
            )
    output.print_refreshed(before, found, saved, as_json=options.format == "json")


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from indexer_core.cohorts.exports import dicom_json, left_out, uid_manifest
    from indexer_core.cohorts.wire import records_of

    system = reading(settings)
    cohort = _named(system, options.name)
    records = [record for _, record in records_of(cohort, system.reader().at(cohort.manifest))]
    match options.format:
        case "uids":
            write_data(uid_manifest(cohort, records).encode(), options.output)
        case "dicom-json":
            objects = [dicom_json(record) for record in records]
            write_data(f"{json.dumps(objects, indent=1)}\n".encode(), options.output)
        case form:
            write_records(records, form, options.output, include_blobs=False)
    counted = f"{len(records)} series of {cohort.title}, manifest {cohort.manifest}"
    print(f"{counted}: {left_out(cohort, len(records))}", file=sys.stderr)


def _card(options: argparse.Namespace, settings: Settings) -> None:
    from indexer_core.cohorts.wire import balance_of

    system = reading(settings)
    reader = system.reader()
    titles = [options.name] if options.beside is None else [options.name, options.beside]
    cohorts = [_named(system, title) for title in titles]
    cards = [balance_of(each, reader.at(each.manifest), least=options.least) for each in cohorts]
    shown = [each.title for each in cohorts]
    output.print_cards(shown, cards, options.least, as_json=options.format == "json")


def _delete(options: argparse.Namespace, settings: Settings) -> None:
    name, version = _parts(options.name)
    with writing(settings) as system:
        n_deleted = _cohorts(system).delete(name, version)
    if options.format == "json":
        print(json.dumps({"name": name, "deleted": n_deleted}))
        return
    print(f"deleted {n_deleted} version{'s' if n_deleted != 1 else ''} of {name}")


def _cohorts(system: LocalSystem) -> "Cohorts":
    from indexer_core.cohorts.store import Cohorts

    return Cohorts(system.index, system.clock, system.ids)


def _named(system: LocalSystem, text: str) -> "Cohort":
    return _cohorts(system).load(*_parts(text))


def _parts(text: str) -> tuple[str, int | None]:
    name, at, version = text.partition("@")
    return name, _version(version) if at else None


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise InvalidInputError("a version is a number from 1: write NAME@3, or --to 3")
    return int(text)
