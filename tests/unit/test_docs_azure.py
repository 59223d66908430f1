"""docs/azure.md names settings, functions, stores and roles as the code does."""

import json
import re
from collections.abc import Iterator, Mapping

import pytest

from docs import azure_picture
from function_app.milvus_home import MILVUS_SETTINGS
from function_app.wiring import read_settings
from gpu_worker.wiring import read_program_settings
from indexer_core.adapters.milvus.settings import read_milvus_settings
from indexer_core.telemetry_settings import read_telemetry
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")
KEY = "c2l4dGVlbiBieXRlcyBvciBtb3Jl"


class Recorded(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)


class Account:
    """A storage account that remembers what was created in it."""

    def __init__(self) -> None:
        self.created: set[tuple[str, str]] = set()

    def create_container(self, name: str) -> None:
        self.created.add(("container", name))

    def create_table(self, name: str) -> None:
        self.created.add(("table", name))

    def create_queue(self, name: str) -> None:
        self.created.add(("queue", name))


def section(title: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    """Cells of the rows of the table below a heading, without its head."""
    rows = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def named(cell: str) -> str:
    (name,) = re.findall(r"`([^`]+)`", cell)
    return name


def leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def example_of_sources() -> str:
    (block,) = re.findall(r"```json\n(.*?)```", section("Settings"), re.DOTALL)
    return block


def environment() -> Recorded:
    return Recorded(
        {
            "IndexerStorage__accountName": "indexaccount",
            "INDEXER_SOURCES": example_of_sources(),
            "INDEXER_PATIENT_KEY": KEY,
        }
    )


def test_settings_on_the_page_are_those_that_are_read():
    asked = environment()
    read_settings(asked)
    read_telemetry(asked)
    by_all = set(asked.asked)
    read_program_settings(asked)
    by_the_worker = asked.asked - by_all
    of_milvus = Recorded({f"{MILVUS_SETTINGS}URI": "https://milvus.example"})
    read_milvus_settings(of_milvus, MILVUS_SETTINGS)
    told = {named(row[0]): row[2] for row in table("Settings")}
    assert set(told) == asked.asked | of_milvus.asked
    for who, names in (("worker", by_the_worker), ("functions", of_milvus.asked)):
        assert {name for name in told if told[name].startswith(f"{who} only")} == names


def test_settings_that_the_page_calls_needed_suffice():
    settings = read_settings(environment())
    assert [source.scope for source in settings.sources] == ["hospital-a", "trial-7"]
    assert settings.sources[1].prefix == "site-3/"


def test_defaults_on_the_page_are_those_of_the_code():
    told = {named(row[0]): row[2] for row in table("Settings")}
    settings = read_program_settings(environment())
    defaults = {
        "INDEXER_QUIET_S": settings.azure.quiet_s,
        "INDEXER_MAX_WAIT_S": settings.azure.max_wait_s,
        "INDEXER_WORKER_BATCH": settings.worker.batch,
        "INDEXER_WORKER_VISIBILITY_S": settings.worker.visibility_s,
        "INDEXER_WORKER_GRACE_S": settings.grace_s,
    }
    for name, default in defaults.items():
        assert told[name].endswith(f"; {default:g}"), name


def test_every_value_of_host_json_is_on_the_page():
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    rows = table("host.json, value by value")
    told = {named(row[0]): named(row[1]).replace('""', "") for row in rows}
    assert told == dict(leaves(host))


def test_containers_tables_and_queues_on_the_page_are_those_that_are_created():
    stores = pytest.importorskip("indexer_core.adapters.azure.stores", exc_type=ImportError)
    account = Account()
    stores.create_stores(account)
    told = {(row[0], named(row[1])) for row in table("What must exist")}
    assert told == account.created


def described(trigger) -> str:
    match trigger.type:
        case "queueTrigger":
            return f"queue `{trigger.queue_name}`"
        case "timerTrigger":
            return "timer"
        case "eventGridTrigger":
            return "Event Grid"
        case "httpTrigger":
            return "HTTP"
    raise ValueError(trigger.type)


def test_functions_on_the_page_are_those_of_the_app():
    pytest.importorskip("azure.functions", exc_type=ImportError)
    from function_app.app import app

    told = {named(row[0]): row[1] for row in table("The functions")}
    triggers = {f.get_function_name(): f.get_trigger() for f in app.get_functions()}
    assert set(told) == set(triggers)
    for name, trigger in triggers.items():
        assert told[name].startswith(described(trigger)), name


def test_roles_that_errors_name_are_on_the_page():
    errors = pytest.importorskip("indexer_core.adapters.azure.errors", exc_type=ImportError)
    told = {row[2] for row in table("Who needs which role")}
    for role in errors._ROLES.values():
        name = role.partition(" (")[0]
        assert any(name in cell for cell in told), name


def test_limits_on_the_page_are_those_of_the_code():
    queues = pytest.importorskip("indexer_core.adapters.azure.queues", exc_type=ImportError)
    assert f"**{queues.MAX_BODY_BYTES // 1024} KiB** of body" in section("Limits")


def test_tests_that_the_page_names_exist():
    for name in re.findall(r"`(tests/[\w/.]*)`", PAGE):
        assert (ROOT / name).exists(), name


def test_the_sequence_is_the_one_that_is_drawn():
    assert azure_picture.TARGET.read_text(encoding="utf-8") == azure_picture.picture()


def test_labels_of_the_sequence_fit_their_arrows_and_never_meet():
    _, arrows, bottom = azure_picture.layout()
    heights = [y for y, _ in arrows]
    assert heights == sorted(set(heights))
    for (y, arrow), following in zip(arrows, [*heights[1:], bottom + 19], strict=True):
        left, top, right, end = azure_picture.label_box(y, arrow)
        ends = sorted(azure_picture.x_of(name) for name in arrow[:2])
        assert ends[0] <= left, arrow
        assert right <= ends[1], arrow
        assert y < following - 19, arrow  # the next label begins below this arrow
        assert top < end < y


def test_stages_of_the_sequence_begin_below_what_comes_before():
    stages, arrows, _ = azure_picture.layout()
    for start, title in stages:
        assert all(not start <= y < start + azure_picture.STAGE for y, _ in arrows), title
