"""What the commands about cohorts print."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from indexer_core.record_files import write_csv
from local_host.output import print_fields, print_table, printable

if TYPE_CHECKING:
    from indexer_core.cohorts.balance import Card
    from indexer_core.cohorts.comparing import CohortDifference
    from indexer_core.cohorts.model import Cohort

_CHANGE_COLUMNS = ("change", "seriesInstanceUid", "studyInstanceUid", "seriesKey", "why", "fields")
_HIDDEN = "*"
_FIELDS = {
    "sex": "sex",
    "ageBand": "age",
    "manufacturer": "manufacturer",
    "modality": "modality",
    "bodyRegion": "body region",
}


def print_saved(saved: "Cohort", *, as_json: bool) -> None:
    """A cohort that was just saved."""
    from indexer_core.cohorts.wire import summary

    if as_json:
        print(json.dumps(summary(saved), indent=2))
        return
    print(f"saved {saved.title}: {len(saved.members):,} series of manifest {saved.manifest}")
    print(f"filters {'; '.join(_filters(summary(saved))) or '-'}")
    if saved.question.rest:
        print(f"these words are kept and choose no series: {printable(saved.question.rest)}")
    print(f"digest sha256:{saved.digest}")


def print_list(cohorts: Sequence["Cohort"], *, as_json: bool) -> None:
    """All cohorts."""
    from indexer_core.cohorts.wire import summary

    found = [summary(cohort) for cohort in cohorts]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print("no cohorts: cohort save NAME --filter FIELD=VALUE makes one")
        return
    rows = [
        {
            "cohort": f"{one['name']}@{one['version']}",
            "saved (UTC)": _when(one),
            "series": f"{one['series']:,}",
            "erased": f"{one['erased']:,}" if one["erased"] else "-",
            "manifest": str(one["manifest"]),
            "digest": one["digest"].removeprefix("sha256:")[:12],
            "filters": " ".join(_filters(one)) or "-",
        }
        for one in found
    ]
    print_table(rows, right=("series", "erased", "manifest"))


def print_whole(found: Mapping[str, Any], least: int, *, as_json: bool) -> None:
    """A cohort with its attrition table and its balance card."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    by = f" by {found['createdBy']}" if found["createdBy"] else ""
    counted = f"{_n(found['series'])} as saved, {_n(found['deleted'])} deleted now"
    proof = "" if found["asSaved"] else ", which a purge has changed since"
    fields: dict[str, str | Sequence[str]] = {
        "cohort": f"{found['name']}@{found['version']} ({found['kind']})",
        "saved": f"{_when(found)} UTC{by}",
        "purpose": found["purpose"] or "-",
        "question": found["text"] or "-",
        **({"unused": found["rest"]} if found["rest"] else {}),
        "filters": _filters(found),
        "manifest": f"{found['manifest']} (search --at {found['pin']})",
        "series": f"{counted}, {_n(found['erased'])} erased",
        "digest": f"{found['digest']}{proof}",
    }
    print_fields(fields)
    print()
    print_table(
        [
            {
                "attrition": step["label"],
                "series": _n(step["series"]),
                "unknown": _n(step["unknown"]),
            }
            for step in found["attrition"]
        ],
        right=("series", "unknown"),
    )
    print()
    _print_card(found["card"], least)


def print_cards(
    titles: Sequence[str], cards: Sequence["Card"], least: int, *, as_json: bool
) -> None:
    """A balance card, or two side by side."""
    from indexer_core.cohorts import wire

    if len(cards) == 1:
        found = wire.card(cards[0])
        if as_json:
            print(json.dumps({"cohort": titles[0], **found}, indent=2))
            return
        print(f"{titles[0]}: {_totals(found)}")
        _print_card(found, least)
        return
    both = wire.beside(cards[0], cards[1])
    if as_json:
        print(json.dumps({"cohorts": list(titles), **both}, indent=2))
        return
    for title, one in zip(titles, both["cards"], strict=True):
        print(f"{title}: {_totals(one)}")
    _print_beside(titles, both, least)


