"""The Dockerfiles are what they must be, and what is planted in them is found."""

import os
import re
import subprocess
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from deploy.functions_package import files_of
from deploy.images import check
from deploy.images.environment import context_files
from gpu_worker.health import PORT
from tests.conftest import ROOT

FOLDER = ROOT / check.FOLDER
WORKER, MODEL, FUNCTIONS = (
    (FOLDER / f"{name}.Dockerfile").read_text(encoding="utf-8")
    for name in ("worker", "model", "functions")
)


@pytest.fixture(scope="module")
def context():
    return check.read_context()


def told(text, context):
    return list(check.problems(text, context))


def changed(text, old, new):
    assert old in text
    return text.replace(old, new)


def test_nothing_is_wrong():
    assert check.all_problems() == []


def test_what_make_lint_runs_says_so_and_that_it_has_built_nothing(capsys):
    assert check.main() == 0
    assert capsys.readouterr().out == "3 Dockerfiles, 0 problems. No image was built.\n"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ncheck-images: " in makefile
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    assert "deploy.images.check" in lint


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("FROM ${PYTHON_BASE} AS build", "FROM python:3.11.15 AS build", "no digest can be given"),
        ("slim-bookworm\n", "slim-bookworm\nARG OTHER=x\n", None),
        ("python:3.11.15-slim-bookworm", "python:latest", "no image by its version"),
        ("python:3.11.15-slim-bookworm", "python", "no image by its version"),
        ("python:3.11.15-slim-bookworm", "python:3.12.1-slim", "another image than in bases.json"),
        ("USER 10001:10001\n", "", "no USER"),
        ("USER 10001:10001", "USER root", "not root's"),
        ("USER 10001:10001", "USER 0:0", "not root's"),
        ("USER 10001:10001", "USER worker", "not root's"),
        ("USER 10001:10001", "USER 10001:10001\nUSER root", "not root's"),
        ("USER 10001:10001", "USER 10001:10001\nRUN touch /tmp/x", "RUN comes after USER"),
        ('"gpu_worker.health"]', '"gpu_worker.healthy"]', "no module gpu_worker.healthy"),
        ('"-m", "gpu_worker"]', '"-m", "worker"]', "no module worker"),
        ('CMD ["python", "-m", "gpu_worker"]', "CMD python -m gpu_worker", "not in exec form"),
        ("--from=build /opt/worker", "--from=biuld /opt/worker", "names no stage before"),
        ("COPY gpu_worker/ gpu_worker/", "COPY gpu-worker/ gpu_worker/", "reaches no builder"),
        ("COPY gpu_worker/ gpu_worker/", "COPY tests/ tests/", "reaches no builder"),
        ("COPY gpu_worker/", "ADD https://example.org/x.tar /x\nCOPY gpu_worker/", "ADD"),
        ("install_worker.sh", "install_worker.bash", "reaches no builder"),
        ("HOME=/tmp", "INDEXER_PATIENT_KEY=MDEyMzQ1Njc4OWFiY2RlZg==", "keep a secret"),
        ("HOME=/tmp", "X=DefaultEndpoints;AccountKey=abc", "holds a secret"),
        ("ARG COMMIT\n", "ARG COMMIT\nARG PIP_TOKEN\n", "keep a secret"),
        ("image.revision", "image.version", "revision"),
    ],
)
def test_a_fault_in_the_worker_is_found(context, old, new, expected):
    found = told(changed(WORKER, old, new), context)
    if expected is None:
        assert found == []
    else:
        assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new", "told_of"),
    [
        ("!build/sbom/functions.cdx.json\n", "", "build/sbom/functions.cdx.json"),
        ("!build/functions\n", "", "build/functions/"),
        ("!build/functions\n", "!build/functions\n**/__pycache__\n", "build/functions/"),
        ("!build/functions\n", "!build/functions\n**/*.pyc\n", "build/functions/"),
        ("!build/functions\n", "!build/functions\n**/testing\n", "build/functions/"),
    ],
)
def test_what_is_built_for_the_functions_and_left_out_is_found(context, old, new, told_of):
    ignoring = replace(context, ignore=changed(context.ignore, old, new))
    found = told(FUNCTIONS, ignoring)
    assert any(f"{told_of} reaches no builder" in problem for problem in found), found


@pytest.mark.parametrize("pattern", ["!build", "!build/*", "!build/sbom", "!build/functions.zip"])
def test_what_lies_beside_what_was_built_stays_here(context, pattern):
    more = replace(context, ignore=f"{context.ignore}{pattern}\n")
    assert any("reaches builders" in problem for problem in check.context_problems(more))


def test_a_script_that_cannot_be_run_is_found(context, tmp_path):
    script = tmp_path / check.FOLDER / "install_worker.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    found = told(WORKER, replace(context, root=tmp_path))
    assert any("install_worker.sh cannot be run" in problem for problem in found)


