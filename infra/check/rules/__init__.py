"""Every rule, and all that they find."""

from collections.abc import Mapping

from infra.check.problems import Problem
from infra.check.rules.exposure import exposure_problems
from infra.check.rules.names import name_problems
from infra.check.rules.order import order_problems
from infra.check.rules.roles import role_problems
from infra.check.rules.said import said_problems
from infra.check.rules.settings import settings_problems
from infra.check.rules.stores import store_problems
from infra.check.rules.symbols import symbol_problems
from infra.check.scenarios import Scenario, scenarios
from infra.check.type_data import TypeData


def find_problems(files: Mapping[str, str], type_data: TypeData | None) -> list[Problem]:
    """Everything that is wrong with the templates, each thing once.

    Without type data, types and properties are not checked.
    """
    found = list(symbol_problems(files))
    if any(problem.rule == "syntax" for problem in found):
        return sorted(set(found))
    for scenario in scenarios(files):
        found += scenario.problems
        found += scenario.deployment.problems
        if scenario.problems or scenario.deployment.problems:
            continue
        for rule in (
            said_problems,
            name_problems,
            order_problems,
            store_problems,
            role_problems,
            settings_problems,
            exposure_problems,
        ):
            found += rule(scenario)
        if type_data is not None:
            found += _types(scenario, type_data)
    return sorted(set(found))


def _types(scenario: Scenario, type_data: TypeData) -> list[Problem]:
    found = []
    for resource in (*scenario.deployment.resources, *scenario.deployment.existing):
        for text in type_data.problems(resource):
            # What is looked up says its name only.
            if resource.ref.is_existing and text.endswith("is missing"):
                continue
            found.append(Problem(rule="types", where=resource.where, text=text))
    return found
