"""Azurite, Microsoft's storage emulator, as a process of this machine for as long as it is needed.

`make` installs it below `.tools`. It listens on free ports of the loopback interface and has a key
made up for the occasion, so that nothing is ever written down.
"""

import base64
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer_core.errors import NotFoundError, UnavailableError

PROGRAM = Path(".tools/azurite/node_modules/azurite/dist/src/azurite.js")
ACCOUNT = "devaccount"
_SERVICES = ("blob", "queue", "table")
_START_S = 120.0
_STOP_S = 20.0


@contextmanager
def running_azurite(folder: Path, root: Path) -> Iterator[str]:
    """Start it over a folder, give its connection string, and stop it afterwards.

    Parameters
    ----------
    folder
        Takes its data.
    root
        The repository, below which `make` has installed it.

    Raises
    ------
    NotFoundError
        It is not installed.
    UnavailableError
        It does not start.
    """
    command = _command(root)
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--location", str(folder), *_hosts(ports)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ.get("PATH", ""), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for us: we stop it when we have finished
        )
    try:
        for port in ports.values():
            _wait_for(port, process)
        yield _connection_string(key, ports)
    finally:
        _stop(process)


def _command(root: Path) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise NotFoundError("Azurite needs node, which is not on this machine")
    program = root / PROGRAM
    if not program.is_file():
        raise NotFoundError("Azurite is not installed: run make tools")
    # The SDKs speak newer versions of the protocol than Azurite knows.
    return [node, str(program), "--skipApiVersionCheck", "--disableTelemetry", "--silent"]


def _hosts(ports: dict[str, int]) -> list[str]:
    options = []
    for service, port in ports.items():
        options += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    return options


def _connection_string(key: str, ports: dict[str, int]) -> str:
    ends = "".join(
        f"{service.title()}Endpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        for service, port in ports.items()
    )
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};{ends}"


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        if process.poll() is not None:
            raise UnavailableError("Azurite ended as soon as it was started")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise UnavailableError("Azurite does not answer") from error
            time.sleep(0.05)
        else:
            return


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
