"""Settings: what the code reads is set, what is set is read, and its values can be used."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from function_app.milvus_home import MILVUS_SETTINGS
from gpu_worker.health import PORT
from gpu_worker.wiring import ProgramSettings, read_program_settings
from indexer_core.adapters.azure.settings import Settings, read_settings
from indexer_core.adapters.milvus.settings import read_milvus_settings
from indexer_core.errors import InvalidInputError
from indexer_core.telemetry_settings import TelemetrySettings, read_telemetry
from infra.check.problems import Problem
from infra.check.scenarios import Scenario
from infra.check.values import Late, Resource, value_at

_KEY = "c2l4dGVlbiBieXRlcyBvciBtb3Jl"
_SOURCES = '[{"scope": "a", "account": "abc", "container": "dicom"}]'
_LEAST = {
    "IndexerStorage__accountName": "abc",
    "INDEXER_SOURCES": _SOURCES,
    "INDEXER_PATIENT_KEY": _KEY,
}

# The others are read where there is an address.
_MILVUS = {f"{MILVUS_SETTINGS}URI": "https://milvus.example"}

NOT_SET: Mapping[str, str] = {
    "IndexerStorage": "a connection string holds a key; the name of the account is set instead",
    "WEBSITE_AUTH_ENABLED": "the platform sets it, where Easy Auth is on",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "telemetry goes to Application Insights; another is one's own",
    "INDEXER_PIXEL_MODEL_KEY": "the worker's identity asks for a token",
    "INDEXER_PIXEL_MODEL_KEY_FILE": "the worker's identity asks for a token",
    "INDEXER_PIXEL_LABELS": "a file that an image may hold; the shipped label sets are used",
}
"""Settings that the code reads and the templates leave alone, and why."""

_IDENTITY = "{identity}#properties.clientId"
_HOST = "{host}#properties.primaryEndpoints"
_TELEMETRY: Mapping[str, str] = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"ClientId={_IDENTITY};Authorization=AAD",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "{insights}#properties.ConnectionString",
}
FOR_THE_PLATFORM: Mapping[str, str] = {
    **_TELEMETRY,
    "AZURE_CLIENT_ID": _IDENTITY,
    "AzureWebJobsStorage__blobServiceUri": f"{_HOST}.blob",
    "AzureWebJobsStorage__clientId": _IDENTITY,
    "AzureWebJobsStorage__credential": "managedidentity",
    "IndexerStorage__clientId": _IDENTITY,
    "IndexerStorage__credential": "managedidentity",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID": _IDENTITY,
    "PYTHON_SCRIPT_FILE_NAME": "functions_entry.py",
}
"""Settings of the functions that the host or a library reads, and what they are."""


class _Recorded(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        self.asked.add(key)
        return super().get(key, default)


@cache
def settings_that_are_read() -> tuple[frozenset[str], frozenset[str]]:
    """What the functions read, and what the worker reads."""
    functions, worker = _Recorded(_LEAST | _MILVUS), _Recorded(_LEAST)
    read_settings(functions)
    read_telemetry(functions)
    read_milvus_settings(functions, MILVUS_SETTINGS)
    read_program_settings(worker)
    return frozenset(functions.asked), frozenset(worker.asked)


def settings_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with the settings of functions and worker."""
    by_functions, by_worker = settings_that_are_read()
    for resource in scenario.deployment.of_type("Microsoft.Web/sites/config"):
        if resource.ref.names[-1] != "appsettings":
            continue
        found = resource.at("properties") or {}
        wanted = (by_functions - set(NOT_SET)) | set(FOR_THE_PLATFORM)
        texts = [*_differences(wanted, found), *_platform(scenario, found)]
        uri = _secret_uri(scenario)
        if found.get("INDEXER_PATIENT_KEY") != f"@Microsoft.KeyVault(SecretUri={uri})":
            texts.append("INDEXER_PATIENT_KEY is no reference to the vault")
        texts += _milvus(scenario, found)
        texts += _values(scenario, found, is_worker=False)
        yield from _told(resource, texts, scenario)
    if not scenario.deployment.of_type("Microsoft.Web/sites/config"):
        text = f"the functions have no settings ({scenario.name})"
        yield Problem(rule="settings", where="main.bicep", text=text)
    for resource in scenario.deployment.of_type("Microsoft.App/containerApps"):
        entries = resource.at("properties.template.containers.0.env") or []
        found = {one.get("name"): one.get("value", one.get("secretRef")) for one in entries}
        wanted = (by_worker - set(NOT_SET)) | {"AZURE_CLIENT_ID"}
        texts = [*_differences(wanted, found), *_worker(scenario, resource, found)]
        texts += _values(scenario, found, is_worker=True)
        yield from _told(resource, texts, scenario)


