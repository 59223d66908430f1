"""`make package`: the Functions app as it is deployed, in a clean folder and as one zip.

What is built: the files of the repository that `.funcignore` does not name, the commit that they
are of, and the packages that the app needs below `.python_packages/lib/site-packages`, where the
host looks for them. They are wheels for Python 3.13 on Linux, whatever this machine runs, in the
versions of `constraints-functions.txt`. Nothing is left to be built in Azure: a remote build ends
after a minute, and has picked another Python than the app's. Where the package lies there nothing
can be written, so each start would compile every module again: the bytecode is part of it.

What is refused: torch, weights of models (the app reads its text encoder from the index), a module
of the app that Python cannot compile, and a zip of more than 200 MB. A package is built beside the
one that is there and takes its place once it is whole; one that is refused does not.
"""

import argparse
import compileall
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

ROOT = Path(__file__).parents[1]
TARGET = Path("build/functions")
PACKAGES = Path(".python_packages/lib/site-packages")
COMMIT = Path("indexer_core/data/commit.txt")
WITH = "extras.txt"
"""Beside the packages: with which of `FURTHER` they are, if with any."""
EXTRAS = ("azure", "cpu", "search")
FURTHER = ("milvus",)
"""Extras that few need: `--with` names them."""
LIMIT_MB = 200
PYTHON = "3.13"
# Where the platform puts the package: what tracebacks name.
_WWWROOT = "/home/site/wwwroot"
# The newest C library that is counted on; older wheels run there, too.
_GLIBC = range(17, 29)
_MACHINE = "x86_64"
# Of these even the examples that some packages bring along are small.
_WEIGHTS = frozenset({".bin", ".faiss", ".npz", ".onnx", ".pt", ".pth", ".safetensors"})
_SMALL_BYTES = 1_000_000
_TORCH = frozenset({"torch", "torchvision", "transformers", "open_clip"})
# A tenth of what Milvus's client brings along, and nothing imports it.
_UNUSED = (Path("pandas/tests"),)
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MB = 1_000_000

Install = Callable[[Path, Sequence[str]], None]


class PackageError(Exception):
    """The package cannot be deployed as it is."""


def files_of(root: Path) -> list[Path]:
    """The files of the repository that are deployed, relative to it.

    git knows how to read `.funcignore`: its patterns are those of `.gitignore`.
    """
    every = set(_git(root, "ls-files", "-z"))
    return sorted(Path(name) for name in every - _left_out(root) if (root / name).is_file())


def _left_out(root: Path) -> set[str]:
    return set(_git(root, "ls-files", "-z", "--cached", "--ignored", "--exclude-from=.funcignore"))


