"""Groups: Azure ML's has nothing else in it, and what limits holds in every group."""

from collections.abc import Iterator

from infra.check.problems import Problem
from infra.check.scenarios import Scenario

_GROUP = "Microsoft.Resources/resourceGroups"
_ML = "Microsoft.MachineLearningServices/workspaces"
_ASSIGNMENTS = 3


def group_problems(scenario: Scenario) -> Iterator[Problem]:
    """Things in the group of another, and groups without policies or budget."""
    for text in _texts(scenario):
        yield Problem(rule="groups", where="main.bicep", text=f"{text} ({scenario.name})")


def _texts(scenario: Scenario) -> Iterator[str]:
    deployment = scenario.deployment
    groups = deployment.of_type(_GROUP)
    models = {one.ref.scope for one in deployment.of_type(_ML)}
    if len(groups) != 1 + len(models):
        yield f"there are {len(groups)} groups"
    for one in deployment.resources:
        # Azure ML gives its identity rights on all that lies in the group.
        is_for_it = one.ref.names[0].startswith(("mlw-", "model", "kvm-"))
        if one.type.count("/") == 1 and one.ref.scope in {group.id for group in groups}:
            is_limit = one.type == "Microsoft.Authorization/policyAssignments"
            if not is_limit and is_for_it != (one.ref.scope in models):
                yield f"{one.ref.names[0]} lies in {one.ref.scope.rpartition('/')[2]}"
    for budget in deployment.of_type("Microsoft.Consumption/budgets"):
        expected = {
            "name": "ResourceGroupName",
            "operator": "In",
            "values": [group.ref.names[-1] for group in groups],
        }
        if budget.at("properties.filter") != {"dimensions": expected}:
            yield f"the budget counts {', '.join(expected['values'])}"
    for group in groups:
        limits = [
            one
            for one in deployment.of_type("Microsoft.Authorization/policyAssignments")
            if one.ref.scope == group.id
        ]
        if len(limits) != (_ASSIGNMENTS if scenario.values.get("hasPolicies") else 0):
            yield f"{group.ref.names[-1]} has {len(limits)} policies"