@pytest.mark.parametrize("text", [WORKER, MODEL, FUNCTIONS], ids=["worker", "model", "functions"])
def test_an_image_without_a_health_check_or_with_none_is_found(context, text):
    without = re.sub(r"HEALTHCHECK [^\n]*\\\n[^\n]*\n", "", text)
    assert "no HEALTHCHECK" in told(without, context)
    none = re.sub(r"HEALTHCHECK [^\n]*\\\n[^\n]*\n", "HEALTHCHECK NONE\n", text)
    assert any("HEALTHCHECK NONE" in problem for problem in told(none, context))
    shell = re.sub(r"CMD \[[^\n]*health[^\n]*\]", "CMD python -m gpu_worker.health", text)
    assert any("exec form" in problem for problem in told(shell, context))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ("WORKDIR /src", "RUN apt-get install curl\nWORKDIR /src", "DL3008"),
        ("WORKDIR /src", "RUN pip install torch\nWORKDIR /src", "DL3013"),
        ('"${EXTRAS}" &&', "${OTHER} &&", "SC2086"),
        ('CMD ["python", "-m", "gpu_worker"]', 'CMD ["python", "-m", "gpu_worker"', "DL3025"),
        ("EXPOSE 8080", "EXPOSE 808080", "DL3011"),
        ("EXPOSE 8080", "EXPOSED 8080", "missing whitespace"),
    ],
)
def test_hadolint_finds_what_is_not_well_written(tmp_path, old, new, rule):
    file = tmp_path / "planted.Dockerfile"
    file.write_text(changed(WORKER, old, new))
    assert rule in "\n".join(check.hadolint([file]))


def test_shellcheck_finds_an_unquoted_variable(tmp_path):
    script = tmp_path / "planted.sh"
    script.write_text("#!/bin/sh\nset -eu\nrm -rf $1\n")
    assert "SC2086" in "\n".join(check.shellcheck([script]))


def test_a_linter_that_fails_without_a_word_is_no_success(tmp_path, monkeypatch):
    program = tmp_path / "hadolint"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(check.sys, "executable", str(tmp_path / "python"))
    assert check.hadolint([]) == ["hadolint failed"]


def test_what_reaches_a_builder_is_what_is_needed_and_no_more(context):
    assert list(check.context_problems(context)) == []
    assert "gpu_worker/__main__.py" in context.files
    assert not [
        name for name in context.files if name.startswith(("tests/", "indexer_core/testing"))
    ]
    leaky = replace(context, files=[*context.files, "tests/conftest.py"])
    assert any("tests/conftest.py" in problem for problem in check.context_problems(leaky))


@pytest.mark.parametrize(
    ("ignore", "passes", "stays"),
    [
        ("*\n!gpu_worker", {"gpu_worker/loop.py"}, {"indexer_core/ports.py", "LICENSE"}),
        ("*\n!gpu_worker\n**/*.py", set(), {"gpu_worker/loop.py"}),
        ("# nothing\n\ngpu_worker/", {"LICENSE"}, {"gpu_worker/loop.py"}),
        ("*\n!LICENS", set(), {"LICENSE"}),
        ("*.toml", {"gpu_worker/loop.py"}, {"pyproject.toml"}),
    ],
)
def test_patterns_are_read_as_docker_reads_them(ignore, passes, stays):
    files = set(context_files(ROOT, ignore))
    assert passes <= files
    assert not stays & files


def test_the_worker_answers_where_its_image_and_container_apps_ask():
    (port,) = re.findall(rf"{PORT}=(\d+)", WORKER)
    assert f"EXPOSE {port}\n" in WORKER
    bicep = (ROOT / "infra/bicep/modules/worker.bicep").read_text(encoding="utf-8")
    assert f"var healthPort = {port}\n" in bicep


def test_both_kinds_of_worker_are_pinned_and_never_have_both_kinds_of_faiss():
    pins = [
        (ROOT / name).read_text(encoding="utf-8").splitlines()
        for name in ("constraints.txt", "constraints-cuda.txt")
    ]
    names = [{line.partition("==")[0] for line in lines} for lines in pins]
    assert not names[0] & names[1]
    assert "faiss-cpu" in names[0]
    assert "faiss-gpu" in names[1]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for lines in pins for line in lines)


@pytest.mark.parametrize("arguments", [["venv", "both"], ["venv", "cpu,gpu"]])
def test_the_steps_take_one_kind_of_faiss(tmp_path, arguments):
    script = FOLDER / "install_worker.sh"
    done = subprocess.run(
        [str(script), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


WORKFLOW = (ROOT / ".github/workflows/images.yml").read_text(encoding="utf-8")
# What GitHub runs a step by where no shell is named, and where bash is.
SHELLS = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}


def test_a_workflow_in_which_a_program_fails_fails(tmp_path):
    (tmp_path / "deploy").mkdir()
    for name in ("deploy/build_images.py", "docker"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'functions: an-image'\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    job = yaml.safe_load(WORKFLOW)["jobs"]["build"]
    shell = job.get("defaults", {}).get("run", {}).get("shell")
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    assert len(scripts) == 4
    for script in scripts:
        done = subprocess.run(
            [*SHELLS[shell], "-c", script],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "IMAGE": "functions"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode, script


@pytest.mark.parametrize("event", ["push", "pull_request"])
def test_the_workflow_runs_when_anything_changes_that_an_image_is_built_from(context, event):
    # YAML 1.1 takes `on` for a truth.
    patterns = yaml.safe_load(WORKFLOW)[True][event]["paths"]
    deployed = [path.as_posix() for path in files_of(ROOT)]
    for name in [*context.files, *deployed, ".dockerignore", ".funcignore", "Makefile"]:
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_workflow_builds_every_image_and_lints_by_the_same_tool():
    text = WORKFLOW
    steps = [
        step.get("run", "")
        for job in yaml.safe_load(text)["jobs"].values()
        for step in job["steps"]
    ]
    for image in ("worker-cpu", "worker-cuda", "functions"):
        assert image in text
    assert any("deploy/build_images.py" in step for step in steps)
    assert any("deploy.images.check" in step for step in steps)
    assert "has not run yet" in text
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) for one in used)


def test_every_script_of_a_deployment_can_be_run():
    scripts = [*Path(ROOT / "deploy").rglob("*.sh"), ROOT / "deploy" / "build_images.py"]
    assert len(scripts) >= 5
    assert all(script.stat().st_mode & 0o111 == 0o111 for script in scripts)
