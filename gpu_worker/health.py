"""Whether the worker still gets on: a pulse that its work gives, and an address that tells of it.

Hiding messages from others goes on in a thread of its own, so a worker that hangs would keep what
it has in hand for ever. What tells is work: the pulse beats whenever a stage of a series ends, and
at each look into the queue. A batch may take as long as it likes, one stage of it may not.

Whoever runs the container asks over HTTP (``GET /health``: 200, or 503 when nothing has ended for
too long), from outside of this process: so one in which no thread gets on is noticed, too. By hand,
and as the health check of the image: ``python -m gpu_worker.health``, which exits with 0 or 1.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from indexer_core.errors import InvalidInputError

PORT = "INDEXER_WORKER_HEALTH_PORT"
PATH = "/health"

_ANSWER_S = 5.0
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Who is told how the worker is, and when it counts as hung.

    port: where it answers; 0: nowhere. stall_s: it hangs when nothing of its work ended for so
    long. The longest that is known to be in order is a model on a CPU that sees 32 series at once,
    two minutes; a store that does not answer ends a batch sooner.
    """

    port: int = 0
    stall_s: float = 900.0


class Pulse:
    """When the last piece of work ended; any number of threads beat it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beaten_s = clock()

    def beat(self) -> None:
        """A piece of work has ended just now."""
        self._beaten_s = self._clock()

    @property
    def age_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._beaten_s


def read_port(environment: Mapping[str, str]) -> int:
    """Where the worker answers, 0 for nowhere: of the worker, and of who asks it.

    Raises
    ------
    InvalidInputError
        It is no port.
    """
    text = environment.get(PORT) or "0"
    if not (text.isascii() and text.isdecimal() and int(text) <= _LAST_PORT):
        raise InvalidInputError(f"{PORT} is a port, at most {_LAST_PORT}, or 0 for none")
    return int(text)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, is_well: Callable[[], bool]) -> None:
        # All addresses: the platform asks at the container's own. Nothing leads there from outside.
        super().__init__(("0.0.0.0", port), _Handler)  # noqa: S104
        self.is_well = is_well

    def handle_error(self, *_: object) -> None:
        """Nothing: who asked has gone, and would be told of by address, with a stack."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _ANSWER_S

    def do_GET(self) -> None:
        if self.path != PATH:
            self._answer(404, b"")
        elif self.server.is_well():
            self._answer(200, b'{"status": "ok"}\n')
        else:
            self._answer(503, b'{"status": "stalled"}\n')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: somebody asks every minute."""


@contextmanager
def answering(pulse: Pulse, settings: HealthSettings) -> Iterator[int]:
    """Answer meanwhile, in threads of its own; gives the port, 0 where nobody is to be told.

    Raises
    ------
    InvalidInputError
        The port cannot be had.
    """
    if not settings.port:
        yield 0
        return
    with served(settings.port, lambda: pulse.age_s <= settings.stall_s) as port:
        yield port


@contextmanager
def served(port: int, is_well: Callable[[], bool]) -> Iterator[int]:
    """Answer at a port, 0 for any that is free; gives the one it is."""
    try:
        server = _Server(port, is_well)
    except OSError as error:
        raise InvalidInputError(f"the port that {PORT} names cannot be had") from error
    with server:
        Thread(target=server.serve_forever, name="health", daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def problem(environment: Mapping[str, str]) -> str | None:
    """What is wrong with the worker that runs here by these settings; None if nothing.

    A worker that answers nowhere is well as long as it runs: nobody can know more.
    """
    try:
        port = read_port(environment)
    except InvalidInputError as error:
        return str(error)
    if not port:
        return None
    # No proxy of the environment comes between, as it would with urllib.
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"the worker does not answer: {type(error).__name__}"
    finally:
        connection.close()
    return None if status == 200 else "nothing of the worker's work ended for too long"


def main() -> int:
    """Ask the worker of this container; 0 if it is well."""
    found = problem(os.environ)
    if found is not None:
        sys.stderr.write(f"health: {found}\n")
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
