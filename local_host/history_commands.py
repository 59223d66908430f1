"""Commands about the history of an index: its manifests, their names, what lies between them."""

import argparse
from typing import TYPE_CHECKING

from local_host import history_output as output
from local_host.opening import reading, writing
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.index.commit import Manifests
    from indexer_core.index.pins import Pins
    from local_host.wiring import LocalSystem


def run_log(options: argparse.Namespace, settings: Settings) -> int:
    """Print the lineage of the manifests, newest first."""
    manifests = _manifests(reading(settings))
    newest = manifests.newest()
    history = list(manifests.history())
    output.print_log(history, newest.pins, as_json=options.format == "json")
    return 0


def run_diff(options: argparse.Namespace, settings: Settings) -> int:
    """Print which series differ between two manifests."""
    from indexer_core.index.files import read_file
    from indexer_core.index.history import compare
    from indexer_core.index.pins import number_of
    from indexer_core.index.rows import table_of

    system = reading(settings)
    manifests = _manifests(system)
    newest = manifests.newest()
    before, after = (
        newest if name is None else manifests.at(number_of(newest, name))
        for name in (options.before, options.after)
    )
    found = compare(
        before,
        after,
        read=lambda file: table_of(read_file(system.index, file), file.name),
        hidden=newest.suppressed,
    )
    output.print_difference(found, options.format)
    return 0


def run_pin(options: argparse.Namespace, settings: Settings) -> int:
    """Give a manifest a name, which keeps it."""
    from indexer_core.index.pins import number_of

    reading(settings)
    with writing(settings) as system:
        newest = _manifests(system).newest()
        number = newest.number if options.at is None else number_of(newest, options.at)
        _pins(system).pin(options.name, number)
        print(f"pinned manifest {number} as {options.name}: search --at {options.name} finds it")
    return 0


def run_unpin(options: argparse.Namespace, settings: Settings) -> int:
    """Take the name off a manifest."""
    reading(settings)
    with writing(settings) as system:
        _pins(system).unpin(options.name)
        print(f"unpinned {options.name}")
    return 0


def _pins(system: "LocalSystem") -> "Pins":
    from indexer_core.index.pins import Pins

    return Pins(_manifests(system), system.clock, system.ids)


def _manifests(system: "LocalSystem") -> "Manifests":
    """The manifests, of which there is one at least.

    Raises
    ------
    NotFoundError
        Nothing has been indexed yet.
    """
    from indexer_core.index.commit import Manifests

    manifests = Manifests(system.index)
    if manifests.newest().number == 0:
        raise system.nothing_indexed()
    return manifests
