"""The options of ``cohort``."""

import argparse
from collections.abc import Callable
from typing import Any

_NAME_HELP = "letters, digits, - and _"
_TEXT_HELP = "what is asked; it is kept, and its words are read for filters as in a search"
_WHICH_HELP = "a cohort, its newest version; or NAME@VERSION"
_LEAST_HELP = "show no count below N, nor what it could be worked out from"
FORMATS = ("ndjson", "csv", "parquet", "dicom-json", "uids")


def add_cohort(
    parser: argparse.ArgumentParser, common: Any, add_filter: Callable[..., None]
) -> None:
    """Add the actions to the parser of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, help_text: str, which: str = "") -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = actions.add_parser(
            name, help=help_text, description=help_text, parents=[common]
        )
        if which:
            found.add_argument("name", metavar="NAME", help=which)
        return found

    save = add(
        "save",
        "freeze the series that TEXT and filters ask for, as the next version of NAME",
        _NAME_HELP,
    )
    save.add_argument("text", metavar="TEXT", nargs="*", help=_TEXT_HELP)
    add_filter(save)
    save.add_argument(
        "--no-interpret", action="store_true", help="only keep the words, do not read them"
    )
    save.add_argument(
        "--with-unknown",
        action="append",
        default=[],
        metavar="FIELD",
        help="keep series for which FIELD is unknown; repeatable, or FIELD,FIELD",
    )
    save.add_argument(
        "--uids",
        metavar="FILE",
        help="the series of this list instead: Series Instance UIDs, one a line (- reads "
        "standard input)",
    )
    save.add_argument("--purpose", metavar="TEXT", default="", help="what it is for")
    save.add_argument("--by", metavar="WHO", default="", help="who saves it")

    listed = add("list", "all cohorts with all their versions")
    show = add("show", "what was asked, what was lost on the way, who is in it", _WHICH_HELP)
    diff = add("diff", "which series came, went or changed since it was saved", _WHICH_HELP)
    diff.add_argument(
        "--to", metavar="VERSION", default="newest", help="another version (default: the present)"
    )
    diff.add_argument("--format", choices=("table", "json", "csv"), default="table")
    refresh = add("refresh", "ask again, and save the answer if it differs", _WHICH_HELP)
    export = add("export", "its records as they were when it was saved", _WHICH_HELP)
    export.add_argument("--format", choices=FORMATS, default="ndjson")
    export.add_argument("--output", metavar="FILE", help="write here instead of standard output")
    card = add("card", "how its series spread over sex, age, manufacturer, modality", _WHICH_HELP)
    card.add_argument("--beside", metavar="NAME", help="another cohort, to compare the shares with")
    delete = add("delete", "delete a cohort, or one version, and let its manifest go", _WHICH_HELP)
    for parsed in (show, card):
        parsed.add_argument("--least", type=int, default=0, metavar="N", help=_LEAST_HELP)
    for parsed in (save, listed, show, refresh, card, delete):
        parsed.add_argument("--format", choices=("text", "json"), default="text")
