"""Renews everything in the documentation that is output: README.md and docs/images.

Run: ``python docs/make_pictures.py FOLDER`` with the folder of sample files (default: as the tests).
Each ```console block of README.md is run again in its order, in a fresh data directory, and what
the commands print takes the place of what stood there. `samples` in a command stands for FOLDER.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs import architecture_picture  # noqa: E402

README = ROOT / "README.md"
IMAGES = Path(__file__).parent / "images"
SAMPLES = "samples"
DEMO = "demo"
DEFAULT_FOLDER = ROOT.parent / "shared" / "data" / "dicom"
PICTURED = (
    'dicom-indexer search "sagittal T1 MPRAGE of the brain" --top 3',
    'dicom-indexer search "head" --filter modality=CT --top 3',
    'dicom-indexer search "ultrasound of the heart" --top 3',
)
_SCORE = re.compile(r"\d\.\d+ +")
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)


def commands_of(block: str) -> list[str]:
    """The commands of a console block: the lines that begin with a dollar sign.

    The demo prints such lines itself: of its block only the first line is a command.
    """
    found = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    return found[:1] if found[:1] == [f"make {DEMO}"] else found


def blocks_of(page: str) -> list[str]:
    """The console blocks of a page."""
    return [match[2] for match in _BLOCK.finditer(page)]


def arguments_of(command: str, folder: Path) -> list[str]:
    """The arguments of a `dicom-indexer` command of the README; `samples` becomes the folder."""
    program, *arguments = shlex.split(command)
    if program == "make" and arguments == [DEMO]:
        return [DEMO]
    if program != "dicom-indexer":
        raise ValueError(f"only dicom-indexer is run here: {command}")
    return [str(folder) if argument == SAMPLES else argument for argument in arguments]


def data_of(command: str, work: Path) -> Path:
    """The demo has a data directory of its own, so that the samples are searched alone."""
    return work / (DEMO if command == f"make {DEMO}" else "data")


def run(command: str, folder: Path, data: Path) -> str:
    """Standard output of one command, over one data directory."""
    environment = {
        **os.environ,
        "DICOM_INDEXER_DATA": str(data),
        "DICOM_INDEXER_PATIENT_KEY_FILE": str(data.parent / "patient.key"),
        "COLUMNS": "116",
    }
    done = subprocess.run(
        [sys.executable, "-m", "local_host.cli", *arguments_of(command, folder)],
        env=environment,
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.replace(str(data), ".dicom-indexer").replace(str(folder), SAMPLES)


def renewed(page: str, folder: Path, work: Path) -> str:
    """The page with the output of every console block as it is now."""

    def renew(match: re.Match[str]) -> str:
        printed = [
            f"$ {command}\n{shortened(run(command, folder, data_of(command, work)))}"
            for command in commands_of(match[2])
        ]
        return match[1] + "\n".join(printed) + match[3]

    return _BLOCK.sub(renew, page)


def shortened(output: str, lines: int = 20) -> str:
    """Output without what is more than enough."""
    printed = output.strip("\n").splitlines()
    if len(printed) > lines:
        printed = [*printed[: lines - 1], "..."]
    return "\n".join(printed) + "\n"


def search_picture(folder: Path, data: Path) -> str:
    """A search session as it looks in a terminal, as SVG without anything to download."""
    session = [(command, run(command, folder, data).splitlines()) for command in PICTURED]
    width = max(len(line) for command, lines in session for line in (command, *lines)) + 2
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True)
        for number, (command, (head, *rows)) in enumerate(session):
            if number:
                console.print()
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text(head, style="bold cyan"))
            for row in rows:
                score = _SCORE.match(row)
                end = score.end() if score else 0
                console.print(Text.assemble((row[:end], "yellow"), row[end:]))
        picture = console.export_svg(title="dicom-indexer")
    picture = _FONT.sub("", picture).replace("Fira Code", "ui-monospace")
    return "".join(f"{line.rstrip()}\n" for line in picture.splitlines())


def map_picture(folder: Path, work: Path) -> bytes:
    """The map of the sample files as `map export` draws it, in a fresh data directory."""
    target = work / "map.png"
    for command in ("index samples", "map fit", f"map export --png {shlex.quote(str(target))}"):
        run(f"dicom-indexer {command}", folder, work / "data")
    return target.read_bytes()


def main() -> None:
    default = os.environ.get("DICOM_SAMPLES", str(DEFAULT_FOLDER))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default).resolve()
    with tempfile.TemporaryDirectory() as work:
        page = renewed(README.read_text(encoding="utf-8"), folder, Path(work))
        picture = search_picture(folder, Path(work) / "data")
    with tempfile.TemporaryDirectory() as work:
        (IMAGES / "map-samples.png").write_bytes(map_picture(folder, Path(work)))
    README.write_text(page, encoding="utf-8")
    (IMAGES / "search.svg").write_text(picture, encoding="utf-8")
    architecture_picture.TARGET.write_text(architecture_picture.picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
