"""The header texts that rules read, with what each counts."""

from collections.abc import Iterator
from dataclasses import dataclass

from indexer_core.rules.conditions import FactsView, as_text
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.text import Text, analyse

_CODE_PARTS = 3


@dataclass(frozen=True, slots=True)
class SourceText:
    """One text of one header keyword.

    Parameters
    ----------
    weight
        What it counts for the field asked for, lowered where few instances have this value.
    level
        ``series`` or ``study``.
    code
        The code value, where the text is the meaning of a code.
    """

    keyword: str
    weight: float
    level: str
    text: Text
    code: str = ""


def texts_for(field: str, view: FactsView, rules: Rules) -> Iterator[SourceText]:
    """Texts that speak of `field`, in the order of sources.yaml."""
    each = rules.tables["sources"]["each"]
    for keyword, weights in rules.tables["sources"]["texts"].items():
        if field not in weights:
            continue
        values = view.values(keyword)
        total = sum(count for _, count in values) or 1
        for value, count in values:
            weight = float(weights[field]) * (count / total) ** 0.5
            parted = value if keyword in each and isinstance(value, tuple) else (value,)
            for item in parted:
                code, text = _split_code(as_text(item))
                yield SourceText(keyword, weight, weights["level"], analyse(text), code)


def _split_code(text: str) -> tuple[str, str]:
    """Codes are kept as ``value|scheme|meaning``."""
    parts = text.split("|")
    if len(parts) == _CODE_PARTS:
        return parts[0].strip(), parts[2].strip()
    return "", text
