"""A real Azurite (Microsoft's storage emulator) as a process, on free ports of this machine.

Its clock can be set ahead (`Azurite.advance`); it can be killed and started again on the same ports
and data. Installed by the Makefile; tests that need it skip without it.
"""

import base64
import contextlib
import http.client
import http.server
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import quiet_ports

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".tools" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
PRELOAD = Path(__file__).with_name("azurite_preload.js")
ACCOUNT = "devaccount"
START_TIMEOUT_S = 120.0
_SERVICES = ("blob", "queue", "table")


def missing() -> str | None:
    """Why Azurite cannot be started here, or None."""
    if shutil.which("node") is None:
        return "Azurite needs node, which is not on this machine"
    if not PROGRAM.is_file():
        return "Azurite is not installed: run `make .tools/azurite.stamp`"
    return None


class Azurite:
    """One Azurite over a folder; several may run beside each other."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._clock = folder / "clock"
        self._log = folder / "log"
        self._data.mkdir(parents=True)
        self._clock.write_text("0")
        # Made up for every run, so that no key is ever written down.
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.ports = dict(zip(_SERVICES, quiet_ports(len(_SERVICES)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead_s = 0.0

    @property
    def connection_string(self) -> str:
        ends = "".join(
            f"{service.title()}Endpoint={self.endpoint(service)};" for service in _SERVICES
        )
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};{ends}"

    def endpoint(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}/{ACCOUNT}"

    @property
    def is_down(self) -> bool:
        return self._process is None

    def start(self) -> None:
        """Start, and return when all three services answer."""
        arguments = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        arguments += ["--location", str(self._data)]
        for service, port in self.ports.items():
            arguments += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        node = shutil.which("node")
        assert node is not None
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}",
            "AZURITE_CLOCK_FILE": str(self._clock),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [node, "--require", str(PRELOAD), str(PROGRAM), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._data,
            )
        try:
            for port in self.ports.values():
                self._wait_for(port)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it, letting it write what it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would; what was acknowledged is kept, as in Azure."""
        self._end(signal.SIGUSR2)

    def restart(self) -> None:
        """Kill it and start it again on the same ports and data."""
        self.kill()
        self.start()

    def advance(self, seconds: float) -> None:
        """Set Azurite's clock ahead, by so much more."""
        self._ahead_s += seconds
        new = self._clock.with_suffix(".new")
        new.write_text(str(self._ahead_s))
        new.replace(self._clock)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_for(self, port: int) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"Azurite ended: {self._log.read_text(errors='replace')}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
            else:
                return


@contextmanager
def running_azurite(folder: Path) -> Iterator[Azurite]:
    """An Azurite that is up, over a new folder, and is gone afterwards."""
    azurite = Azurite(folder)
    azurite.start()
    try:
        yield azurite
    finally:
        azurite.stop()


def fresh_name(kind: str) -> str:
    """A name for a container, queue or table that nobody else uses."""
    return f"{kind}{secrets.token_hex(6)}"


@dataclass
class Fault:
    """What a `FaultyProxy` does to one request whose method and path fit."""

    method: str
    path: str = ""
    """Some part of the path and query."""
    nth: int = 1
    """Which of the requests that fit, counted from when the fault was set up."""
    lose_answer: bool = False
    """Let the request take place, then close the connection."""
    cut_body: bool = False
    """Let the request take place, then send half of the body."""
    hang: bool = False
    """Let the request take place, then keep silent until the proxy is closed."""
    status: int = 0
    """Answer so instead; the request does not take place unless it `takes_place`."""
    takes_place: bool = False
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    """Called before the request is passed on."""
    after: Callable[[], None] | None = None
    """Called once the request has taken place, before it is answered."""

    def fits(self, method: str, path: str) -> bool:
        return method == self.method and self.path in path


class Connections:
    """How many connections a server of ours has."""

    def __init__(self) -> None:
        self._n = 0
        self._changed = threading.Condition()

    def change(self, by: int) -> None:
        with self._changed:
            self._n += by
            self._changed.notify_all()

    def get_closed(self) -> bool:
        """Whether the others close them all, which reaches us a little later."""
        with self._changed:
            return self._changed.wait_for(lambda: self._n == 0, timeout=10)


