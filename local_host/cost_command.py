"""The command `cost`: what an index on Azure costs, and what a delta does."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from indexer_core.costs import reference
from indexer_core.costs.estimate import Estimate, added, standing, work
from indexer_core.costs.figures import AS_OF, Figures, figures_of
from local_host import output
from local_host.settings import Settings

NOT_COUNTED = (
    "your own files",
    "endpoints of models",
    "private endpoints",
    "registry",
    "vault",
    "traffic out of the region",
    "tax",
)


def run_cost(options: argparse.Namespace, settings: Settings) -> int:
    """Print bills, what they follow from, and what the reference batch pipeline costs."""
    del settings
    figures = figures_of(options.worker, options.set)
    bills = {
        "first": work(options.series, 1, figures),
        "delta": work(options.monthly, options.uploads, figures),
        "standing": standing(options.series + options.monthly, figures),
    }
    at_once = work(options.monthly, 1, figures)
    if options.format == "json":
        print(json.dumps(_as_json(options, {**bills, "deltaAtOnce": at_once}, figures), indent=2))
        return 0
    uploads = f"{options.uploads:,} upload{'' if options.uploads == 1 else 's'}"
    titles = {
        "first": f"{options.series:,} series, once",
        "delta": f"a month's {options.monthly:,} further series, in {uploads}",
        "standing": "a month of standing ready, whatever comes",
    }
    for name, title in titles.items():
        _print_bill(title, bills[name])
    print(f"a month in all: USD {_usd(_month(bills).usd)}\n")
    _print_delta(options, bills["delta"], at_once, figures)
    _print_reference()
    _print_figures(figures)
    print(f"\nnot counted: {', '.join(NOT_COUNTED)}; free grants are not taken off")
    return 0


def _month(bills: Mapping[str, Estimate]) -> Estimate:
    return added((bills["delta"], bills["standing"]))


def _print_bill(title: str, bill: Estimate) -> None:
    print(f"{title}: USD {_usd(bill.usd)}")
    output.print_table(
        [
            {
                "  what": f"  {line.name}",
                "amount": _amount(line.amount),
                "of": line.unit,
                "USD": _usd(line.usd),
            }
            for line in bill.lines
        ],
        right=["amount", "USD"],
    )
    print()


def _print_delta(
    options: argparse.Namespace, delta: Estimate, at_once: Estimate, figures: Figures
) -> None:
    all_series = options.series + options.monthly
    stored = standing(all_series, figures).usd - standing(options.series, figures).usd
    print(
        f"what the delta takes: {_hours(delta.worker_s)} of a worker, most of it starting and"
        f" cooling down where uploads are small;\n"
        f"in one upload {_hours(at_once.worker_s)} and USD {_usd(at_once.usd)}. It does not grow"
        f" with the index, and adds USD {stored:,.4f} to every month.\n"
        f"The reference batch pipeline has no deltas: it indexes all {all_series:,} anew each time:"
        f"\n{_hours(_reference_s(options))} of a GPU, USD {_usd(reference.rebuilt(all_series))}\n"
    )


def _reference_s(options: argparse.Namespace) -> float:
    return reference.BASELINE.series_s * float(options.series + options.monthly)


def _print_reference() -> None:
    print(
        "the reference's own table, from its own rates (USD an hour: GPU node 3.00, CPU node 0.25,"
    )
    print("endpoint 1.40)")
    output.print_table(
        [
            {
                "  series": f"  {row.n_series:,}",
                "node": row.node,
                "hours": f"{row.hours:,.2f}",
                "s a series": f"{row.series_s:.2f}",
                "node USD": _usd(row.node_usd),
                "endpoint USD": _usd(row.endpoint_usd),
                "all USD": _usd(row.usd),
                "it states": f"{row.stated_usd:,.0f}",
            }
            for row in reference.ROWS
        ],
        right=["hours", "s a series", "node USD", "endpoint USD", "all USD", "it states"],
    )
    print("what it states for 4,500 series does not follow from its rates\n")


def _print_figures(figures: Figures) -> None:
    print(f"what is assumed, {AS_OF} (--set NAME=VALUE replaces any)")
    output.print_table(
        [
            {
                "  name": f"  {figure.name}",
                "value": f"{figure.value:g}",
                "unit": figure.unit,
                "from": figure.source,
            }
            for figure in figures.values()
        ],
        right=["value"],
    )


def _as_json(
    options: argparse.Namespace, bills: Mapping[str, Estimate], figures: Figures
) -> dict[str, Any]:
    return {
        "series": options.series,
        "monthly": options.monthly,
        "uploads": options.uploads,
        "worker": options.worker,
        "currency": "USD",
        "asOf": AS_OF,
        **{name: _bill_as_json(bill) for name, bill in bills.items()},
        "monthUsd": _month(bills).usd,
        "reference": [
            {
                "series": row.n_series,
                "node": row.node,
                "hours": row.hours,
                "secondsPerSeries": row.series_s,
                "nodeUsd": row.node_usd,
                "endpointUsd": row.endpoint_usd,
                "usd": row.usd,
                "statedUsd": row.stated_usd,
            }
            for row in reference.ROWS
        ],
        "referenceRebuild": {
            "gpuSeconds": _reference_s(options),
            "usd": reference.rebuilt(options.series + options.monthly),
        },
        "figures": [asdict(figure) for figure in figures.values()],
        "notCounted": list(NOT_COUNTED),
    }


def _bill_as_json(bill: Estimate) -> dict[str, Any]:
    lines = [asdict(line) for line in bill.lines]
    return {"usd": bill.usd, "workerSeconds": bill.worker_s, "lines": lines}


def _usd(value: float) -> str:
    return f"{value:,.2f}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"
