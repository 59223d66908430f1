"""The command line: reads arguments and hands over; every heavy import happens behind it."""

import argparse
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import NoReturn

from indexer_core import __version__
from indexer_core.errors import ErrorKind, IndexerError
from local_host.azure_arguments import add_cost, add_size, add_smoke
from local_host.cohort_arguments import add_cohort
from local_host.milvus_arguments import add_milvus
from local_host.settings import DATA_VARIABLE, DEFAULT_DATA, Settings, read_settings

_EPILOG = """
A first try:      dicom-indexer demo
Your own files:   dicom-indexer index FOLDER
                  dicom-indexer search "axial T2 MRI of the brain"

Research software, not for diagnosis. Headers are patient data: they stay on this machine.
"""

_HINTS = {
    ErrorKind.CORRUPT_INDEX: (
        "; the index is damaged: dicom-indexer verify --repair mends it from what is left; else "
        "put the data directory back from a backup, or index again with another --data"
    ),
}

# Modules of the commands that are not in `local_host.commands`.
_MODULES = {
    **dict.fromkeys(("search", "export", "trace", "delete", "restore"), "series_commands"),
    **dict.fromkeys(("log", "diff", "pin", "unpin"), "history_commands"),
    **dict.fromkeys(("compact", "gc"), "upkeep_commands"),
    "facets": "facet_commands",
    "similar": "similar_commands",
    "verify": "verify_command",
    "encoder": "encoder_commands",
    "map": "map_commands",
    "purge": "purge_commands",
    "demo": "demo_command",
    "serve": "serve_command",
    "audit": "audit_command",
    "cohort": "cohort_commands",
    "cost": "cost_command",
    "size": "size_command",
    "smoke": "smoke_command",
    "milvus": "milvus_commands",
}

_PATH_HELP = "folder or file; with --store azure CONTAINER or CONTAINER/FOLDER of the sources"
_UID_HELP = "Series Instance UID, its end as tables show it (…1.2.345), or series key"
_MANIFEST_HELP = "the number of a manifest (log lists them), or the name of a pin"
_REPAIR_HELP = "mend what is damaged from what is left, and say what is lost"
_EXPORT_HELP = (
    "for build and set: the folder of an exported text encoder, minilm-l6-v2, image-descriptor, "
    "pixel-model, or biomedclip; left out, the build that was begun goes on"
)
_WEIGHTS_HELP = (
    "for biomedclip: the folder of its weights, configuration and tokenizer, or hf-hub:OWNER/NAME"
)
_PIXELS_HELP = "ask the pixel model about series that were indexed without it; this reads files"
_GOLDEN_HELP = (
    "golden questions that must not be answered worse: tried in memory first, refused if they are"
)
_ONLY_HELP = "this space only: texts are embedded in minutes, pictures are seen again in hours"
_INT8_HELP = (
    "for biomedclip: in 8 bits, where that finds the same texts of this index as single precision"
)
_FULL_MAP_HELP = "for fit and refit: a larger encoder, a little more faithful, in thrice the time"
_LOOKS_HELP = "instead of UID: a DICOM, PNG or JPEG file, which is looked at and not kept"
_PICTURED_HELP = "instead of UID: what pictures show; needs an image encoder that reads texts, too"
_EXCLUDE_OWN_HELP = "count each field as if it had no filter, to see what else could be chosen"
_LEAST_HELP = "do not tell counts below N, nor what they could be computed from"
_NO_WORK_HELP = "only fill the queues of --store azure; the functions and the worker empty them"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"dicom-indexer: {message} (dicom-indexer --help shows how)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 only if all went well."""
    options = _parser().parse_args(arguments)
    _set_up_logs(verbose=options.verbose)
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with _sigterm_as_interrupt():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        store = getattr(options, "store", "local")
        settings = read_settings(getattr(options, "data", None), os.environ, store)
        status = _command(options.command)(options, settings)
        sys.stdout.flush()
    except IndexerError as error:
        _say(f"{error}{_HINTS.get(error.kind, '')}")
    except BrokenPipeError:
        # The reader of our output has gone (head, less): nothing is wrong, nothing more to say.
        _drop_output()
        return 0
    except KeyboardInterrupt:
        _say("stopped; the same command carries on where it was")
    except OSError as error:
        _say(_sentence(error))
        _drop_output()
    except Exception as error:  # noqa: BLE001 - a bug: told in one line, without what it was about
        _say(f"unexpected {type(error).__name__}: please report it with what --verbose prints")
        if options.verbose:
            _print_frames(error)
    else:
        return status
    return 1