def commit_of(root: Path) -> str:
    """The commit that the deployed files are of, with ``-dirty`` where they are not as it has them.

    The app then knows no commit: `indexer_core.software` takes nothing but one.
    """
    (head,) = (line.strip() for line in _git(root, "rev-parse", "HEAD"))
    changed = set(_git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD"))
    return f"{head}-dirty" if changed - _left_out(root) else head


def _git(root: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603 - constant
            ["git", *arguments],  # noqa: S607 - whichever git there is
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise PackageError("this takes git and a working tree of the repository") from error
    return [name for name in done.stdout.split("\0") if name]


def is_of(root: Path, target: Path, further: Sequence[str] = ()) -> bool:
    """Whether a package has been built, of the files in the working tree now, with these extras.

    What is installed is decided by two of them, pyproject.toml and constraints-functions.txt.
    """
    if not target.is_dir() or _extras_in(target) != set(further):
        return False
    files = files_of(root)
    return _own(target) - {COMMIT} == set(files) and all(
        (target / path).read_bytes() == (root / path).read_bytes() for path in files
    )


def _own(target: Path) -> set[Path]:
    """The files of a package that are no installed ones, and no bytecode."""
    found = {path.relative_to(target) for path in _files(target)}
    return {
        path
        for path in found
        if not path.is_relative_to(PACKAGES.parts[0]) and path.suffix != ".pyc"
    }


def _extras_in(target: Path) -> set[str]:
    """The further extras that a package was built with."""
    try:
        return set((target / PACKAGES.parent / WITH).read_text().split())
    except FileNotFoundError:
        return set()


def requirements_of(pyproject: str, further: Sequence[str] = ()) -> list[str]:
    """What the app needs, as `pyproject.toml` says it."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    wanted = (*EXTRAS, *further)
    return [*project["dependencies"], *(need for extra in wanted for need in extras[extra])]


def build(root: Path, target: Path, install: Install, further: Sequence[str] = ()) -> None:
    """Build the package in a folder that is not there.

    Parameters
    ----------
    further
        Some of `FURTHER`.

    Raises
    ------
    PackageError
        It holds what must not be deployed.
    """
    for path in files_of(root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target / path)
    (target / COMMIT).parent.mkdir(parents=True, exist_ok=True)
    (target / COMMIT).write_text(f"{commit_of(root)}\n")
    (target / PACKAGES).mkdir(parents=True)
    install(target / PACKAGES, requirements_of((root / "pyproject.toml").read_text(), further))
    for unused in _UNUSED:
        shutil.rmtree(target / PACKAGES / unused, ignore_errors=True)
    if further:
        (target / PACKAGES.parent / WITH).write_text("\n".join(sorted(further)))
    for caches in [path for path in target.rglob("__pycache__") if path.is_dir()]:
        shutil.rmtree(caches)
    compile_modules(target)
    check(target)


def compile_modules(target: Path) -> None:
    """Put the modules' bytecode beside them, if this is the app's Python; another's is not read.

    It is used whatever the time of its module, which a zip does not keep.

    Raises
    ------
    PackageError
        A module of the app cannot be compiled. Of what some packages bring along not all is
        Python of today, and nothing imports it.
    """
    if not is_the_apps_python():
        return
    packages = str(target / PACKAGES.parts[0])
    for folder, skipped in ((target, re.compile(re.escape(packages))), (Path(packages), None)):
        compiled = compileall.compile_dir(
            folder,
            quiet=2,
            rx=skipped,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
            stripdir=str(target),
            prependdir=_WWWROOT,
        )
        if not compiled and skipped is not None:
            raise PackageError("a module of the app could not be compiled")


def is_the_apps_python() -> bool:
    """Whether this runs under the version of Python that the app runs under."""
    return ".".join(map(str, sys.version_info[:2])) == PYTHON


def check(target: Path) -> None:
    """Refuse what must not be deployed.

    Raises
    ------
    PackageError
        Something is missing, or there is something that must not be there.
    """
    for name in ("host.json", "functions_entry.py", "function_app/app.py", "indexer_core/ports.py"):
        if not (target / name).is_file():
            raise PackageError(f"{name} is missing")
    heavy = sorted(name for name in _TORCH if (target / PACKAGES / name).exists())
    if heavy:
        raise PackageError(f"{', '.join(heavy)} must not be deployed")
    weights = [path.name for path in _files(target) if _is_weights(path)]
    if weights:
        raise PackageError(f"weights must not be deployed: {', '.join(sorted(weights))}")


def _is_weights(path: Path) -> bool:
    return path.suffix in _WEIGHTS and path.stat().st_size > _SMALL_BYTES


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pack(target: Path, archive: Path) -> None:
    """Put the folder into a zip: equal folders give equal bytes.

    Raises
    ------
    PackageError
        It is larger than `LIMIT_MB`.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in _files(target):
            entry = zipfile.ZipInfo(path.relative_to(target).as_posix(), _NO_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes())
    if archive.stat().st_size > LIMIT_MB * _MB:
        size_mb = archive.stat().st_size / _MB
        raise PackageError(f"{archive.name} has {size_mb:.0f} MB, more than {LIMIT_MB}")


def install_wheels(packages: Path, requirements: Sequence[str]) -> None:
    """Install wheels for the app's Python and system with the pip of this one.

    Raises
    ------
    PackageError
        pip could not.
    """
    platforms = [f"manylinux_2_{minor}_{_MACHINE}" for minor in _GLIBC]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--root-user-action", "ignore"),
        *("--target", str(packages), "--only-binary", ":all:", "--no-compile"),
        *("--python-version", PYTHON, "--implementation", "cp"),
        *(option for name in platforms for option in ("--platform", name)),
        *("--platform", f"manylinux2014_{_MACHINE}"),
        *("--constraint", str(ROOT / "constraints-functions.txt")),
        *requirements,
    ]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
        raise PackageError("pip could not install what the app needs")
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts of this machine


def report(target: Path, archive: Path) -> Iterable[str]:
    """What was built, in lines."""
    files = _files(target)
    unpacked_mb = sum(path.stat().st_size for path in files) / _MB
    yield f"{target}: {len(files):,} files, {unpacked_mb:.0f} MB"
    sizes = {
        path.name: sum(file.stat().st_size for file in _files(path))
        for path in (target / PACKAGES).iterdir()
        if path.is_dir()
    }
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    yield f"  largest: {', '.join(f'{name} {sizes[name] / _MB:.0f} MB' for name in largest)}"
    if any(path.suffix == ".pyc" for path in files):
        yield f"  with bytecode of Python {PYTHON}: a start compiles nothing"
    else:
        yield f"  without bytecode, for it was not built by Python {PYTHON}: each start compiles it"
    yield f"{archive}: {archive.stat().st_size / _MB:.0f} MB of at most {LIMIT_MB}"


def archive_of(target: Path) -> Path:
    """The zip beside a package."""
    return target.with_name(f"{target.name}.zip")


def renew(root: Path, target: Path, install: Install, further: Sequence[str] = ()) -> None:
    """Build the package and its zip; what is there gives way to them once both are whole.

    Raises
    ------
    PackageError
        There is no package that may be deployed; what was there is as it was.
    """
    new, old = (target.with_name(f"{target.name}.{name}") for name in ("new", "old"))
    try:
        for left in (new, old):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        build(root, new, install, further)
        pack(new, archive_of(new))
        # Killed from here on, there is no zip, and so no package that looks whole.
        archive_of(target).unlink(missing_ok=True)
        if target.exists():
            target.rename(old)
        new.rename(target)
        archive_of(new).rename(archive_of(target))
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        archive_of(new).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, pack and report; 0 if all went well."""
    parser = argparse.ArgumentParser(description="The Functions app as it is deployed.")
    parser.add_argument("--target", type=Path, default=TARGET, metavar="FOLDER")
    parser.add_argument(
        "--if-needed", action="store_true", help="do nothing where a package of these files is"
    )
    parser.add_argument(
        "--with",
        dest="further",
        action="append",
        default=[],
        choices=FURTHER,
        help="with what searching on Milvus needs (INDEXER_MILVUS_URI)",
    )
    options = parser.parse_args(arguments)
    further = sorted(set(options.further))
    target, archive = options.target, archive_of(options.target)
    try:
        if options.if_needed and archive.is_file() and is_of(ROOT, target, further):
            return 0
        renew(ROOT, target, install_wheels, further)
    except PackageError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    print("\n".join(report(target, archive)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
