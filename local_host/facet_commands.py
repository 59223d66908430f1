"""The command that counts: what the series that pass the filters consist of."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from local_host import output
from local_host.answering import answering
from local_host.opening import reading
from local_host.settings import Settings

_USUAL = ("modality", "bodyRegion", "plane", "sequence", "manufacturer", "ageYears", "flags")
_UNTOLD = "*"


def run_facets(options: argparse.Namespace, settings: Settings) -> int:
    """Count the values of fields and print them."""
    from function_app.facets import FacetsRequest, facets
    from indexer_core.filters import parse_filter
    from indexer_core.selection import Conditions

    request = FacetsRequest(
        fields=tuple(options.fields or _USUAL),
        conditions=Conditions(filters=tuple(map(parse_filter, options.filter))),
        exclude_own=options.exclude_own,
        most=options.top,
        least=options.least,
    )
    request.check()
    with answering(reading(settings), options.at) as index:
        found = facets(request, index)
    if options.format == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found, options.least)
    return 0


def _print(found: Mapping[str, Any], least: int) -> None:
    print(f"{_told(found['count'])} series")
    for field, facet in found["facets"].items():
        print(f"\n{field}")
        if facet["isWithheld"]:
            print("  not told: so few series that any count would tell too much")
            continue
        counts = {output.printable(each["value"]): each["count"] for each in facet["values"]}
        further = {"(others)": facet["other"], "(unknown)": facet["unknown"]}
        rows = [*counts.items(), *((name, n) for name, n in further.items() if n != 0)]
        output.print_table(
            [{"  value": f"  {name}", "series": _told(count)} for name, count in rows],
            right=["series"],
        )
    if least > 1:
        print(f"\n{_UNTOLD} below {least}, or left out so that what is below {least} is not told")


def _told(count: int | None) -> str:
    return _UNTOLD if count is None else f"{count:,}"
