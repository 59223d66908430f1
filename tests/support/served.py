"""`dicom-indexer serve` in a process of its own, and clients that do not behave."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back on a connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", self.headers
        document = self.json()
        assert document["status"] == self.status
        return document["code"]


class Served:
    """A server on a free port of this machine."""

    def __init__(self, data: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "local_host.cli", "--data", str(data), "serve"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "DICOM_INDEXER_PATIENT_KEY_FILE": str(data.parent / "patient.key"),
                **(env or {}),
            },
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "serving http://" not in line:
            _, error = self.process.communicate(timeout=TIMEOUT_S)
            raise AssertionError(line + error)
        self.port = int(line.partition("/api")[0].rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Stop it as a terminal does: its exit status, and what it said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, error = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, error

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def send(self, data: bytes) -> Answer:
        """What comes back for these bytes, on a connection of their own."""
        started_s = time.monotonic()
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection, started_s)

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """What comes back for a request that says how long it is."""
        told = {
            "Host": f"127.0.0.1:{self.port}",
            "Connection": "close",
            **(
                {"Content-Type": "application/json", "Content-Length": str(len(body))}
                if body
                else {}
            ),
            **(headers or {}),
        }
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {told[name]}" for name in told)]
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)


def read_answer(connection: socket.socket, started_s: float) -> Answer:
    """Read to the end of an answer, or of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError("closed without an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    # An answer of nothing (204) says no length (RFC 9110, 8.6).
    while len(body) < int(headers.get("content-length", 0)):
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError("closed within an answer")
        body += piece
    return Answer(
        status=int(first.split()[1]),
        headers=headers,
        body=body,
        elapsed_s=time.monotonic() - started_s,
    )