class FaultyProxy:
    """Stands between the SDK and one service of Azurite, and makes trouble on demand."""

    def __init__(self, azurite: Azurite, service: str) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.upstream = azurite.ports[service]
        self.closing = threading.Event()
        self.connections = Connections()
        self._lock = threading.Lock()
        proxy = self

        class Handler(_ProxyHandler):
            owner = proxy

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._ports = (f":{self.upstream}/", f":{self._server.server_address[1]}/")
        self.connection_string = self.instead(azurite.connection_string)

    def instead(self, connection_string: str) -> str:
        """A connection string of Azurite by which this service is reached through the proxy."""
        return connection_string.replace(*self._ports)

    def count(self, method: str, path: str = "") -> int:
        return sum(m == method and path in p for m, p in self.requests)

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            # One fault may stand in line several times; it counts a request once.
            fitting = {id(fault): fault for fault in self.faults if fault.fits(method, path)}
            for fault in fitting.values():
                fault.nth -= 1
            for place, fault in enumerate(self.faults):
                if id(fault) in fitting and fault.nth <= 0:
                    return self.faults.pop(place)
            return None

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FaultyAccount:
    """An account all of whose services are reached through faulty proxies."""

    def __init__(self, azurite: Azurite) -> None:
        self.proxies = {service: FaultyProxy(azurite, service) for service in _SERVICES}
        self.connection_string = azurite.connection_string
        for proxy in self.proxies.values():
            self.connection_string = proxy.instead(self.connection_string)

    def add(self, service: str, fault: Fault) -> None:
        self.proxies[service].faults.append(fault)

    @property
    def waiting(self) -> list[Fault]:
        """Faults that have not struck."""
        return [fault for proxy in self.proxies.values() for fault in proxy.faults]

    def forget(self) -> None:
        """No more trouble."""
        for proxy in self.proxies.values():
            proxy.faults.clear()

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class _ProxyHandler(http.server.BaseHTTPRequestHandler):
    owner: FaultyProxy
    protocol_version = "HTTP/1.1"
    _upstream: http.client.HTTPConnection

    def setup(self) -> None:
        super().setup()
        self.owner.connections.change(1)
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.owner.upstream, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        with contextlib.suppress(OSError):  # nobody listens any more
            super().finish()
        self.owner.connections.change(-1)

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.take(self.command, self.path) or Fault("")
        if fault.before is not None:
            fault.before()
        try:
            answer = self._passed_on(body) if fault.takes_place or not fault.status else None
            if fault.after is not None:
                fault.after()
            self._reply(fault, answer)
        except (OSError, http.client.HTTPException):
            # Azurite is down, or whoever asked has gone: nobody gets an answer.
            self.close_connection = True

    def _passed_on(self, body: bytes) -> _Answer:
        if self._upstream.sock is not None and select.select([self._upstream.sock], [], [], 0)[0]:
            self._upstream.close()  # Azurite has closed it: it was idle, or Azurite was killed
        self._upstream.request(self.command, self.path, body, dict(self.headers.items()))
        response = self._upstream.getresponse()
        headers = {n: v for n, v in response.getheaders() if n.lower() not in _HOP_BY_HOP}
        return _Answer(response.status, headers, response.read())

    def _reply(self, fault: Fault, answer: _Answer | None) -> None:
        if fault.hang:
            self.owner.closing.wait()
        if fault.hang or fault.lose_answer:
            self.close_connection = True
        elif fault.status:
            headers = {"x-ms-error-code": fault.code} | fault.headers
            self._answer(_Answer(fault.status, headers, b""))
        else:
            assert answer is not None
            self._answer(answer, cut=fault.cut_body)

    def _answer(self, answer: _Answer, *, cut: bool = False) -> None:
        headers, body = dict(answer.headers), answer.body
        length = headers.pop("Content-Length", headers.pop("content-length", str(len(body))))
        self.send_response_only(answer.status)
        for name, value in {**headers, "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


for _method in ("GET", "HEAD", "PUT", "POST", "PATCH", "MERGE", "DELETE"):
    setattr(_ProxyHandler, f"do_{_method}", _ProxyHandler._handle)


_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})
