"""deploy/build_images.py: what it would run, what it runs, and what it refuses, in one line."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest

from deploy import build_images
from deploy.build_images import BuildError, Order, Shell, build, build_command, pin
from deploy.images import check
from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "build_images.py"
COMMIT = subprocess.run(
    ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.strip()
DIGEST = "sha256:" + "a" * 64
BASES = {
    "PYTHON_BASE": {"image": "python:3.11", "digest": ""},
    "FUNCTIONS_BASE": {"image": "functions:4", "digest": DIGEST},
}


def script(*arguments, path=None):
    environment = {**os.environ, "PATH": path} if path else None
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False, env=environment
    )


def printed(*arguments):
    done = script("--print", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]


def arguments_of(command):
    return dict(
        value.split("=", 1) for option, value in pairwise(command) if option == "--build-arg"
    )


class Recorded:
    """A machine that does all it is told, and answers questions with a digest."""

    def __init__(self, answer=DIGEST):
        self.ran, self.asked = [], []
        self._answer = answer

    @property
    def shell(self):
        return Shell(run=self.ran.append, ask=self._ask)

    def _ask(self, command):
        self.asked.append(command)
        return f"{self._answer}\n"


@pytest.fixture
def with_docker(tmp_path, monkeypatch):
    """A path on which there is a docker, which is never run."""
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_what_it_prints_is_one_command_per_image_named_by_its_commit():
    cpu, cuda = printed("--registry", "r.example", "--push", "worker-cpu", "worker-cuda")
    for command, name in ((cpu, "worker-cpu"), (cuda, "worker-cuda")):
        assert command[:3] == ["docker", "buildx", "build"]
        assert f"r.example/dicom-indexer-{name}:{COMMIT[:12]}" in command
        assert {"--push", "--sbom=true", "--provenance=true"} <= set(command)
        assert arguments_of(command)["COMMIT"] == COMMIT
    assert arguments_of(cpu)["FAISS"] == "cpu"
    assert arguments_of(cpu)["TORCH_INDEX"].endswith("/cpu")
    assert (arguments_of(cuda)["FAISS"], arguments_of(cuda)["TORCH_INDEX"]) == ("gpu", "")


def test_the_functions_are_packaged_and_listed_before_their_image_is_built():
    package, sbom, image = printed("functions")
    assert package == ["make", "package"]
    assert os.access(ROOT / sbom[0], os.X_OK)
    assert sbom[-1] in check.BUILT
    assert "--load" in image


def test_every_argument_that_is_given_is_one_that_the_dockerfile_takes():
    for name, image in build_images.IMAGES.items():
        text = (ROOT / check.FOLDER / f"{image.dockerfile}.Dockerfile").read_text()
        taken = {
            one.value.partition("=")[0] for one in check.instructions_of(text) if one.name == "ARG"
        }
        *_, command = printed(name, *(["--extras", "clip"] if "FAISS" in image.arguments else []))
        assert set(arguments_of(command)) <= taken
        assert image.base in json.loads((ROOT / build_images.BASES).read_text())


def test_in_the_registry_itself_az_builds_and_tells_the_digest():
    machine = Recorded()
    order = Order(commit=COMMIT, registry="r.azurecr.io", az=True)
    name = build("functions", order, BASES, machine.shell)
    assert name == f"r.azurecr.io/dicom-indexer-functions@{DIGEST}"
    command = machine.ran[-1]
    assert command[:5] == ["az", "acr", "build", "--registry", "r"]
    assert f"dicom-indexer-functions:{COMMIT[:12]}" in command
    assert arguments_of(command)["FUNCTIONS_BASE"] == f"functions:4@{DIGEST}"
    assert machine.asked[-1][:4] == ["az", "acr", "repository", "show"]


def test_a_model_is_baked_into_the_image_that_was_built(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    plain, baked = printed("--model", str(tmp_path), "worker-cpu")
    assert baked[-1] == str(tmp_path)
    assert arguments_of(baked) == {"WORKER": plain[plain.index("--tag") + 1]}


def test_a_base_that_is_not_pinned_is_taken_by_the_digest_that_its_tag_has(with_docker):
    machine = Recorded()
    build("worker-cpu", Order(commit=COMMIT), BASES, machine.shell)
    assert arguments_of(machine.ran[-1])["PYTHON_BASE"] == f"python:3.11@{DIGEST}"
    (question,) = machine.asked
    assert question[:5] == ["docker", "buildx", "imagetools", "inspect", "python:3.11"]


def test_what_is_no_digest_is_not_taken_for_one(with_docker):
    with pytest.raises(BuildError, match="tells no digest"):
        build("worker-cpu", Order(commit=COMMIT), BASES, Recorded("latest").shell)


def test_digests_are_written_down_and_then_decide(tmp_path, with_docker):
    file = tmp_path / build_images.BASES
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(BASES))
    assert pin(tmp_path, Recorded().shell)[0] == f"python:3.11@{DIGEST}"
    pinned = json.loads(file.read_text())
    machine = Recorded("nobody asks")
    build("worker-cpu", Order(commit=COMMIT), pinned, machine.shell)
    assert machine.asked == []
    assert arguments_of(machine.ran[-1])["PYTHON_BASE"] == f"python:3.11@{DIGEST}"


def test_what_docker_has_pushed_is_told_by_its_digest(tmp_path, monkeypatch, with_docker):
    monkeypatch.setattr(build_images, "ROOT", tmp_path)
    order = Order(commit=COMMIT, registry="r.example", push=True)
    file = tmp_path / build_images.metadata_file(build_images.tag_of("worker-cpu", order))
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"containerimage.digest": DIGEST}))
    name = build("worker-cpu", order, BASES, Recorded().shell)
    assert name == f"r.example/dicom-indexer-worker-cpu@{DIGEST}"
    command = build_command("worker", "r.example/x:1", {}, ".", order)
    assert str(build_images.metadata_file("r.example/x:1")) in command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--push", "worker-cpu"], "--registry"),
        (["--az", "worker-cpu"], "--registry"),
        (["--model", "nowhere", "worker-cpu"], "empty"),
        (["--model", "nowhere", "functions"], "worker"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(arguments, told):
    done = script("--print", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("build_images: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_model_that_the_worker_could_not_read_is_refused(tmp_path):
    (tmp_path / "weights").write_bytes(b"x")
    (tmp_path / "weights").chmod(0o600)
    done = script("--print", "--model", str(tmp_path), "worker-cpu")
    assert done.returncode == 1
    assert "chmod" in done.stderr


def test_a_folder_of_a_model_that_the_worker_could_not_enter_is_refused(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "weights").write_bytes(b"x")
    for mode in (0o700, 0o704, 0o701):
        inner.chmod(mode)
        done = script("--print", "--model", str(tmp_path), "worker-cpu")
        assert done.returncode == 1, oct(mode)
        assert "chmod" in done.stderr
    inner.chmod(0o705)
    assert printed("--model", str(tmp_path), "worker-cpu")


def test_a_model_is_looked_for_where_it_is_called_and_found_from_the_repository(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"x")
    done = subprocess.run(
        [str(SCRIPT), "--print", "--model", "model", "worker-cpu"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (*_, baked) = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert shlex.split(baked)[-1] == str(tmp_path / "model")


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, whose builders are sent one folder."""
    root = tmp_path / "repository"
    (root / "worker").mkdir(parents=True)
    (root / "worker" / "known.py").write_text("")
    (root / ".gitignore").write_text("*.log\n__pycache__/\nbuild/\n")
    (root / ".dockerignore").write_text("*\n!worker\n**/__pycache__\n!build/functions\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        [*who, "commit", "--quiet", "--no-gpg-sign", "--message", "one"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def put(root, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("x")


@pytest.mark.parametrize(
    "name", ["worker/known.py", "worker/new.py", "worker/inner/new.py", "worker/ignored.log"]
)
def test_what_would_be_built_in_and_is_in_no_commit_is_found(repository, name):
    assert build_images.uncommitted(repository) == []
    put(repository, name)
    (found,) = build_images.uncommitted(repository)
    assert name.startswith(found)


@pytest.mark.parametrize(
    "name", ["notes.txt", "notes/x.txt", "worker/__pycache__/x.pyc", "build/functions/host.json"]
)
def test_what_no_builder_is_sent_or_is_built_for_it_is_no_change(repository, name):
    put(repository, name)
    assert build_images.uncommitted(repository) == []


def test_a_change_that_is_in_no_commit_stops_a_build(with_docker, monkeypatch, repository):
    monkeypatch.setattr(build_images, "ROOT", repository)
    build_images.check(["worker-cpu"], Order(commit=COMMIT))
    put(repository, "worker/new.py")
    with pytest.raises(BuildError, match=r"in none: worker/new\.py"):
        build_images.check(["worker-cpu"], Order(commit=COMMIT))


def test_run_as_a_file_it_looks_at_the_changes(with_docker):
    """Nothing is built: the docker here fails, unless a change has stopped it before."""
    done = script("worker-cpu")
    assert done.returncode == 1
    assert done.stderr.startswith(("build_images: ", "+ docker"))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [[], ["--az", "--registry", "r.azurecr.io"]])
