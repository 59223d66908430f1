"""Outputs: what azd keeps of a deployment, and scripts and pages read."""

from collections.abc import Iterator

from infra.check.problems import Problem
from infra.check.scenarios import Scenario

KEPT = {
    "BUDGET_START": "budgetStart",
    "IS_PRIVATE": "isPrivate",
    # Without it the profile of the running worker would be taken from its environment.
    "SERVICE_WORKER_IMAGE_NAME": "workerImage",
}
"""Those that are parameters, kept so that the next deployment, wherever it runs, is given them."""

_READ = (
    "API_ENDPOINT",
    "AZURE_CONTAINER_REGISTRY_ENDPOINT",
    "AZURE_RESOURCE_GROUP",
    "FILES_ACCOUNT",
    "FILES_CONTAINER",
    "INDEX_ACCOUNT",
)


def output_problems(scenario: Scenario) -> Iterator[Problem]:
    """Outputs that are missing or empty, and kept ones that are other than what was given."""
    told = scenario.deployment.outputs
    texts = [f"{name} is said" for name in _READ if not told.get(name)]
    texts += [
        f"{name} is the parameter {parameter}"
        for name, parameter in KEPT.items()
        if told.get(name) != scenario.values.get(parameter)
    ]
    for text in texts:
        yield Problem(rule="outputs", where="main.bicep", text=f"{text} ({scenario.name})")