def _say(message: str) -> None:
    print(f"dicom-indexer: {message}", file=sys.stderr)


def _sentence(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"reading or writing failed: {reason}"
    return f"{os.fsdecode(error.filename)}: {reason}"


def _drop_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's own flush does not fail."""
    try:
        target = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a real stream
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, target)
    os.close(descriptor)


def _print_frames(error: BaseException) -> None:
    # Only places and types: messages of libraries quote header values.
    import traceback

    chain: BaseException | None = error
    while chain is not None:
        for frame in traceback.extract_tb(chain.__traceback__):
            print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr)
        print(type(chain).__name__, file=sys.stderr)
        chain = chain.__cause__ or chain.__context__


def _set_up_logs(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,
        format="%(asctime)s %(name)s %(message)s",
    )
    # pydicom quotes header values when it warns; what matters of it becomes a flag or a reason.
    logging.getLogger("pydicom").addHandler(logging.NullHandler())
    logging.getLogger("pydicom").propagate = False
    warnings.filterwarnings("ignore", module=r"pydicom\b")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A service manager's stop ends the command as Ctrl-C does: locks and threads are let go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(name: str) -> Callable[[argparse.Namespace, Settings], int]:
    module = import_module(f"local_host.{_MODULES.get(name, 'commands')}")
    found: Callable[[argparse.Namespace, Settings], int] = getattr(module, f"run_{name}")
    return found


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--data",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"data directory (default {DEFAULT_DATA}, or {DATA_VARIABLE})",
    )
    common.add_argument(
        "--verbose", action="store_true", default=argparse.SUPPRESS, help="log to standard error"
    )
    common.add_argument(
        "--store",
        choices=("local", "azure"),
        default=argparse.SUPPRESS,
        help="azure: the index lies in the storage account that IndexerStorage names",
    )
    parser = _Parser(
        prog="dicom-indexer",
        description="Find DICOM series in plain language.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.set_defaults(verbose=False)
    parser.add_argument("--version", action="version", version=f"dicom-indexer {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help_text: str) -> _Parser:
        return commands.add_parser(name, help=help_text, description=help_text, parents=[common])

    demo = add(
        "demo", "index pydicom's public sample files, search them, and show them in the explorer"
    )
    demo.add_argument("--top", type=int, default=3, metavar="N", help="series per search")

    for name, nargs, help_text in (
        ("index", "+", "index every DICOM file below the paths; run it again after changes"),
        ("watch", "*", "index, then follow the folders for new, changed and deleted files"),
    ):
        command = add(name, help_text)
        command.add_argument("paths", nargs=nargs, metavar="PATH", help=_PATH_HELP)
        command.add_argument("--format", choices=("text", "json"), default="text")

    for name, help_text in (
        ("backfill", "look at every file of all sources, carrying on where it was interrupted"),
        ("reconcile", "compare files, state and index, and mend where they differ"),
    ):
        command = add(name, help_text)
        command.add_argument("--format", choices=("text", "json"), default="text")
        command.add_argument("--no-work", action="store_true", help=_NO_WORK_HELP)

    _add_search(add)
    _add_serve(add)
    _add_similar(add)
    _add_facets(add)

    export = add("export", "print the records of all series, or of those that pass the filters")
    _add_filter(export)
    _add_at(export)
    export.add_argument("--format", choices=("ndjson", "csv", "parquet"), default="ndjson")
    export.add_argument("--output", metavar="FILE", help="write here instead of standard output")
    export.add_argument(
        "--include-blobs", action="store_true", help="add file paths (they may name patients)"
    )

    for name, help_text in (
        ("status", "what is indexed, and what is still to be done"),
        ("log", "what every commit did, and with which software, encoders and rules"),
        ("rejects", "files and messages that were set aside, with the reason"),
    ):
        add(name, help_text).add_argument("--format", choices=("text", "json"), default="text")
    verify = add("verify", "prove every checksum, and search against brute force")
    verify.add_argument("--format", choices=("text", "json"), default="text")
    verify.add_argument(
        "--gpu", action="store_true", help="prove instead that FAISS can use the GPU here"
    )
    verify.add_argument("--repair", action="store_true", help=_REPAIR_HELP)

    _add_history(add)
    _add_upkeep(add)
    _add_encoder(add)
    _add_map(add)
    cohort = add("cohort", "sets of series that are kept, cited and compared")
    add_cohort(cohort, common, _add_filter)
    add_milvus(
        add("milvus", "the same index on Milvus, for more series than fit one process"), common
    )
    _add_deployment(add)

    trace = add("trace", "every stage that a series has passed")
    trace.add_argument("uid", metavar="UID", help=_UID_HELP)
    trace.add_argument("--include-blobs", action="store_true", help="add file paths")
    replay = add("replay", "try again what was set aside")
    replay.add_argument("--no-work", action="store_true", help=_NO_WORK_HELP)
    reprocess = add("reprocess", "apply changed rules and templates to all series")
    reprocess.add_argument("--pixels", action="store_true", help=_PIXELS_HELP)
    reprocess.add_argument("--golden", metavar="FILE", help=_GOLDEN_HELP)
    for name, help_text in (
        ("delete", "hide a series from every search until it is restored"),
        ("restore", "show a deleted series again"),
    ):
        add(name, help_text).add_argument("uid", metavar="UID", help=_UID_HELP)
    return parser


def _add_deployment(add: Callable[[str, str], _Parser]) -> None:
    add_cost(add("cost", "what an index on Azure costs, and what further series do"))
    add_size(add("size", "how large an index gets, where it fits, and when to go to Milvus"))
    add_smoke(add("smoke", "try a deployment: upload a file, find it, delete it, find it no more"))


def _add_search(add: Callable[[str, str], _Parser]) -> None:
    search = add("search", "find series by describing them")
    search.add_argument(
        "text", metavar="TEXT", nargs="+", help='for example "sagittal T1 of the brain"'
    )
    search.add_argument(
        "--top", type=int, default=10, metavar="N", help="at most N series (default 10)"
    )
    _add_filter(search)
    search.add_argument(
        "--no-interpret",
        action="store_true",
        help="do not read the words for filters: rank every series by them",
    )
    search.add_argument(
        "--with-unknown",
        action="append",
        default=[],
        metavar="FIELD",
        help="a series whose FIELD is unknown passes the filters on it; repeatable, or FIELD,FIELD",
    )
    _add_at(search)
    search.add_argument("--format", choices=("table", "json", "csv"), default="table")


def _add_serve(add: Callable[[str, str], _Parser]) -> None:
    serve = add(
        "serve", "explorer and HTTP API (under /api) until interrupted; for this machine only"
    )
    serve.add_argument("--port", type=_port, default=8080, metavar="P", help="0: any that is free")
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="for others, too; needs a token"
    )
    serve.add_argument(
        "--scope", action="append", default=[], metavar="SCOPE", help="only these; repeatable"
    )
    add("audit", "who asked what kind of question over HTTP, as NDJSON, oldest first")


def _add_similar(add: Callable[[str, str], _Parser]) -> None:
    similar = add("similar", "find series that look like one that is indexed, or like a file")
    similar.add_argument("uid", metavar="UID", nargs="?", help=_UID_HELP)
    similar.add_argument("--file", metavar="FILE", help=_LOOKS_HELP)
    similar.add_argument("--text", metavar="TEXT", help=_PICTURED_HELP)
    similar.add_argument("--top", type=int, default=10, metavar="N", help="at most N (default 10)")
    similar.add_argument("--level", choices=("series", "study", "patient"), default="series")
    _add_filter(similar)
    _add_at(similar)
    similar.add_argument("--format", choices=("table", "json", "csv"), default="table")


def _add_facets(add: Callable[[str, str], _Parser]) -> None:
    facets = add("facets", "count the values that fields have in all series, or in some")
    facets.add_argument(
        "fields", metavar="FIELD", nargs="*", help="such as modality or ageYears; the usual if none"
    )
    facets.add_argument("--exclude-own", action="store_true", help=_EXCLUDE_OWN_HELP)
    facets.add_argument("--least", type=int, default=0, metavar="N", help=_LEAST_HELP)
    facets.add_argument(
        "--top", type=int, default=20, metavar="N", help="at most N values of each (default 20)"
    )
    _add_filter(facets)
    _add_at(facets)
    facets.add_argument("--format", choices=("table", "json"), default="table")


def _add_encoder(add: Callable[[str, str], _Parser]) -> None:
    encoder = add("encoder", "change the encoders while indexing and searching go on")
    encoder.add_argument(
        "action",
        choices=("status", "build", "switch", "abandon", "set"),
        help="build fills a second encoder beside the one in use, switch puts it in force; "
        "set does both",
    )
    encoder.add_argument("source", metavar="EXPORT", nargs="?", help=_EXPORT_HELP)
    encoder.add_argument("--weights", metavar="SOURCE", help=_WEIGHTS_HELP)
    encoder.add_argument("--only", choices=("text", "image"), help=_ONLY_HELP)
    encoder.add_argument("--int8", action="store_true", help=_INT8_HELP)
    encoder.add_argument(
        "--golden",
        metavar="FILE",
        help="for switch and set: golden questions that another text encoder must not answer worse",
    )
    encoder.add_argument("--format", choices=("text", "json"), default="text")


def _add_map(add: Callable[[str, str], _Parser]) -> None:
    found = add("map", "the map of all series: fit it, look at it, take it elsewhere")
    found.add_argument(
        "action",
        choices=("status", "fit", "refit", "export"),
        help="fit makes the first map, on which new series are then placed; refit makes another "
        "one, which moves all points; export writes files or a picture",
    )
    found.add_argument(
        "folder", metavar="FOLDER", nargs="?", help="for export: where the map's files go"
    )
    found.add_argument("--png", metavar="FILE", help="for export: a picture of the map")
    found.add_argument("--full", action="store_true", help=_FULL_MAP_HELP)
    _add_at(found)
    found.add_argument(
        "--format", choices=("text", "json"), default="text", help="for status; else text"
    )


def _add_filter(parser: _Parser) -> None:
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="such as modality=MR, plane=axial,coronal, ageYears>=60, contrast!=yes; repeatable; "
        "a field that does not exist is answered by the list of those that do",
    )


