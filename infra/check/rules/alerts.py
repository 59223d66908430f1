"""Alerts: each that must be, asking for what the programs log."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from infra.check.problems import Problem
from infra.check.rules.stores import functions_of_the_code
from infra.check.scenarios import Scenario
from infra.check.values import Resource

_ROOT = Path(__file__).parents[3]
_LOGS = ("function_app/handlers.py", "gpu_worker/loop.py")
_QUERIES = "Microsoft.Insights/scheduledQueryRules"
_METRICS = "Microsoft.Insights/metricAlerts"
_WANTED = {
    _QUERIES: {"poison", "failed-series", "rejects", "lag", "run-duration"},
    _METRICS: {"dead-letters", "dropped-events"},
}


def alert_problems(scenario: Scenario) -> Iterator[Problem]:
    """Alerts that are missing, and queries for what nobody writes."""
    wanted = {kind: set(names) for kind, names in _WANTED.items()}
    if scenario.deployment.of_type("Microsoft.App/containerApps"):
        wanted[_METRICS].add("gpu-spend")
    for kind, names in wanted.items():
        found = {one.ref.names[-1].rpartition("-")[0] for one in scenario.deployment.of_type(kind)}
        for name in sorted(names - found):
            text = f"there is no alert {name} ({scenario.name})"
            yield Problem(rule="alerts", where="modules/alerts.bicep", text=text)
    lines = "".join((_ROOT / path).read_text(encoding="utf-8") for path in _LOGS)
    for resource, query in _queries(scenario):
        for text in _wrong(query, lines):
            whose = resource.ref.names[-1]
            yield Problem(rule="alerts", where=resource.where, text=f"{whose} asks {text}")


def _queries(scenario: Scenario) -> Iterator[tuple[Resource, str]]:
    """Queries of alerts and of the workbook."""
    for one in scenario.deployment.of_type(_QUERIES):
        yield one, str(one.at("properties.criteria.allOf.0.query"))
    for one in scenario.deployment.of_type("Microsoft.Insights/workbooks"):
        for item in json.loads(one.at("properties.serializedData"))["items"]:
            if "query" in item["content"]:
                yield one, item["content"]["query"]


def _wrong(query: str, lines: str) -> Iterator[str]:
    for listed in re.findall(r"Name in \(([^)]*)\)", query):
        for name in sorted(set(re.findall(r'"([^"]*)"', listed)) - functions_of_the_code()):
            yield f"for {name}, which is no function"
    for logged in re.findall(r'(?:startswith|Log has) "([^"]*)"', query):
        if logged not in lines:
            yield f"for {logged!r}, which nobody logs"
    if not re.search(r"AppRequests|AppTraces|ContainerAppConsoleLogs", query):
        yield "no table"
