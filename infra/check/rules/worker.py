"""The worker: runs on a profile that is there, fits it, and is scaled by its own queue."""

from collections.abc import Iterator, Mapping

from infra.check.problems import Problem
from infra.check.scenarios import Scenario

_ENVIRONMENT = "Microsoft.App/managedEnvironments"
_SIZES: Mapping[str, tuple[int, str]] = {
    # Consumption takes two gigabytes for each core, four cores at most.
    "Consumption": (4, "8Gi"),
    "Consumption-GPU-NC8as-T4": (8, "56Gi"),
    "Consumption-GPU-NC24-A100": (24, "220Gi"),
}
"""Cores and memory of one replica by the type of its profile."""


def worker_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong between the worker, its environment and its queue."""
    deployment = scenario.deployment
    wanted = "Consumption"  # a GPU is asked for once there is an image that needs it
    if scenario.values.get("workerImage"):
        wanted = scenario.values.get("workerProfile", "Consumption-GPU-NC8as-T4")
    profiles = {
        profile.get("name"): profile.get("workloadProfileType")
        for one in deployment.of_type(_ENVIRONMENT)
        for profile in one.at("properties.workloadProfiles") or []
    }
    if sorted(profiles.values(), key=str) != sorted({"Consumption", wanted}):
        text = f"the environment has profiles Consumption and {wanted} ({scenario.name})"
        yield Problem(rule="worker", where="modules/environment.bicep", text=text)
    for app in deployment.of_type("Microsoft.App/containerApps"):
        if profiles.get(app.at("properties.workloadProfileName")) != wanted:
            text = f"runs on no profile of its environment ({scenario.name})"
            yield Problem(rule="worker", where=app.where, text=text)
        asked = app.at("properties.template.containers.0.resources") or {}
        if (asked.get("cpu"), asked.get("memory")) != _SIZES[wanted]:
            text = f"cpu and memory are {_SIZES[wanted]} ({scenario.name})"
            yield Problem(rule="worker", where=app.where, text=text)
        account = app.at("properties.template.scale.rules.0.azureQueue.accountName")
        if not str(account).startswith("index"):
            text = f"the queue that it is scaled by lies in the account of the index, not {account}"
            yield Problem(rule="worker", where=app.where, text=text)
