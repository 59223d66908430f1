"""Alerts: each that must be, asking for what the programs log."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.check.problems import Problem
from infra.check.rules.stores import functions_of_the_code
from infra.check.scenarios import Scenario

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
    for one in scenario.deployment.of_type(_QUERIES):
        query = str(one.at("properties.criteria.allOf.0.query"))
        for listed in re.findall(r"Name in \(([^)]*)\)", query):
            for name in sorted(set(re.findall(r'"([^"]*)"', listed)) - functions_of_the_code()):
                text = f"{one.ref.names[-1]} asks for {name}, which is no function"
                yield Problem(rule="alerts", where=one.where, text=text)
        for logged in re.findall(r'(?:startswith|Log has) "([^"]*)"', query):
            if logged not in lines:
                text = f"{one.ref.names[-1]} asks for {logged!r}, which nobody logs"
                yield Problem(rule="alerts", where=one.where, text=text)
        if not re.search(r"AppRequests|AppTraces|ContainerAppConsoleLogs", query):
            text = f"{one.ref.names[-1]} asks no table"
            yield Problem(rule="alerts", where=one.where, text=text)
