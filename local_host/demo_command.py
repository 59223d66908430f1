"""The command `demo`: the sample files of pydicom, indexed, searched, and shown in the explorer."""

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from indexer_core.errors import InvalidInputError
from local_host import output
from local_host.commands import index_paths
from local_host.opening import writing
from local_host.serve_command import PORT, serve
from local_host.settings import Settings

_SEARCHES = (
    "ultrasound of the heart",
    "sagittal MRI of the brain",
    "CT scan for coronary calcium scoring",
)


def run_demo(options: argparse.Namespace, settings: Settings) -> int:
    """Index the sample files of pydicom and search them; in a terminal, serve the explorer then."""
    if settings.azure is not None:
        raise InvalidInputError(
            "demo needs a data directory; make demo-azurite shows --store azure"
        )
    from function_app.search import SearchRequest
    from indexer_core.snapshot_index import SnapshotIndex
    from local_host.series_commands import answer

    folder = Path(str(files("pydicom") / "data" / "test_files"))
    print("Indexing the public sample files that ship inside pydicom ...", flush=True)
    with writing(settings) as system:
        tally = index_paths(system, [folder])
        output.print_tally(tally, as_json=False)
    for text in _SEARCHES:
        print(f'\n$ dicom-indexer search "{text}"', flush=True)
        request = SearchRequest(text=text, top=options.top)
        index = SnapshotIndex(system.reader().snapshot)
        output.print_hits(answer(request, index, system), "table")
    output.print_next_steps(settings.data)
    if sys.stdout.isatty():
        _show(settings)
    else:
        print(f"explorer: dicom-indexer serve, then http://127.0.0.1:{PORT}/")
    return 0 if tally.went_well else 1


def _show(settings: Settings) -> None:
    """Serve the explorer until interrupted, on another port where something has the usual one."""

    def announce(address: str) -> None:
        print(f"explorer: {address}  (stop with Ctrl-C)", flush=True)

    serve(settings, ports=(PORT, 0), announce=announce)
