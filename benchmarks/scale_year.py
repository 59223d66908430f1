"""A year of one billion files on paper: the tables of docs/scale.md.

Run ``python benchmarks/scale_year.py`` for the tables, with ``--write`` to put them into the page;
``--set NAME=VALUE`` shows another year. Nothing is measured: `indexer_core.costs.year` computes it.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer_core.costs.figures import Figures  # noqa: E402
from indexer_core.costs.size_figures import values  # noqa: E402
from indexer_core.costs.year import DAYS, Year, year_of  # noqa: E402
from indexer_core.costs.year_figures import LIMITS, YEAR, year_figures  # noqa: E402
from indexer_core.costs.year_limits import garbage_a_day, limits_of  # noqa: E402
from indexer_core.errors import InvalidInputError  # noqa: E402
from indexer_core.index.compaction import MergePolicy  # noqa: E402

PAGE = ROOT / "docs" / "scale.md"
_MARKED = "<!-- {name}: written by benchmarks/scale_year.py --write -->"
_END = "<!-- end -->"


def tables(figures: Figures) -> dict[str, str]:
    """The tables of the page by name."""
    year = year_of(figures, MergePolicy())
    return {
        "loads": _loads(year),
        "manifests": _manifests(year, values(figures)),
        "limits": _limits(year, figures),
        "figures": _figures(figures),
    }


def _loads(year: Year) -> str:
    rows = [
        f"| {load.name} | {_n(load.mean)} | {_n(load.busiest)} | {_n(load.burst)} | {load.unit} |"
        for load in year.loads
    ]
    head = ["| what | mean | busiest hour | burst | of |", "| --- | ---: | ---: | ---: | --- |"]
    return "\n".join([*head, *rows])


def _manifests(year: Year, f: dict[str, float]) -> str:
    segments = year.segments_at(DAYS)
    manifest_mb = segments * f["manifestBytes"] / 1e6
    manifests_gb = year.manifests_a_day * manifest_mb / 1e3
    written_gb = year.series_a_day * year.bytes_a_series * year.amplification / 1e9
    stubs = year.manifests_a_day * DAYS
    seconds = f["seriesSeconds"] * year.series_a_day * DAYS
    rows = (
        ("series", f"{year.series_a_day:,.0f} a day, {year.series_a_day * DAYS / 1e6:.1f} million"),
        ("commits", f"{year.commits_a_day:,.0f} a day, of {year.batch:.1f} series each"),
        ("merges", f"{year.merges_a_day:,.0f} a day"),
        ("bytes written for each one committed", f"{year.amplification:.1f}"),
        ("segments and merges written", f"{written_gb:.1f} GB a day"),
        ("settled segments", f"{segments:,.0f} of {year.segment_bytes / 1e6:.0f} MB"),
        ("one manifest", f"{manifest_mb:.2f} MB"),
        ("manifests written, and read by each reader", f"{manifests_gb:.1f} GB a day"),
        ("manifests kept", f"{manifests_gb * f['retentionDays']:,.0f} GB for the retention time"),
        ("stubs of expired manifests", f"{stubs / 1e6:.1f} million, 128 bytes each"),
        ("garbage", f"{garbage_a_day(year, f):,.0f} blobs a day"),
        ("segments that each reader fetches", f"{written_gb:.1f} GB a day: merged ones again"),
        ("rows of files", f"{f['instancesAYear'] * f['rowBytes'] / 1e12:.1f} TB"),
        (
            "worker",
            f"{seconds / 3600:,.0f} hours, USD {seconds / 3600 * f['gpuPrice']:,.0f} of GPU",
        ),
    )
    body = "\n".join(f"| {what} | {amount} |" for what, amount in rows)
    return f"| what, at the end of the year | |\n| --- | --- |\n{body}"


def _limits(year: Year, figures: Figures) -> str:
    rows = []
    for limit in limits_of(year, figures):
        times = f"{limit.headroom:,.2f}" if limit.headroom < 10 else f"{limit.headroom:,.0f}"
        when = "-" if limit.day is None else _day(limit.day)
        rows.append(
            f"| {limit.name} | {_n(limit.use)} | {_n(limit.limit)} {limit.unit} | {times} | {when} "
            f"| {limit.mend} |"
        )
    head = [
        "| limit | asked for | has | times the year | met on day | mend |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([*head, *rows])


def _day(day: float) -> str:
    return f"**{day:.0f}**" if day <= DAYS else f"{day:,.0f}"


def _figures(figures: Figures) -> str:
    rows = [
        f"| {each.name} | {figures[each.name].value:,.10g} | {each.unit} "
        f"| {figures[each.name].source} |"
        for each in (*YEAR, *LIMITS)
    ]
    return "\n".join(["| name | value | unit | from |", "| --- | ---: | --- | --- |", *rows])


def _n(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def with_tables(page: str, found: dict[str, str]) -> str:
    """The page with these tables in their places."""
    for name, text in found.items():
        begin = _MARKED.format(name=name)
        pattern = re.escape(begin) + ".*?" + re.escape(_END)
        made = f"{begin}\n\n{text}\n\n{_END}"
        page, n = re.subn(pattern, lambda _, made=made: made, page, flags=re.DOTALL)
        if n != 1:
            raise ValueError(f"{PAGE.name} has no place for {name}")
    return page


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    try:
        figures = year_figures(options.set)
    except InvalidInputError as error:
        parser.error(str(error))
    found = tables(figures)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_tables(page, found), encoding="utf-8")
    print("\n\n".join(found.values()))


if __name__ == "__main__":
    main()
