#!/usr/bin/env python3
"""Build the images of worker and functions, and say what they are called by their digest.

    deploy/build_images.py --print worker-cpu worker-cuda functions
    deploy/build_images.py --registry NAME.azurecr.io --push worker-cuda

With docker (buildx), or with --az in the registry itself. Every image is tagged with the commit
that it is of. A base is given by its digest: the one that deploy/images/bases.json keeps, else the
one that its tag has at this moment, which docker is asked for; --pin writes that down. So --az
needs no docker only once somebody who has one has committed what --pin wrote. Only the standard
library is needed.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASES = Path("deploy/images/bases.json")
OUT = Path("build/images")
PLATFORM = "linux/amd64"
"""The only one that there are wheels of everything for."""

_PYTORCH_CPU = "https://download.pytorch.org/whl/cpu"
_DIGEST = "sha256:"
_UNRESOLVED = _DIGEST + "..."
"""Stands in a printed command for what only docker knows."""


class BuildError(Exception):
    """An image cannot be built as things are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What one image is built by.

    base: the argument that names its base. before: commands that make what it is built from.
    """

    dockerfile: str
    base: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[Sequence[str]] = ()


_SBOM_OF_FUNCTIONS = (
    *("deploy/images/sbom.sh", "dicom-indexer-functions", "{commit}"),
    *("deploy/images/functions_python.sh", "build/sbom/functions.cdx.json"),
)
IMAGES: Mapping[str, Image] = {
    "worker-cpu": Image(
        dockerfile="worker",
        base="PYTHON_BASE",
        arguments={"FAISS": "cpu", "TORCH_INDEX": _PYTORCH_CPU},
    ),
    "worker-cuda": Image(
        dockerfile="worker",
        base="PYTHON_BASE",
        arguments={"FAISS": "gpu", "TORCH_INDEX": ""},
    ),
    "functions": Image(
        dockerfile="functions",
        base="FUNCTIONS_BASE",
        before=(("make", "package"), _SBOM_OF_FUNCTIONS),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Runs commands in the repository; `ask` gives what one printed, `run` lets people see it."""

    run: Callable[[Sequence[str]], object]
    ask: Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted.

    registry: server that images are named by and pushed to; "" for this machine alone. extras:
    of the worker. model: a folder that is baked into it. prints: nothing is run.
    """

    commit: str
    registry: str = ""
    push: bool = False
    az: bool = False
    extras: str = ""
    model: Path | None = None
    prints: bool = False


def tag_of(name: str, order: Order) -> str:
    """What an image is called."""
    server = f"{order.registry}/" if order.registry else ""
    return f"{server}dicom-indexer-{name}:{order.commit[:12]}"


def build_command(
    dockerfile: str, tag: str, arguments: Mapping[str, str], context: str, order: Order
) -> list[str]:
    """The command that builds one image; with docker it leaves its digest in a file."""
    options = [*("--file", f"deploy/images/{dockerfile}.Dockerfile"), "--platform", PLATFORM]
    for name, value in arguments.items():
        options += ["--build-arg", f"{name}={value}"]
    if order.az:
        server, _, image = tag.partition("/")
        registry = server.partition(".")[0]
        return ["az", "acr", "build", "--registry", registry, "--image", image, *options, context]
    # Only a registry keeps what BuildKit attests: where it is from, and the packages of the system.
    kept = ["--push", "--provenance=true", "--sbom=true"] if order.push else ["--load"]
    metadata = ["--metadata-file", str(metadata_file(tag))]
    return ["docker", "buildx", "build", *options, "--tag", tag, *metadata, *kept, context]


def metadata_file(tag: str) -> Path:
    """Where docker tells what it has built."""
    return OUT / f"{tag.rpartition('/')[2].replace(':', '-')}.json"


def base_of(
    argument: str, bases: Mapping[str, Mapping[str, str]], shell: Shell, order: Order
) -> str:
    """A base by its digest.

    Raises
    ------
    BuildError
        No digest is kept, and there is no docker that could be asked.
    """
    image, digest = bases[argument]["image"], bases[argument]["digest"]
    if digest:
        return f"{image}@{digest}"
    if order.prints:
        return f"{image}@{_UNRESOLVED}"
    return f"{image}@{resolved(image, shell)}"


def resolved(image: str, shell: Shell) -> str:
    """The digest that a tag has now.

    Raises
    ------
    BuildError
        docker cannot tell.
    """
    if shutil.which("docker") is None:
        raise BuildError(
            f"no digest of {image} is kept in {BASES}: run --pin where docker is, and commit it"
        )
    command = ["docker", "buildx", "imagetools", "inspect", image]
    digest = shell.ask([*command, "--format", "{{.Manifest.Digest}}"]).strip()
    if not digest.startswith(_DIGEST):
        raise BuildError(f"docker tells no digest of {image}")
    return digest


def pin(root: Path, shell: Shell) -> list[str]:
    """Write down the digests that the bases have now; them, in lines."""
    file = root / BASES
    bases = json.loads(file.read_text(encoding="utf-8"))
    for base in bases.values():
        base["digest"] = resolved(base["image"], shell)
    file.write_text(json.dumps(bases, indent=2) + "\n", encoding="utf-8")
    return [f"{base['image']}@{base['digest']}" for base in bases.values()]


def build(name: str, order: Order, bases: Mapping[str, Mapping[str, str]], shell: Shell) -> str:
    """Build one image; what it is called, by its digest where it was pushed.

    Raises
    ------
    BuildError
        A step failed.
    """
    image = IMAGES[name]
    for command in image.before:
        shell.run([part.format(commit=order.commit) for part in command])
    arguments = {
        image.base: base_of(image.base, bases, shell, order),
        "COMMIT": order.commit,
        **image.arguments,
    }
    if order.extras and "FAISS" in arguments:
        arguments["EXTRAS"] = order.extras
    tag = tag_of(name, order)
    shell.run(build_command(image.dockerfile, tag, arguments, ".", order))
    if order.model is not None and "FAISS" in arguments:
        plain, tag = tag, tag_of(f"{name}-model", order)
        shell.run(build_command("model", tag, {"WORKER": plain}, str(order.model), order))
    return _by_digest(tag, order, shell)


def _by_digest(tag: str, order: Order, shell: Shell) -> str:
    name = tag.rpartition(":")[0]
    if order.az:
        server, _, image = tag.partition("/")
        show = ["az", "acr", "repository", "show", "--name", server.partition(".")[0]]
        digest = shell.ask(
            [*show, "--image", image, "--query", "digest", "--output", "tsv"]
        ).strip()
        return tag if order.prints else f"{name}@{digest}"
    if order.prints or not order.push:
        return tag
    built = json.loads((ROOT / metadata_file(tag)).read_text(encoding="utf-8"))
    return f"{name}@{built['containerimage.digest']}"


def check(names: Sequence[str], order: Order) -> None:
    """Refuse what cannot work before anything is built.

    Raises
    ------
    BuildError
        What is missing, in one line.
    """
    if order.az and not order.registry:
        raise BuildError("--az builds in a registry: name it by --registry")
    if order.push and not order.registry:
        raise BuildError("--push needs a place: name it by --registry")
    if order.model is not None:
        _check_model(names, order.model)
    if order.prints:
        return
    program = "az" if order.az else "docker"
    if shutil.which(program) is None:
        raise BuildError(f"{program} is not on this machine; --print shows what would be run")
    if changes := uncommitted(ROOT):
        raise BuildError(f"images are named by their commit, and this is in none: {changes[0]}")


def uncommitted(root: Path) -> list[str]:
    """Changes that are in no commit, and files that git does not know and a builder would be sent.

    Those that git ignores are sent, too; a folder that holds nothing else counts as one file.
    """
    from deploy.images.environment import passing

    changed = _output(["git", "status", "--porcelain", "--untracked-files=no"], root)
    unknown = _output(["git", "ls-files", "-z", "--others", "--directory"], root).split("\0")
    ignore = (root / ".dockerignore").read_text(encoding="utf-8")
    changed_files = [line[3:] for line in changed.splitlines()]
    return [*changed_files, *passing([name.rstrip("/") for name in unknown], ignore)]


def _check_model(names: Sequence[str], folder: Path) -> None:
    if not any(name.startswith("worker") for name in names):
        raise BuildError("--model is for images of the worker")
    every = [path for path in folder.rglob("*") if path.exists()]
    if not any(path.is_file() for path in every):
        raise BuildError("the folder of the model is empty, or is none")
    for path in every:
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            raise BuildError("files of the model cannot be read by everybody: chmod -R a+rX it")


def _output(command: Sequence[str], root: Path = ROOT) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command, cwd=root, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not on this machine") from error
    except subprocess.CalledProcessError as error:
        first = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[0]
        raise BuildError(f"{' '.join(command[:3])}: {first}") from error
    return done.stdout


def _seen(command: Sequence[str]) -> None:
    print("+", shlex.join(command), file=sys.stderr, flush=True)
    # All that a step says goes to stderr: what this prints are the images and nothing else.
    if subprocess.run(command, cwd=ROOT, check=False, stdout=2).returncode:  # noqa: S603 - our own
        raise BuildError(f"{' '.join(command[:3])} failed")


def _printed(command: Sequence[str]) -> str:
    print(shlex.join(command))
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build images, named by their commit.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=", ".join(IMAGES))
    parser.add_argument("--registry", default="", metavar="SERVER", help="as NAME.azurecr.io")
    parser.add_argument("--push", action="store_true", help="push to the registry")
    parser.add_argument("--az", action="store_true", help="build in the registry (az acr build)")
    parser.add_argument("--extras", default="", help="further extras of the worker: clip, mlflow")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="bake a model into the worker")
    parser.add_argument("--pin", action="store_true", help="write down the bases' digests")
    parser.add_argument("--print", action="store_true", help="show the commands, run nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is asked for; 0 if all went well."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.images) - set(IMAGES))
    if unknown or not (options.images or options.pin) or (options.pin and options.print):
        parser.error(f"name images to build, or --pin alone: {', '.join(IMAGES)}")
    printing = Shell(run=_printed, ask=_printed)
    shell = printing if options.print else Shell(run=_seen, ask=_output)
    try:
        order = Order(
            commit=_output(["git", "rev-parse", "HEAD"]).strip(),
            registry=options.registry,
            push=options.push,
            az=options.az,
            extras=options.extras,
            # From where this was called; the commands run in the repository.
            model=options.model and options.model.resolve(),
            prints=options.print,
        )
        if options.pin:
            print("\n".join(pin(ROOT, shell)))
        if options.images:
            check(options.images, order)
            (ROOT / OUT).mkdir(parents=True, exist_ok=True)
        bases = json.loads((ROOT / BASES).read_text(encoding="utf-8"))
        for name in options.images:
            image = build(name, order, bases, shell)
            print(f"# {name}: {image}" if options.print else f"{name}: {image}")
    except BuildError as error:
        print(f"build_images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # run as a file, this finds what lies beside it alone
    raise SystemExit(main())
