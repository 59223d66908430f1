"""milvus-lite as a server in a process of its own, and what a process and a folder take."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_S = 60.0
_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A Milvus. process, folder: of milvus-lite; None of one that runs elsewhere."""

    uri: str
    process: int | None = None
    folder: Path | None = None

    def memory_mib(self) -> float | None:
        """Private memory of its process."""
        return None if self.process is None else private_mib(self.process)

    def disk_mib(self) -> float | None:
        """Bytes of its files."""
        return None if self.folder is None else files_mib(self.folder)


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """milvus-lite over a folder, until the end."""
    program = Path(sys.executable).parent / "milvus-lite"
    port = _free_port()
    log = folder.with_suffix(".log")
    with log.open("w", encoding="utf-8") as said:
        server = subprocess.Popen(
            [str(program), "server", *_options(folder, port)],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(port, server, log)
            yield Served(uri=f"http://127.0.0.1:{port}", process=server.pid, folder=folder)
        finally:
            server.terminate()
            server.wait(timeout=_START_S)
            shutil.rmtree(folder, ignore_errors=True)


def private_mib(process: int | str) -> float:
    """What the kernel counts as private memory (RssAnon) of a process, or of "self"."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(":", 1) for line in lines)["RssAnon"].split()[0]) / 1024


def files_mib(folder: Path) -> float:
    """Bytes of the files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / _MIB


def _options(folder: Path, port: int) -> list[str]:
    return ["--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"milvus-lite did not start: {log.read_text(encoding='utf-8')[-500:]}")
