"""Run docs/notebook.ipynb against the demo's index and keep what it shows.

Run: ``python docs/run_notebook.py``. The tests run it the same way and compare.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_CELL_S = 120


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """`dicom-indexer serve` over a data directory; its address."""
    command = [sys.executable, "-m", "local_host.cli", "--data", str(data), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            found = _ADDRESS.search(server.stdout.readline())
            yield found[0]
        finally:
            server.terminate()


def executed(address: str) -> nbformat.NotebookNode:
    """The notebook with what its cells show when they ask the service at `address`."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace("http://127.0.0.1:8080", address)
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=_CELL_S, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace(address, "http://127.0.0.1:8080")
            cell.metadata.pop("execution", None)
    return notebook


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """What the cells show as text, in order."""
    return [
        "".join(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [sys.executable, "-m", "local_host.cli", "--data", str(data), "demo"]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        with serving(data) as address:
            nbformat.write(executed(address), NOTEBOOK)
