"""How a search was understood and how well it went, in lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BELOW = {
    "possible": "may fit (what is asked is not known of them):",
    "near": "near, but not all that was asked for:",
}


def heading(found: Mapping[str, Any]) -> Iterator[str]:
    """What is told above the hits: filters that words became, words read otherwise, poor fits."""
    said = found["interpretation"]
    for each in said.get("corrections", ()):
        yield f"{each['from']} is read as {each['to']}"
    if said.get("alternatives"):
        yield "understood: " + " or ".join(
            f"({_all_of(branch)})" for branch in said["alternatives"]
        )
    else:
        understood = [each for each in said["filters"] if each.get("from") == "query"]
        if understood:
            yield f"understood: {_all_of(understood)}"
    if found.get("fit") == "none":
        yield "nothing fits" + (" these filters" if said["filters"] else "")
    elif found.get("fit") == "weak":
        yield "weak: no text of the best series holds most of the words that are no filter"


def groups(hits: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Hits as they fit, each group under its line; what fits has none."""
    for match in ("fits", *_BELOW):
        group = [hit for hit in hits if hit.get("match", "fits") == match]
        if group:
            yield _BELOW.get(match, ""), group


def _all_of(filters: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{f['field']}{f['operator']}{','.join(f['values'])}" for f in filters)