def test_a_missing_program_is_told_in_one_line(tmp_path, options):
    for program in ("git", "env"):
        (tmp_path / program).symlink_to(shutil.which(program))
    (tmp_path / "python3").symlink_to(sys.executable)
    done = script(*options, "worker-cpu", path=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert ("az" if options else "docker") + " is not on this machine" in done.stderr


def test_without_docker_a_base_that_is_not_pinned_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    order = Order(commit=COMMIT, registry="r.azurecr.io", az=True)
    with pytest.raises(BuildError, match="--pin"):
        build("worker-cpu", order, BASES, Recorded().shell)


def test_an_unknown_image_is_refused_with_the_names_that_are_known():
    done = script("--print", "worker")
    assert done.returncode == 2
    assert all(name in done.stderr for name in build_images.IMAGES)


def test_what_docker_says_when_it_cannot_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(
        "#!/bin/sh\necho 'no such daemon' >&2\necho more >&2\nexit 1\n"
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BuildError, match=r"^docker buildx imagetools: no such daemon$"):
        build_images.resolved("python:3.11", Shell(run=print, ask=build_images._output))


def test_what_a_step_says_is_not_taken_for_the_name_of_an_image(capfd):
    build_images._seen(["echo", "4,000 files"])
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == "+ echo '4,000 files'\n4,000 files\n"
