"""The queries that people and alerts ask: where each stands, and its text."""

import json
import re
from collections.abc import Iterator
from typing import Any

from infra.check.scenarios import Scenario
from infra.check.values import Resource

ALERT_QUERIES = "Microsoft.Insights/scheduledQueryRules"
_WORKBOOKS = "Microsoft.Insights/workbooks"
_BLOCK = re.compile(r"^```kusto\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def queries_of(scenario: Scenario) -> Iterator[tuple[Resource, str, str]]:
    """Queries of alerts and of the workbook: the resource, what is asked there, the query."""
    for one in scenario.deployment.of_type(ALERT_QUERIES):
        query = str(one.at("properties.criteria.allOf.0.query"))
        yield one, one.ref.names[-1].rpartition("-")[0], query
    for one in scenario.deployment.of_type(_WORKBOOKS):
        for item in workbook_items(json.loads(one.at("properties.serializedData"))):
            if "query" in item["content"]:
                yield one, f"workbook {item['name']}", item["content"]["query"]


def workbook_items(workbook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every item, those in groups, too."""
    for item in workbook["items"]:
        yield item
        yield from workbook_items(item["content"]) if "items" in item["content"] else ()


def queries_in(page: str) -> list[str]:
    """The queries of a page of Markdown: its blocks that are marked as `kusto`."""
    return _BLOCK.findall(page)
