"""Containers, queues and tables: those of the code, in the right account."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import azure.functions as func

from function_app.app import CONNECTION, http, push, queues, timers
from indexer_core.adapters.azure.stores import create_stores
from infra.check.problems import Problem
from infra.check.scenarios import Scenario

ACCOUNT = "Microsoft.Storage/storageAccounts"
_KINDS = {
    "container": f"{ACCOUNT}/blobServices/containers",
    "queue": f"{ACCOUNT}/queueServices/queues",
    "table": f"{ACCOUNT}/tableServices/tables",
}


class _Account:
    """Remembers what the code creates in an account."""

    def __init__(self) -> None:
        self.created: set[tuple[str, str]] = set()

    def create_container(self, name: str) -> None:
        self.created.add(("container", name))

    def create_table(self, name: str) -> None:
        self.created.add(("table", name))

    def create_queue(self, name: str) -> None:
        self.created.add(("queue", name))


@cache
def stores_of_the_code() -> frozenset[tuple[str, str]]:
    """What the code works on in the account of the index, as kind and name."""
    account = _Account()
    create_stores(account)  # type: ignore[arg-type]  # it only creates
    for function in _functions():
        for binding in function.get_bindings():
            told = binding.get_dict_repr()
            if told.get("connection") == CONNECTION:
                account.created.add(("queue", told["queueName"]))
    return frozenset(account.created)


@cache
def triggers_of_the_code() -> frozenset[str]:
    """Queues whose messages start a function."""
    return frozenset(
        binding.get_dict_repr()["queueName"]
        for function in _functions()
        for binding in function.get_bindings()
        if binding.get_dict_repr()["type"] == "queueTrigger"
    )


def functions_of_the_code() -> frozenset[str]:
    """Names of the functions."""
    return frozenset(function.get_function_name() for function in _functions())


@cache
def _functions() -> tuple[Any, ...]:
    # An app of its own: one tells its functions once only. It has all of them, because
    # azure.functions warns of an app in which nothing is asked by HTTP.
    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
    for blueprint in (queues, push, timers, http):
        app.register_functions(blueprint)
    return tuple(app.get_functions())


def store_problems(scenario: Scenario) -> Iterator[Problem]:
    """Each account has what it must have, and nothing else."""
    wanted = {
        "index": stores_of_the_code() | {("container", "dead-letters")},
        "files": {("container", "dicom")},
        "host": {("container", "packages")},
    }
    if scenario.values.get("hasMedImageInsight"):
        wanted["model"] = frozenset()
    accounts = scenario.deployment.of_type(ACCOUNT)
    for kind, needed in wanted.items():
        found = [one for one in accounts if one.ref.names[-1].startswith(kind)]
        if len(found) != 1:
            text = f"there is no account of the {kind} ({scenario.name})"
            yield Problem(rule="stores", where="main.bicep", text=text)
            continue
        present = {
            (name, resource.ref.names[-1])
            for name, type_name in _KINDS.items()
            for resource in scenario.deployment.of_type(type_name)
            if resource.ref.names[0] == found[0].ref.names[0]
        }
        for what, name in sorted(needed - present):
            text = f"account of the {kind}: no {what} {name} ({scenario.name})"
            yield Problem(rule="stores", where=found[0].where, text=text)
        for what, name in sorted(present - needed):
            text = f"account of the {kind}: {what} {name} is nobody's ({scenario.name})"
            yield Problem(rule="stores", where=found[0].where, text=text)
