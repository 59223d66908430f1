"""`make check-images`: what an image must be, read off its Dockerfile, where no image can be built.

hadolint parses each Dockerfile and finds what is commonly done wrong, in the shell of RUN, too;
shellcheck reads the scripts. Then the rules of this repository (docs/adr/0037-images-and-health.md)
are applied to the instructions. None of this builds anything: .github/workflows/images.yml does.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from dockerfile_parse import DockerfileParser

from deploy.images.environment import ROOT, context_files, passing

FOLDER = Path("deploy/images")
BUILT: Mapping[str, Sequence[str]] = {
    "build/functions/": (
        "build/functions/host.json",
        "build/functions/function_app/__pycache__/app.cpython-313.pyc",
        "build/functions/.python_packages/lib/site-packages/numpy/__pycache__/x.cpython-313.pyc",
        "build/functions/.python_packages/lib/site-packages/numpy/testing/__init__.py",
    ),
    "build/sbom/functions.cdx.json": ("build/sbom/functions.cdx.json",),
}
"""What builds put there before an image is made of it, in no commit; with files that must reach a
builder of it."""

_BESIDE = ("build/functions.zip", "build/functions.new/host.json", "build/sbom/worker-cpu.cdx.json")

NEVER = (
    ".git",
    ".venv",
    ".tools",
    "tests",
    "docs",
    "indexer_core/testing",
    "constraints-functions",
)
"""What no builder is to be sent."""

_SECRET = re.compile(r"KEY|SECRET|PASSW|TOKEN|CONNECTION|CREDENTIAL|SAS(_|$)", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"AccountKey=|SharedAccess|[?&]sig=|-----BEGIN", re.IGNORECASE)
_USER = re.compile(r"[1-9]\d{3,}:[1-9]\d{3,}")
_FROM = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<stage>\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_TAG = re.compile(r"[^@]+:(?!latest)[\w.-]*\d[\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction; `stage` counts FROM from 1, 0 is what stands before the first."""

    name: str
    value: str
    line: int
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a Dockerfile is read against.

    files: what reaches a builder. ignore: the text of the ignore file, for what is yet to be built.
    bases: images by the argument that names them.
    """

    root: Path
    files: Sequence[str]
    ignore: str
    bases: Mapping[str, str]


def read_context(root: Path = ROOT) -> Context:
    """The repository as it is."""
    bases = json.loads((root / FOLDER / "bases.json").read_text(encoding="utf-8"))
    return Context(
        root=root,
        files=context_files(root),
        ignore=(root / ".dockerignore").read_text(encoding="utf-8"),
        bases={name: base["image"] for name, base in bases.items()},
    )


def instructions_of(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, continued lines as one, comments left out."""
    found, stage = [], 0
    for entry in DockerfileParser(fileobj=BytesIO(text.encode())).structure:
        name = entry["instruction"].upper()
        if name != "COMMENT":
            stage += name == "FROM"
            line = entry["startline"] + 1
            found.append(Instruction(name=name, value=entry["value"], line=line, stage=stage))
    return found


def problems(text: str, context: Context) -> Iterator[str]:
    """What is wrong with a Dockerfile by the rules of this repository, each with its line."""
    every = instructions_of(text)
    if not any(one.name == "FROM" for one in every):
        yield "there is no FROM"
        return
    last = [one for one in every if one.stage == max(other.stage for other in every)]
    yield from _bases(every, context)
    yield from _user(last)
    yield from _programs(last, context)
    yield from _copies(every, context)
    yield from _scripts(every, context)
    yield from _secrets(every)
    if not any(one.name == "HEALTHCHECK" for one in last):
        yield "no HEALTHCHECK"
    if not _is_of_a_commit(last, context):
        yield "no LABEL org.opencontainers.image.revision of ${COMMIT}"


def _bases(every: Sequence[Instruction], context: Context) -> Iterator[str]:
    defaults = dict(
        one.value.partition("=")[::2] for one in every if one.name == "ARG" and one.stage == 0
    )
    for one in every:
        if one.name != "FROM" or not (found := _FROM.fullmatch(one.value)):
            continue
        variable = _VARIABLE.fullmatch(found["base"])
        name = variable[1] if variable else ""
        if name not in defaults:
            yield f"{one.line}: FROM names no argument, so that no digest can be given"
            continue
        image = defaults[name]
        if image and not _TAG.fullmatch(image):
            yield f"{one.line}: {name} is no image by its version: {image}"
        if image != context.bases.get(name, ""):
            yield f"{one.line}: {name} is another image than in bases.json"


def _user(last: Sequence[Instruction]) -> Iterator[str]:
    users = [one for one in last if one.name == "USER"]
    if not users:
        yield "no USER: it runs as root"
    elif not _USER.fullmatch(users[-1].value):
        yield f"{users[-1].line}: USER is a number and not root's, as 10001:10001"
    elif any(one.name == "RUN" and one.line > users[-1].line for one in last):
        yield f"{users[-1].line}: RUN comes after USER: what runs must not be its own to change"