def _add_history(add: Callable[[str, str], _Parser]) -> None:
    diff = add("diff", "which series were added, removed or changed between two manifests")
    diff.add_argument("before", metavar="FROM", help=_MANIFEST_HELP)
    diff.add_argument("after", metavar="TO", nargs="?", help="likewise; the newest if left out")
    diff.add_argument("--format", choices=("table", "json", "csv"), default="table")
    pin = add("pin", "give a manifest a name, which keeps it beyond its retention")
    pin.add_argument("name", metavar="NAME", help="letters, digits and . _ : -")
    _add_at(pin)
    unpin = add("unpin", "take the name off a manifest")
    unpin.add_argument("name", metavar="NAME", help="a name that pin gave")
    purge = add("purge", "erase series from every store and all history; without UID: carry on")
    purge.add_argument("uid", metavar="UID", nargs="?", help="Series Instance UID or series key")
    purge.add_argument("--patient", metavar="KEY", help="all series of this patientKey instead")
    purge.add_argument("--scope", metavar="SCOPE", help="with --patient: only those of this scope")
    purge.add_argument("--wait", action="store_true", help="wait until the grace is over")
    purge.add_argument("--receipts", action="store_true", help="only print what was purged so far")
    purge.add_argument("--format", choices=("text", "json"), default="text")


def _add_upkeep(add: Callable[[str, str], _Parser]) -> None:
    compact = add("compact", "merge segments; the worker does it by itself, this does it now")
    compact.add_argument("--full", action="store_true", help="into as few segments as possible")
    compact.add_argument("--format", choices=("text", "json"), default="text")
    gc = add("gc", "expire old manifests, and delete files that nothing needs any more")
    gc.add_argument(
        "--keep-days",
        type=_days,
        metavar="N",
        help="keep manifests for N days; pinned ones and the newest stay in any case (if left out, "
        "7 or DICOM_INDEXER_RETENTION_DAYS, and the newest ten stay)",
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would be done")
    gc.add_argument("--format", choices=("text", "json"), default="text")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of days, at least 0, not {text!r}")
    return days


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"a number from 0 to 65535, not {text!r}")
    return int(text)


def _add_at(parser: _Parser) -> None:
    parser.add_argument("--at", metavar="MANIFEST", help=f"{_MANIFEST_HELP}, not the newest")


if __name__ == "__main__":
    raise SystemExit(main())
