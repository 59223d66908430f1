"""What the commands around a deployment take: `cost`, `size` and `smoke`."""

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


def add_size(parser: argparse.ArgumentParser) -> None:
    """Arguments of `size`."""
    parser.add_argument(
        "--series",
        type=_large_count,
        default=[1_000_000, 10_000_000, 100_000_000],
        nargs="+",
        metavar="N",
        help="in the index; 10M is 10 million (default 1M 10M 100M)",
    )
    parser.add_argument("--texts", type=_count, default=5, metavar="N", help="a series (default 5)")
    parser.add_argument(
        "--text-dimension", type=_count, default=512, metavar="D", help="of text vectors (512)"
    )
    parser.add_argument(
        "--images", type=_seconds, default=1.0, metavar="N", help="image vectors a series (1)"
    )
    parser.add_argument(
        "--image-dimension", type=_count, default=1024, metavar="D", help="of them (1024)"
    )
    parser.add_argument(
        "--distinct",
        type=_share,
        default=0.74,
        metavar="SHARE",
        help="of texts that no other text equals (0.74: docs/benchmarks-seed.md)",
    )
    parser.add_argument(
        "--within", type=_some_seconds, default=1.0, metavar="S", help="wanted of a search (1 s)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a price or a measure that you know better; repeatable",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


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


def _some_seconds(text: str) -> float:
    seconds = _seconds(text)
    if seconds == 0:
        raise argparse.ArgumentTypeError("more than 0 seconds")
    return seconds


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"a share from 0 to 1, not {text!r}")
    return share


def _large_count(text: str) -> int:
    """A count; `k` and `M` after it are thousands and millions."""
    unit = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    return _count(text[:-1] if unit > 1 else text) * unit


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise argparse.ArgumentTypeError(f"a whole number, at least 0, not {text!r}")
    return int(text)