def _programs(last: Sequence[Instruction], context: Context) -> Iterator[str]:
    for one in last:
        text = one.value
        if one.name == "HEALTHCHECK":
            if text.strip().upper() == "NONE":
                yield f"{one.line}: HEALTHCHECK NONE"
                continue
            text = text.partition("CMD ")[2]
        elif one.name not in {"CMD", "ENTRYPOINT"}:
            continue
        words = _exec_form(text)
        if words is None:
            yield f"{one.line}: {one.name} is not in exec form, so signals reach a shell"
            continue
        for option, module in pairwise(words):
            if option == "-m" and not _module_files(module) & set(context.files):
                yield f"{one.line}: there is no module {module}"


def _exec_form(text: str) -> list[str] | None:
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and words else None


def _module_files(module: str) -> set[str]:
    path = module.replace(".", "/")
    return {f"{path}.py", f"{path}/__main__.py"}


def _copies(every: Sequence[Instruction], context: Context) -> Iterator[str]:
    stages = {
        found["stage"]: one.stage
        for one in every
        if one.name == "FROM" and (found := _FROM.fullmatch(one.value)) and found["stage"]
    }
    for one in every:
        if one.name == "ADD":
            yield f"{one.line}: ADD fetches and unpacks; COPY copies"
        if one.name != "COPY":
            continue
        words = shlex.split(one.value)
        flags = [word for word in words if word.startswith("--")]
        stage = next((flag[len("--from=") :] for flag in flags if flag.startswith("--from=")), None)
        if stage is not None:
            if stages.get(stage, one.stage) >= one.stage:
                yield f"{one.line}: COPY --from={stage} names no stage before this one"
            continue
        for source in [word for word in words if word not in flags][:-1]:
            if not _is_there(source, context):
                yield f"{one.line}: {source} reaches no builder"


def _is_there(source: str, context: Context) -> bool:
    if source == ".":  # the folder of a model
        return True
    if source in BUILT:
        return passing(BUILT[source], context.ignore) == list(BUILT[source])
    folder = source.rstrip("/") + "/"
    return any(name == source or name.startswith(folder) for name in context.files)


def _scripts(every: Sequence[Instruction], context: Context) -> Iterator[str]:
    for one in every:
        if one.name != "RUN":
            continue
        for word in one.value.split():
            if not word.startswith(("deploy/", "./")):
                continue
            if word not in context.files:
                yield f"{one.line}: {word} reaches no builder"
            elif not os.access(context.root / word, os.X_OK):
                yield f"{one.line}: {word} cannot be run"


def _secrets(every: Sequence[Instruction]) -> Iterator[str]:
    for one in every:
        if _SECRET_VALUE.search(one.value):
            yield f"{one.line}: {one.name} holds a secret"
        if one.name in {"ARG", "ENV"}:
            for name in re.findall(r"(?:^|\s)(\w+)(?==|$)", one.value):
                if _SECRET.search(name):
                    yield f"{one.line}: {one.name} {name} would keep a secret in the image"


def _is_of_a_commit(last: Sequence[Instruction], context: Context) -> bool:
    base = next(one.value for one in last if one.name == "FROM")
    if (variable := _VARIABLE.fullmatch(base)) and variable[1] not in context.bases:
        return True  # an image of ours, whose label stays
    return any(
        one.name == "LABEL" and re.search(r'image\.revision="?\$\{COMMIT\}', one.value)
        for one in last
    )


def context_problems(context: Context) -> Iterator[str]:
    """What is wrong with what builders are sent."""
    lines = context.ignore.splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    if patterns[:1] != ["*"]:
        yield ".dockerignore: begins by leaving everything out"
    for name in [*context.files, *passing(_BESIDE, context.ignore)]:
        if name.startswith((*NEVER, *_BESIDE)):
            yield f".dockerignore: {name} reaches builders"


def hadolint(files: Sequence[Path]) -> list[str]:
    """What hadolint says of Dockerfiles, line by line; it fails on what it cannot parse."""
    return _said("hadolint", ["--no-color", "--failure-threshold", "style"], files)


def shellcheck(files: Sequence[Path]) -> list[str]:
    """What shellcheck says of scripts."""
    return _said("shellcheck", ["--format", "gcc"], files)


def _said(program: str, options: Sequence[str], files: Sequence[Path]) -> list[str]:
    beside = Path(sys.executable).with_name(program)
    command = [str(beside) if beside.is_file() else program, *options, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines or ([f"{program} failed"] if done.returncode else [])


def all_problems(root: Path = ROOT) -> list[str]:
    """Everything that is wrong with the images and the scripts of a deployment."""
    context = read_context(root)
    dockerfiles = sorted((root / FOLDER).glob("*.Dockerfile"))
    found = [*context_problems(context), *hadolint(dockerfiles)]
    found += shellcheck(sorted((root / "deploy").rglob("*.sh")))
    for file in dockerfiles:
        told = problems(file.read_text(encoding="utf-8"), context)
        found += [f"{FOLDER / file.name}: {problem}" for problem in told]
    return found


def main() -> int:
    """Print what is wrong; 0 if nothing is."""
    found = all_problems()
    for problem in found:
        print(problem)
    n_files = len(list((ROOT / FOLDER).glob("*.Dockerfile")))
    print(f"{n_files} Dockerfiles, {len(found)} problems. No image was built.")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
