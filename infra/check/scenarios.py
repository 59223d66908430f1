"""The deployments that are checked: public and private, at a first and at a later run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.check.evaluating import Evaluator
from infra.check.expanding import Deployment, expand
from infra.check.problems import EvaluationError, Problem
from infra.check.reading import read_parameters
from infra.check.values import SUBSCRIPTION

FOLDER = Path(__file__).parents[1] / "bicep"
OPERATORS = "00000000-0000-0000-0000-0000000000ff"
PARAMETERS = "main.bicepparam"
PUBLIC_PARAMETERS, PRIVATE_PARAMETERS = "dev.bicepparam", "prod-private.bicepparam"
"""For deploying without azd: each is what the other one says of such an environment."""
_ALWAYS: Mapping[str, str] = {
    "AZURE_LOCATION": "westeurope",
    "BUDGET_START": "2027-02-01",
    "ENTRA_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    "ALERT_EMAIL": "operators@hospital.example",
}
"""What the file of parameters has no default for, but for the name of the environment."""

_DEV: Mapping[str, str] = {"AZURE_ENV_NAME": "dicom-dev", "DICOM_NETWORK": "public"}
# Private is what an environment is that says nothing.
_PRIVATE: Mapping[str, str] = {"AZURE_ENV_NAME": "dicom-prod"}

_LATER: Mapping[str, str] = {
    "SERVICE_WORKER_IMAGE_NAME": "registry.example/worker:1",
    "OPERATOR_GROUP_ID": OPERATORS,
    "HAS_POLICIES": "true",
    "PATIENT_KEY": "c2l4dGVlbiBieXRlcyBvciBtb3Jl",
    "INDEXER_VIEWER": "https://viewer.example/{study}",
    "INDEXER_MILVUS_URI": "https://milvus.example:19530",
}

_HUB = f"{SUBSCRIPTION}/resourceGroups/hub/providers/Microsoft.Network/virtualNetworks/hub"
_ZONES = f"{SUBSCRIPTION}/resourceGroups/names"
_BESIDE_OTHERS: Mapping[str, str] = {
    "EXTRA_SUBNETS": '[{"name": "bastion", "properties": {"addressPrefix": "10.60.3.128/26"}}]',
    "LINKED_NETWORK_IDS": f'["{_HUB}"]',
    "OPERATORS_NAT_GATEWAY_ID": f"{_HUB}-way-out",
}
"""What a network has that is not alone."""

_LANDING_ZONE: Mapping[str, str] = {
    "DNS_ZONES_GROUP_ID": _ZONES,
    "EVENT_TOPIC_NAME": "made-by-another",
}
"""What an organisation's own rules and services ask for."""

# No two alike, so that one in the place of another is seen.
_LIMITS: Mapping[str, int | str] = {
    "deadLetterLimit": 101,
    "failedCallsAtLeast": 102,
    "failedCallsPercent": 103,
    "failedSeriesLimit": 104,
    "lagLimitS": 105,
    "looksAtLeast": 106,
    "poisonLimit": 107,
    "rejectPercent": 108,
    "silentMinutes": 109,
    "slowBatchS": 110,
    "spikeFactor": 111,
    "spikeFloorS": 112,
    "stalledMinutes": 113,
    "workerCostPerDay": 114,
    "workerHoursPerDay": 115,
    "runbooks": "https://runbooks.example",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One deployment. values: of the parameters of the main template."""

    name: str
    values: Mapping[str, Any]
    deployment: Deployment
    problems: tuple[Problem, ...] = ()

    @property
    def is_private(self) -> bool:
        """Whether the private switch is on; it is, unless somebody turns it off."""
        return bool(self.values.get("isPrivate", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    name: str
    environment: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)


PLANS = (
    _Plan(name="dev, first time", environment=_DEV),
    _Plan(name="dev, later", environment={**_DEV, **_LATER}),
    _Plan(
        name="dev, everything",
        environment={**_DEV, **_LATER},
        values={"hasMedImageInsight": True, "hasPolicies": True, **_LIMITS},
    ),
    _Plan(name="prod-private, first time", environment=_PRIVATE),
    _Plan(
        name="prod-private, everything",
        environment={**_PRIVATE, **_LATER},
        values={"hasMedImageInsight": True},
    ),
    _Plan(
        name="prod-private, beside other networks",
        environment={**_PRIVATE, **_LATER, **_BESIDE_OTHERS},
    ),
    _Plan(
        name="prod-private, in a landing zone",
        environment={**_PRIVATE, **_LATER, **_LANDING_ZONE},
    ),
)


def read_files(folder: Path = FOLDER) -> dict[str, str]:
    """Templates, parameters and what they load, by their paths below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".bicep", ".bicepparam", ".json"}
    }


def scenarios(files: Mapping[str, str]) -> list[Scenario]:
    """Every deployment that is checked."""
    return [_scenario(files, plan) for plan in PLANS]


def _scenario(files: Mapping[str, str], plan: _Plan) -> Scenario:
    target, values, problems = _parameters(files, PARAMETERS, plan)
    is_private = plan.environment.get("DICOM_NETWORK") != "public"
    if values.get("isPrivate") is not is_private:
        text = f"private is all that DICOM_NETWORK does not call public ({plan.name})"
        problems.append(Problem(rule="exposure", where=PARAMETERS, text=text))
    named = PRIVATE_PARAMETERS if is_private else PUBLIC_PARAMETERS
    same_target, same, more = _parameters(files, named, plan)
    problems += more
    if (same_target, same) != (target, values):
        differ = {name for name in {*same, *values} if same.get(name) != values.get(name)}
        text = f"is not what {PARAMETERS} says: {', '.join(sorted(differ)) or 'another template'}"
        problems.append(Problem(rule="parameters", where=named, text=text))
    values |= plan.values
    deployment = expand(files, target, values)
    return Scenario(name=plan.name, values=values, deployment=deployment, problems=tuple(problems))


def _parameters(
    files: Mapping[str, str], name: str, plan: _Plan
) -> tuple[str, dict[str, Any], list[Problem]]:
    """The template that a file is for, the values it gives its parameters, and what is wrong."""
    target, template = read_parameters(name, files[name])
    problems = list(template.problems)
    known: dict[str, Any] = {}
    values: dict[str, Any] = {}

    def environment(name: str, default: str | None = None) -> str:
        if name in {*_ALWAYS, "AZURE_ENV_NAME"} and default is not None:
            raise ValueError(f"{name} must be asked for, and has a default")
        value = {**_ALWAYS, **plan.environment}.get(name, default)
        if value is None:
            raise ValueError(f"{name} has no default, and is not among what must be set")
        return value

    evaluator = Evaluator(name, known.__getitem__, {"readEnvironmentVariable": environment})
    for one in template.declared.values():
        try:
            if one.value is not None:
                known[one.name] = evaluator.evaluate(one.value)
        except EvaluationError as error:
            problems.append(error.problem)
        if one.kind == "param" and one.name in known:
            values[one.name] = known[one.name]
    return target, values, problems