def _told(resource: Resource, texts: list[str], scenario: Scenario) -> Iterator[Problem]:
    for text in texts:
        yield Problem(rule="settings", where=resource.where, text=f"{text} ({scenario.name})")


def _differences(wanted: frozenset[str], found: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(wanted - set(found)):
        yield f"{name} is read and not set"
    for name in sorted(set(found) - wanted):
        yield f"{name} is set and not read"


def _one(scenario: Scenario, kind: str, start: str = "") -> str:
    """The id of the resource of a type whose name begins so; "" where there is none."""
    found = [
        one.id for one in scenario.deployment.of_type(kind) if one.ref.names[-1].startswith(start)
    ]
    return found[0] if found else ""


def _platform(scenario: Scenario, found: Mapping[str, Any]) -> Iterator[str]:
    identity = "Microsoft.ManagedIdentity/userAssignedIdentities"
    places = {
        "identity": _one(scenario, identity, "id-functions"),
        "host": _one(scenario, "Microsoft.Storage/storageAccounts", "host"),
        "insights": _one(scenario, "Microsoft.Insights/components"),
    }
    for name, expected in FOR_THE_PLATFORM.items():
        if name in found and found[name] != expected.format(**places):
            yield f"{name} is {expected.format(**places)}"


def _milvus(scenario: Scenario, found: Mapping[str, Any]) -> Iterator[str]:
    """The token is never set itself, and not asked of the vault where nothing needs it."""
    uri = _secret_uri(scenario, "milvus-token")
    token = f"@Microsoft.KeyVault(SecretUri={uri})" if found.get(f"{MILVUS_SETTINGS}URI") else ""
    if found.get(f"{MILVUS_SETTINGS}TOKEN") != token:
        yield f"{MILVUS_SETTINGS}TOKEN is {token or 'empty without an address'}"


def _secret_uri(scenario: Scenario, name: str = "patient-hash-key") -> str:
    vault = _one(scenario, "Microsoft.KeyVault/vaults", "kv-")
    return f"{vault}#properties.vaultUri" + f"secrets/{name}"


def _worker(scenario: Scenario, resource: Resource, found: Mapping[str, Any]) -> Iterator[str]:
    identity = _one(scenario, "Microsoft.ManagedIdentity/userAssignedIdentities", "id-worker")
    if found.get("AZURE_CLIENT_ID") != f"{identity}#properties.clientId":
        yield "AZURE_CLIENT_ID is the worker's identity"
    secrets = {
        one.get("name"): one for one in resource.at("properties.configuration.secrets") or []
    }
    places = {"identity": identity, "insights": _one(scenario, "Microsoft.Insights/components")}
    for name, expected in _TELEMETRY.items():
        if found.get(name) != expected.format(**places):
            yield f"{name} is {expected.format(**places)}"
    if found.get("INDEXER_LOG_FORMAT") != "json":
        yield "INDEXER_LOG_FORMAT is json: its lines are read by queries"
    named = secrets.get(found.get("INDEXER_PATIENT_KEY"), {})
    if named.get("keyVaultUrl") != _secret_uri(scenario) or named.get("identity") != identity:
        yield "INDEXER_PATIENT_KEY is no secret of the vault, read by the worker's identity"
    endpoints = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
    endpoint = _one(scenario, endpoints)
    deployment = value_at(
        [one.ref.names[-1] for one in scenario.deployment.of_type(f"{endpoints}/deployments")], "0"
    )
    pixels = {
        "INDEXER_PIXEL_MODEL": f"{endpoint}#properties.scoringUri" if endpoint else "descriptor",
        "INDEXER_PIXEL_MODEL_DEPLOYMENT": deployment or "",
        "INDEXER_PIXEL_MODEL_VERSION": "12" if endpoint else "1",
    }
    for name, expected in pixels.items():
        if found.get(name) != expected:
            yield f"{name} is {expected or 'empty'}"


def _values(scenario: Scenario, found: Mapping[str, Any], *, is_worker: bool) -> Iterator[str]:
    """The code's own verdict, and what its defaults and the other resources say."""
    environment = {name: str(value) for name, value in found.items()}
    environment["INDEXER_PATIENT_KEY"] = _KEY
    if isinstance(found.get("INDEXER_PIXEL_MODEL"), Late):
        environment["INDEXER_PIXEL_MODEL"] = "https://model.example/score"
    try:
        program = read_program_settings(environment) if is_worker else None
        settings = program.azure if program else read_settings(environment)
        telemetry = read_telemetry(environment)  # the programs would work on, and send nothing
        milvus = read_milvus_settings(environment, MILVUS_SETTINGS)
    except InvalidInputError as error:
        yield f"the code refuses the settings: {error}"
        return
    yield from _against(scenario, settings, telemetry)
    if (milvus.uri if milvus else "") != (
        scenario.values.get("milvusUri", "") if not is_worker else ""
    ):
        yield f"{MILVUS_SETTINGS}URI is the address of Milvus, of the functions alone"
    if program is not None:
        yield from _against_defaults(scenario, program)


def _against(scenario: Scenario, settings: Settings, telemetry: TelemetrySettings) -> Iterator[str]:
    account = "Microsoft.Storage/storageAccounts"
    index, files = _one(scenario, account, "index"), _one(scenario, account, "files")
    if not index.endswith(f"/{settings.storage}"):
        yield "IndexerStorage__accountName is the account of the index"
    for source in settings.sources:
        if not files.endswith(f"/{source.account}") or source.container != "dicom":
            yield "INDEXER_SOURCES names another place than the files'"
    topic = _one(scenario, "Microsoft.EventGrid/topics")
    if settings.topic != f"{topic}#properties.endpoint":
        yield "INDEXER_TOPIC_ENDPOINT is the topic of the announcements"
    share = float(scenario.values.get("traceShare") or 1)
    expected = replace(
        read_settings(_LEAST),
        storage=settings.storage,
        sources=settings.sources,
        topic=settings.topic,
        access=settings.access if scenario.values.get("projects") else read_settings(_LEAST).access,
        viewer=scenario.values.get("viewer") or None,
    )
    told = replace(telemetry, otlp_endpoint="", share=share)
    if (settings, telemetry) != (expected, told):
        yield "a value is not the code's default, and no parameter says so"


def _against_defaults(scenario: Scenario, program: ProgramSettings) -> Iterator[str]:
    least = read_program_settings(_LEAST)
    price = scenario.values.get("workerHourlyPrice")
    worker = replace(
        least.worker,
        batch=scenario.values.get("workerBatch", least.worker.batch),
        hourly_price=float(price) if price else None,
    )
    if program.worker != worker:
        yield "batch, visibility or price of the worker is neither the code's nor a parameter's"
    if program.health.stall_s != least.health.stall_s:
        yield "when the worker counts as hung is not the code's default"
    apps = scenario.deployment.of_type("Microsoft.App/containerApps")
    killed_after_s = apps[0].at("properties.template.terminationGracePeriodSeconds") or 30
    if not 0 < killed_after_s - program.grace_s <= 60:
        yield "the worker is killed before its grace is over, or long after"
    asked = apps[0].at("properties.template.containers.0.probes.0.httpGet") or {}
    if asked.get("port") != program.health.port:
        yield f"the probe does not ask at the port where the worker answers, {PORT}"
