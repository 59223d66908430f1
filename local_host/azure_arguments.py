"""What the commands around an Azure deployment take: `cost` and `smoke`."""

import argparse


def add_cost(parser: argparse.ArgumentParser) -> None:
    """Arguments of `cost`."""
    parser.add_argument(
        "--series", type=_count, default=120_000, metavar="N", help="in the index (default 120000)"
    )
    parser.add_argument(
        "--monthly", type=_count, default=500, metavar="N", help="more each month (default 500)"
    )
    parser.add_argument(
        "--uploads",
        type=_count,
        default=20,
        metavar="N",
        help="in how many uploads these arrive; the worker starts for each (default 20)",
    )
    parser.add_argument(
        "--worker",
        choices=("gpu", "cpu"),
        default="gpu",
        help="gpu: a T4 that runs MedImageInsight, too (default); cpu: no image model",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a price or an assumption that you know better; repeatable",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")


def add_smoke(parser: argparse.ArgumentParser) -> None:
    """Arguments of `smoke`."""
    parser.add_argument(
        "--endpoint",
        required=True,
        metavar="URL",
        help="of the app: https://NAME.azurewebsites.net",
    )
    parser.add_argument(
        "--inbox",
        metavar="ACCOUNT/CONTAINER",
        help="where the file goes, signed in to by identity; or with /FOLDER; else the first of "
        "INDEXER_SOURCES",
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="seconds that an upload, and a deletion, may take to show (default 600)",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds, at least 0, not {text!r}")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise argparse.ArgumentTypeError(f"a whole number, at least 0, not {text!r}")
    return int(text)
