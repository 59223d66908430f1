"""Queries of alerts, workbook and runbooks: parsed by Microsoft's parser, about what is told."""

import json
import re

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from indexer_core.telemetry import METRICS
from infra.check.kql import complaints, has_parser
from infra.check.log_tables import REQUESTS
from infra.check.queries import queries_in, workbook_items
from infra.check.rules import page_problems
from infra.check.rules.alert_tables import ALERTS
from infra.check.rules.alerts import runbook_problems
from infra.check.rules.asked import wrong_in
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "operations.md"


@pytest.fixture(scope="session")
def parser():
    if not has_parser():
        pytest.skip("no parser of KQL: make tools installs it, where npm is")


@pytest.fixture(scope="session")
def workbook(files):
    return json.loads(files["workbook.json"])


FAULTS = {
    "an unknown table": ("AppMetricz | count", "AppMetricz"),
    "an unknown column": ("AppMetrics | where Nam == 'x'", "Nam"),
    "a column that was left behind": ("AppMetrics | project Sum | where Name == 'x'", "Name"),
    "an unknown function": ("AppMetrics | summarize total(Sum)", "total"),
    "types that do not meet": ("AppMetrics | where TimeGenerated > 'x'", "datetime"),
    "a bracket that is not closed": ("AppMetrics | where (Name == 'x'", "Expected"),
    "an operator that there is not": ("AppMetrics | were Name == 'x'", "Query operator expected"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_parser_knows_what_is_wrong(parser, name):
    query, told = FAULTS[name]
    assert told in " ".join(complaints([query])[query])


def test_the_parser_has_nothing_against_what_is_right(parser):
    assert complaints(["AppMetrics | summarize percentilew(Max, ItemCount, 95)", "print 1"]) == {}


def test_every_query_of_alerts_and_workbook_is_parsed(parser, files):
    from infra.check.queries import queries_of
    from infra.check.scenarios import scenarios

    asked = {query for one in scenarios(files) for _, _, query in queries_of(one)}
    assert len(asked) >= 10 + 16
    broken = [f"{query} | where NoSuchColumn == 1" for query in asked]
    assert len(complaints([query.replace("{range:grain}", "15m") for query in broken])) == len(
        asked
    )


@pytest.mark.parametrize(
    "query",
    [
        'AppMetrics | where Name == "dicom_indexer.look"',
        "AppMetrics | where Sum > 1",
        'AppMetrics | where Name == "dicom_indexer.poison" | summarize by x = Properties.code',
        'AppRequests | where Name == "ingests"',
        'AppRequests | where Name == "commit"',
        'AppDependencies | where Name == "series"',
        'AppRequests | where AppRoleName == "worker"',
        'AppTraces | where Message startswith "nobody logs this"',
        'AzureMetrics | where MetricName == "DeadLetters"',
        "Heartbeat | count",
    ],
)
def test_what_nobody_tells_is_found(query):
    assert wrong_in([query])


def test_spans_that_become_requests_are_those_of_the_adapter():
    sending = pytest.importorskip("indexer_core.adapters.telemetry.sending")
    assert sending._STARTED_BY_A_MESSAGE == REQUESTS


def test_the_workbook_is_one(workbook):
    items = list(workbook_items(workbook))
    assert workbook["version"] == "Notebook/1.0"
    names = [item["name"] for item in items]
    assert len(names) == len(set(names))
    for item in items:
        content = item["content"]
        assert item["type"] in {1, 3, 9}
        if item["type"] == 3:
            assert content["version"] == "KqlItem/1.0"
            assert content["title"]
            assert content["visualization"] in {"timechart", "barchart", "table"}
            assert content["timeContextFromParameter"] == "range"
    known = {
        one["name"] for item in items if item["type"] == 9 for one in item["content"]["parameters"]
    }
    assert set(re.findall(r"\{(\w+)(?::\w+)?\}", json.dumps(items))) == known


def test_the_workbook_shows_every_metric(workbook):
    shown = json.dumps(workbook)
    assert [name for name in METRICS if name not in shown] == []


def test_every_alert_has_a_runbook_and_every_query_of_the_page_is_right():
    assert page_problems(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [*ALERTS, "budget"])
def test_a_runbook_that_is_missing_or_misnamed_is_found(name):
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(f"\n### {name}\n") == 1
    assert runbook_problems(page.replace(f"\n### {name}\n", "\n", 1))
    assert runbook_problems(page.replace(f"\n### {name}\n", f"\n### {name}s\n", 1))


@pytest.mark.parametrize(("name", "least"), [("operations.md", 8), ("azure.md", 1)])
def test_every_query_of_a_page_is_right(name, least):
    asked = queries_in((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert len(asked) >= least
    assert wrong_in(asked) == []
