"""Queries against what the programs tell: names, attributes, values, and KQL itself."""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

from indexer_core.telemetry import FUNCTIONS_ROLE, METRICS, SPANS, WORKER_ROLE
from infra.check.kql import complaints, has_parser
from infra.check.log_tables import REQUESTS, TABLES
from infra.check.rules.stores import functions_of_the_code
from infra.check.values import Resource

_ROOT = Path(__file__).parents[3]
# Where lines are logged, and where the values of attributes come from.
_LOGS = ("function_app/handlers.py", "gpu_worker/loop.py", "gpu_worker/settling.py")
_WORDS = ("indexer_core/look.py", "gpu_worker/settling.py", "indexer_core/adapters/azure/stores.py")
_GRAIN = re.compile(r"\{range:grain\}")
_PLATFORM = frozenset({"DeadLetteredCount", "DroppedEventCount"})

Asked = tuple[Resource, str, str]


def wrong_with(asked: Iterable[Asked]) -> Iterator[Asked]:
    """For each query, where it stands, and what is wrong with it."""
    readable = [(resource, whose, _GRAIN.sub("15m", query)) for resource, whose, query in asked]
    parsed = _parsed(query for _, _, query in readable)
    for resource, whose, query in readable:
        for text in (*wrong_names(query), *parsed.get(query, ())):
            yield resource, whose, text


def wrong_in(queries: Iterable[str]) -> list[str]:
    """What is wrong with queries that stand on a page."""
    asked = list(queries)
    parsed = _parsed(asked)
    return [
        f"{text}: {query.strip()[:60]}"
        for query in asked
        for text in (*wrong_names(query), *parsed.get(query, ()))
    ]


def wrong_names(query: str) -> Iterator[str]:
    """Names that nobody tells: of metrics, spans, functions, attributes, values, lines."""
    tables = [table for table in TABLES if re.search(rf"\b{table}\b", query)]
    if not tables:
        yield "no table"
    metrics = set(re.findall(r'"(dicom_indexer[^"]*)"', query))
    if "AppMetrics" in tables and not metrics:
        yield "for no metric"
    named = _names(query, "Name") - metrics
    told_of: list[tuple[str, AbstractSet[str], AbstractSet[str]]] = [
        ("metric", metrics, set(METRICS)),
        ("function or span", named, _rows(tables)),
        ("metric of Event Grid", _names(query, "MetricName"), _PLATFORM),
        ("role", _names(query, "AppRoleName"), {FUNCTIONS_ROLE, WORKER_ROLE}),
        ("attribute", _attributes_in(query), _attributes(metrics | named)),
        ("outcome", _names(query, "outcome"), _words()),
    ]
    for kind, asked, known in told_of:
        for name in sorted(asked - known):
            yield f"for the {kind} {name}, which there is not"
    for line in re.findall(r'(?:Message|Log) (?:startswith|has) "([^"]*)"', query):
        if line not in _text(_LOGS):
            yield f"for {line!r}, which nobody logs"


def _rows(tables: list[str]) -> set[str]:
    """Names that rows of these tables may have."""
    names: set[str] = set()
    if "AppRequests" in tables:
        names |= functions_of_the_code() | REQUESTS
    if "AppDependencies" in tables:
        names |= set(SPANS) - REQUESTS
    return names


def _attributes_in(query: str) -> set[str]:
    return set(re.findall(r"Properties\.(\w+)", query))


def _words() -> set[str]:
    return set(re.findall(r'"(\w+)"', _text(_WORDS)))


def _names(query: str, column: str) -> set[str]:
    """The texts that a column is compared with."""
    equal = re.findall(rf'\b{column}(?:\))? == "([^"]*)"', query)
    property_of = re.findall(rf'Properties\.{column}\) == "([^"]*)"', query)
    listed = re.findall(rf"\b{column} in \(([^)]*)\)", query)
    return {
        *equal,
        *property_of,
        *(name for one in listed for name in re.findall(r'"([^"]*)"', one)),
    }


def _attributes(names: set[str]) -> set[str]:
    """Those that metrics and spans of these names may have."""
    of_metrics = {name: metric.attributes for name, metric in METRICS.items()}
    return {one for name in names for one in {**of_metrics, **SPANS}.get(name, ())}


@cache
def _text(paths: tuple[str, ...]) -> str:
    return "".join((_ROOT / path).read_text(encoding="utf-8") for path in paths)


def _parsed(queries: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    if not has_parser():
        return {}
    return {
        query: tuple(f"what is no KQL: {text}" for text in texts)
        for query, texts in complaints(queries).items()
    }
