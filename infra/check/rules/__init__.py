"""Every rule, and all that they find."""

from collections.abc import Callable, Iterator, Mapping

from infra.check.problems import Problem
from infra.check.queries import queries_in
from infra.check.rules.alerts import alert_problems, runbook_problems
from infra.check.rules.asked import wrong_in
from infra.check.rules.exposure import exposure_problems
from infra.check.rules.groups import group_problems
from infra.check.rules.names import name_problems
from infra.check.rules.order import order_problems
from infra.check.rules.outputs import output_problems
from infra.check.rules.roles import role_problems
from infra.check.rules.said import said_problems
from infra.check.rules.said_tables import SAID
from infra.check.rules.settings import settings_problems
from infra.check.rules.stores import store_problems
from infra.check.rules.symbols import symbol_problems
from infra.check.rules.worker import worker_problems
from infra.check.scenarios import Scenario, scenarios
from infra.check.type_data import TypeData

_RULES: tuple[Callable[[Scenario], Iterator[Problem]], ...] = (
    said_problems,
    name_problems,
    order_problems,
    store_problems,
    role_problems,
    settings_problems,
    exposure_problems,
    worker_problems,
    alert_problems,
    output_problems,
    group_problems,
)


def find_problems(files: Mapping[str, str], type_data: TypeData | None) -> list[Problem]:
    """Everything that is wrong with the templates, each thing once.

    Without type data, types and properties are not checked.
    """
    found = list(symbol_problems(files))
    if any(problem.rule == "syntax" for problem in found):
        return sorted(set(found))
    created: set[str] = set()
    for scenario in scenarios(files):
        created |= {resource.type for resource in scenario.deployment.resources}
        found += scenario.problems
        found += scenario.deployment.problems
        if scenario.problems or scenario.deployment.problems:
            continue
        for rule in _RULES:
            found += _found_by(rule, scenario)
        if type_data is not None:
            found += _types(scenario, type_data)
    for kind in sorted(set(SAID) - created):
        found.append(Problem(rule="said", where="main.bicep", text=f"nothing creates a {kind}"))
    return sorted(set(found))


def page_problems(page: str) -> list[str]:
    """What is wrong with docs/operations.md: runbooks that are missing, queries that fail."""
    return [*runbook_problems(page), *(f"asks {text}" for text in wrong_in(queries_in(page)))]


def _found_by(rule: Callable[[Scenario], Iterator[Problem]], scenario: Scenario) -> list[Problem]:
    try:
        return list(rule(scenario))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        # A list where a text belongs, say: no rule need be ready for every wrong shape.
        text = f"what is there has another shape than expected: {error} ({scenario.name})"
        return [Problem(rule=rule.__name__, where="main.bicep", text=text)]


def _types(scenario: Scenario, type_data: TypeData) -> list[Problem]:
    found = []
    for resource in (*scenario.deployment.resources, *scenario.deployment.existing):
        for text in type_data.problems(resource):
            # What is looked up says its name only.
            if resource.ref.is_existing and text.endswith("is missing"):
                continue
            found.append(Problem(rule="types", where=resource.where, text=text))
    return found
