"""The explorer's page in a real browser: Chromium, and an index of real files that is served."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.command_line import CommandLine
from tests.support.ports import quiet_ports
from tests.support.served import Served

ROOT = Path(__file__).parents[2]
AXE = ROOT / "explorer" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = "DICOM_INDEXER_PICTURES"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
# What a page catches itself, such as text that was not run as code, is on no console otherwise.
_TELL = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`));"""
_GRAVE = frozenset(("serious", "critical"))


def chromium() -> str | None:
    """The program of the browser."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def missing() -> str | None:
    """Why no browser can be started here, or None."""
    if chromium() is None:
        return "no Chromium is on the path: make tools (as root, with apt-get), or install one"
    return None


def launch_options() -> dict[str, Any]:
    """How Chromium is started: drawing in software, knowing no other host than this machine."""
    arguments = [
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's sandbox does not work for root
    return {"executable_path": chromium(), "args": arguments}


class Site:
    """Files, their index, and `dicom-indexer serve` over it, in processes of their own.

    Parameters
    ----------
    files
        What is indexed; it lies below a temporary folder, and tests may change it.
    encoder
        The exported text encoder.
    """

    def __init__(self, files: Path, encoder: Path) -> None:
        self.files = files
        home = files.parent
        self.command_line = CommandLine(home / "data", encoder, home / "patient.key")
        self.index()
        # A browser opens many connections: none of them shall take the port between two servers.
        self._served = Served(self.command_line.data, "--port", str(*quiet_ports(1)))

    @property
    def url(self) -> str:
        """The explorer's address."""
        return f"{self._served.url}/"

    @property
    def served(self) -> Served:
        """The server, to be asked without a browser."""
        return self._served

    def index(self) -> None:
        """Index the files as they are now; the server finds that out by itself."""
        self.command_line.ask("index", str(self.files))

    def fit(self) -> None:
        """Fit a map; that takes 32 series whose pictures differ."""
        self.command_line.ask("map", "fit")

    @contextmanager
    def also_served(self, *arguments: str, token: str | None = None) -> Iterator[Served]:
        """A second server over the same index, with options of its own."""
        environment = {} if token is None else {"DICOM_INDEXER_TOKEN": token}
        served = Served(self.command_line.data, *arguments, env=environment)
        try:
            yield served
        finally:
            served.stop()

    def stop(self) -> None:
        """Stop the server."""
        self._served.stop()

    def restart(self) -> None:
        """Start the server again, on the port that it had."""
        self._served = Served(self.command_line.data, "--port", str(self._served.port))


@dataclass  # without slots: playwright keeps attributes of its own in whoever listens
class Watch:
    """All that a page does and that a good page does not do.

    Errors on the console, whatever breaks the content security policy, exceptions that nobody
    caught, and requests to others than the page's own origin.
    """

    origin: str
    problems: list[str] = field(default_factory=list)
    _allowed: list[str] = field(default_factory=list)

    def follow(self, page: Any) -> None:
        """Listen to a page of playwright."""
        page.add_init_script(_TELL)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("crash", lambda _: self.problems.append("the page has crashed"))
        page.on("request", self._on_request)

    def allow(self, pattern: str) -> None:
        """Expect problems whose text has a match of the pattern, such as a refused request."""
        self._allowed.append(pattern)

    def unexpected(self) -> list[str]:
        """The problems that no test has expected."""
        return [
            each
            for each in self.problems
            if not any(re.search(pattern, each) for pattern in self._allowed)
        ]

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location['url']})")

    def _on_request(self, request: Any) -> None:
        own = (self.origin, f"blob:{self.origin}", "data:")
        if not request.url.startswith(own):
            self.problems.append(f"request: {request.method} {request.url}")


def axe(page: Any) -> list[str]:
    """What axe-core finds serious or critical in the page as it is: rule, why, and where."""
    # Handed to the browser's debugger, for the page takes no scripts but its own.
    page.evaluate(AXE.read_text(encoding="utf-8") + "\n;0")
    found = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return [
        f"{each['id']}: {each['help']}: {' '.join(str(target) for target in node['target'])}"
        for each in found
        if each["impact"] in _GRAVE
        for node in each["nodes"]
    ]
