"""What the Functions app is made of, as Microsoft's own Python runtime finds it; needs no Azurite.

`functions.json` beside this file lists the functions that the runtime must find.
"""

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.functions_host import (
    PYTHON,
    ROOT,
    FunctionsHost,
    HostError,
    missing,
    read_function,
    read_host_settings,
)

EXPECTED = json.loads(Path(__file__).with_name("functions.json").read_text())

needs_runtime = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def bare_host(tmp_path_factory):
    """The app without a single setting of its own."""
    host = FunctionsHost(ROOT, {}, tmp_path_factory.mktemp("bare") / "log")
    yield host
    host.close()


@needs_runtime
def test_runtime_finds_exactly_the_expected_functions_and_bindings(bare_host):
    found = {
        name: sorted(bindings, key=lambda binding: binding["direction"])
        for name, bindings in bare_host.bindings.items()
    }
    assert found == EXPECTED


@needs_runtime
def test_app_starts_under_the_version_of_python_that_azure_runs_without_torch(bare_host):
    assert bare_host.started["python"] == [3, 13]
    assert bare_host.started["heavy"] == []


@needs_runtime
def test_app_needs_only_what_is_deployed(tmp_path):
    patterns = (ROOT / ".funcignore").read_text().split()

    def ignored(folder, names):
        paths = [(Path(folder) / name).relative_to(ROOT) for name in names]
        told = {path: (path.name, str(path), f"/{path}") for path in paths}
        hits = [p for p in paths if any(fnmatch(t, q) for t in told[p] for q in patterns)]
        return {path.name for path in hits}

    app = tmp_path / "app"
    shutil.copytree(ROOT, app, ignore=ignored)
    left = {path.name for path in app.iterdir()}
    assert {"functions_entry.py", "host.json", "function_app", "indexer_core"} <= left
    assert (app / "function_app" / "explorer" / "app.js").is_file()
    assert left.isdisjoint(
        {"explorer", ".git", ".venv", ".tools", "gpu_worker", "local_host", "tests"}
    )
    host = FunctionsHost(app, {}, tmp_path / "log")
    try:
        assert set(host.functions) == set(EXPECTED)
        assert host.started["elsewhere"] == []
    finally:
        host.close()


@needs_runtime
def test_health_is_answered_without_any_setting(bare_host):
    answer = bare_host.request("GET", "/api/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


@needs_runtime
def test_missing_settings_are_no_fault_of_who_searches(bare_host):
    answer = bare_host.request("GET", "/api/search", query={"q": "brain"})
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert "INDEXER" not in answer.body.decode()
    assert "settings are missing" in bare_host.logged()


@needs_runtime
def test_the_page_is_answered_without_any_setting_and_asks_for_no_key(bare_host):
    page = bare_host.request("GET", "/explorer/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.body == (ROOT / "function_app" / "explorer" / "index.html").read_bytes()
    assert "script-src 'self';" in page.headers["content-security-policy"]
    script = bare_host.request("GET", "/explorer/app.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    known = {"if-none-match": script.headers["etag"]}
    assert bare_host.request("GET", "/explorer/app.js", headers=known).status == 304
    told = bare_host.request("HEAD", "/explorer/app.js")
    assert (told.status, told.body, told.headers["etag"]) == (200, b"", script.headers["etag"])
    moved = bare_host.request("GET", "/explorer", query={"q": "a b"})
    assert (moved.status, moved.headers["location"]) == (308, "explorer/?q=a+b")
    for path in ("/explorer/nothing.js", "/explorer/../host.json", "/explorer//app.js"):
        missing_file = bare_host.request("GET", path)
        assert (missing_file.status, missing_file.json()["code"]) == (404, "notFound")


@needs_runtime
def test_routes_that_no_function_has_are_not_answered(bare_host):
    assert bare_host.request("GET", "/search").status == 404


@needs_runtime
def test_with_easy_auth_the_host_asks_for_no_key_and_the_api_for_a_principal(tmp_path):
    host = FunctionsHost(ROOT, {"WEBSITE_AUTH_ENABLED": "True"}, tmp_path / "log")
    try:
        assert host.functions["api"].trigger["authLevel"] == "ANONYMOUS"
    finally:
        host.close()


@pytest.mark.parametrize(
    "python", [sys.executable, pytest.param(str(PYTHON), marks=needs_runtime)], ids=["here", "3.13"]
)
def test_entry_is_imported_without_torch_and_makes_no_program(python):
    asked = (
        "import sys, functions_entry, function_app.program as p; "
        "print(sorted({'torch', 'transformers', 'gpu_worker', 'local_host'} & set(sys.modules)), "
        "p._program.cache_info().currsize, functions_entry.__file__)"
    )
    done = subprocess.run(
        [python, "-c", asked],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "0", str(ROOT / "functions_entry.py")]


def test_host_json_has_no_key_that_the_helper_does_not_know():
    settings = read_host_settings((ROOT / "host.json").read_text())
    assert settings.max_dequeue_count == 5
    assert settings.visibility_timeout_s == 30


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "2.0", "extensions": {"queues": {"batchsize": 16}}},
        {"version": "2.0", "extensions": {"queues": {"batchSize": 33}}},
        {"version": "2.0", "extensions": {"queues": {"messageEncoding": "none"}}},
        {"version": "1.0"},
    ],
)
def test_helper_refuses_a_host_json_that_it_does_not_implement(changed):
    with pytest.raises(HostError):
        read_host_settings(json.dumps(changed))


@pytest.mark.parametrize(
    "bindings",
    [
        [{"type": "blobTrigger", "name": "b", "direction": "IN"}],
        [{"type": "queueTrigger", "name": "q", "direction": "IN", "queueName": "a", "odd": 1}],
        [{"type": "queue", "name": "q", "direction": "OUT", "queueName": "a", "connection": "c"}],
    ],
)
def test_helper_refuses_a_binding_that_it_does_not_implement(bindings):
    with pytest.raises(HostError):
        read_function("f", bindings)