def print_difference(found: "CohortDifference", before: str, after: str, form: str) -> None:
    """Series that differ between two answers."""
    from indexer_core.cohorts.wire import difference

    said = difference(found)
    if form == "json":
        print(json.dumps({"from": before, "to": after, **said}, indent=2))
        return
    if form == "csv":
        write_csv(said["series"], _CHANGE_COLUMNS, sys.stdout)
        return
    rows = [
        {
            "change": one["change"],
            "series": one["seriesInstanceUid"],
            "because": one["why"] or " ".join(one["fields"]) or "-",
        }
        for one in said["series"]
    ]
    print_table(rows)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in said["counts"].items() if count)
    place = f"{before} (manifest {found.before}) to {after} (manifest {found.after})"
    print(f"{place}: {counts or 'no difference'}")


def print_refreshed(
    before: "Cohort", found: "CohortDifference", saved: "Cohort | None", *, as_json: bool
) -> None:
    """What is new, and the version that was saved for it."""
    from indexer_core.cohorts.wire import difference, summary

    if as_json:
        said = None if saved is None else summary(saved)
        print(json.dumps({"before": before.title, **difference(found), "saved": said}, indent=2))
        return
    counts = found.counts()
    went = [f"{n:,} {kind}" for kind, n in counts.items() if n and kind != "added"]
    went += [f"{found.n_deleted:,} deleted now"] if found.n_deleted else []
    news = ", ".join([f"{counts['added']:,} new", *went])
    print(f"{news} since {before.title} (manifest {before.manifest})")
    if saved is not None:
        print_saved(saved, as_json=False)


def _print_card(card: Mapping[str, Any], least: int) -> None:
    withheld = [{"value": _HIDDEN, "series": None, "share": None, "patients": None}]
    rows = [
        {
            "": _FIELDS[field] if place == 0 else "",
            "value": cell["value"],
            "series": _n(cell["series"]),
            "share": _percent(cell["share"]),
            "patients": _n(cell["patients"]),
        }
        for field, cells in card["fields"].items()
        for place, cell in enumerate(withheld if cells is None else cells)
    ]
    print_table(rows, right=("series", "share", "patients"))
    _print_legend(least)


def _print_beside(titles: Sequence[str], both: Mapping[str, Any], least: int) -> None:
    one, other = ({f: _by_value(c) for f, c in card["fields"].items()} for card in both["cards"])
    rows = []
    for field, differences in both["differences"].items():
        for place, (value, smd) in enumerate(differences.items()):
            row = {"": _FIELDS[field] if place == 0 else "", "value": value}
            for title, cells in zip(titles, (one[field], other[field]), strict=True):
                none = {"series": 0, "share": 0.0}
                cell = {"series": None} if cells is None else cells.get(value, none)
                n = cell["series"]
                row[title] = _HIDDEN if n is None else f"{n:,} ({_percent(cell['share'])})"
            rows.append({**row, "SMD": "-" if smd is None else f"{smd:+.2f}"})
    print_table(rows, right=(*titles, "SMD"))
    _print_legend(least)


def _print_legend(least: int) -> None:
    if least > 1:
        # Not "<5": which of them is small would tell the others.
        print(f"{_HIDDEN}: fewer than {least}, or left out so that such a count cannot be computed")


def _by_value(cells: Sequence[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]] | None:
    return None if cells is None else {cell["value"]: cell for cell in cells}


def _totals(card: Mapping[str, Any]) -> str:
    return ", ".join(f"{_n(card[name])} {name}" for name in ("series", "patients", "studies"))


def _n(count: int | None) -> str:
    return _HIDDEN if count is None else f"{count:,}"


def _percent(share: float | None) -> str:
    return _HIDDEN if share is None else f"{100 * share:.1f} %"


def _when(found: Mapping[str, Any]) -> str:
    return str(found["created"]).removesuffix("+00:00").replace("T", " ")


def _filters(found: Mapping[str, Any]) -> list[str]:
    said = list(found["filters"])
    if found["alternatives"]:
        said.append(" or ".join(" and ".join(branch) for branch in found["alternatives"]))
    if found["withUnknown"]:
        said.append(f"unknown allowed: {', '.join(found['withUnknown'])}")
    if found["scopes"] is not None:
        said.append(f"scope={','.join(found['scopes'])}")
    return [printable(one) for one in said]
