"""Alerts: each that must be, with its runbook, at its limits, asking for what the programs tell."""

import re
from collections.abc import Iterator
from typing import Any

from indexer_core.telemetry import METRICS as TOLD
from infra.check.problems import Problem
from infra.check.queries import queries_of
from infra.check.rules.alert_tables import ALERTS, NEEDS_WORKER, QUERIES, Alert
from infra.check.rules.asked import wrong_with
from infra.check.scenarios import Scenario
from infra.check.values import Resource

_WHERE = "modules/alerts.bicep"
_BUDGET = "budget"
_RUNBOOKS = re.compile(r"^## Runbooks$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def alert_problems(scenario: Scenario) -> Iterator[Problem]:
    """Alerts that are missing or other than they must be, and queries for what nobody tells."""
    found = {
        (one.type, one.ref.names[-1].rpartition("-")[0]): one
        for kind in sorted({alert.type for alert in ALERTS.values()})
        for one in scenario.deployment.of_type(kind)
    }
    has_worker = bool(scenario.deployment.of_type("Microsoft.App/containerApps"))
    for name, alert in ALERTS.items():
        resource = found.get((alert.type, name))
        if resource is None and (has_worker or name not in NEEDS_WORKER):
            yield _problem(f"there is no alert {name}", scenario)
        elif resource is not None:
            for text in _of_alert(scenario, name, alert, resource):
                yield _problem(f"{name}: {text}", scenario)
    asked = list(queries_of(scenario))
    for resource, whose, text in wrong_with(asked):
        yield Problem(rule="alerts", where=resource.where, text=f"{whose} asks {text}")
    everything = " ".join(query for _, _, query in asked)
    for metric in TOLD:
        if f'"{metric}"' not in everything:
            yield _problem(f"neither workbook nor alert shows {metric}", scenario)


def runbook_problems(page: str) -> list[str]:
    """Alerts without a runbook on the page, and runbooks for nothing that is sent."""
    part = _RUNBOOKS.search(page)
    found = re.findall(r"^### (\S+)$", part.group(1) if part else "", re.MULTILINE)
    wanted = [*ALERTS, _BUDGET]
    texts = [f"{name} has no runbook" for name in wanted if name not in found]
    texts += [f"{name} is the runbook of no alert" for name in found if name not in wanted]
    return texts + [
        f"{name} has two runbooks" for name in sorted(set(found)) if found.count(name) > 1
    ]


def _problem(text: str, scenario: Scenario) -> Problem:
    return Problem(rule="alerts", where=_WHERE, text=f"{text} ({scenario.name})")


def _of_alert(scenario: Scenario, name: str, alert: Alert, resource: Resource) -> Iterator[str]:
    expected: dict[str, Any] = {
        "severity": alert.severity,
        "evaluationFrequency": alert.frequency,
        "windowSize": alert.window,
    }
    if alert.type == QUERIES:
        expected["overrideQueryTimeRange"] = alert.range
        expected["displayName"] = f"dicom-indexer: {name}"
    for path, value in expected.items():
        if resource.at(f"properties.{path}") != value:
            yield f"{path} is {value}"
    told = str(resource.at("properties.description"))
    page = scenario.values.get("runbooks", "docs/operations.md")
    if not told.endswith(f". What to do: {page}#{name}"):
        yield "the description ends in the address of its runbook"
    limited = resource.at("properties.criteria.allOf.0")
    for parameter, default in alert.limits.items():
        value = scenario.values.get(parameter, default)
        held = (
            re.search(rf"(?<!\d){value}(?!\d)", limited["query"])
            if alert.type == QUERIES
            else limited["threshold"] == value
        )
        if not held:
            yield f"it keeps to {parameter}"
