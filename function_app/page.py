"""The Cohort Explorer's page: its built files, and what a browser is told of them.

The files are listed here and read once. A path that is asked for is looked up among their names and
never reaches a disk. The page holds no data, so nobody needs to be known to get it; what it shows
it asks of the API, which does ask who is there.
"""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from urllib.parse import urlencode

from function_app.api.messages import (
    SECURITY_HEADERS,
    ApiError,
    Request,
    Response,
    problem_response,
)

START = "index.html"
"""The file that a folder stands for."""

CONTENT_TYPES: Mapping[str, str] = {
    START: "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "THIRD-PARTY.txt": "text/plain; charset=utf-8",
}
"""Every file of the page, and what it is."""

# Scripts and styles come from these files only, and data from this origin only. Pictures that the
# page draws itself, such as the map as a PNG, are blobs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    **SECURITY_HEADERS,
    "cache-control": "no-cache",  # kept, but asked for by its etag each time
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
}


class Page:
    """Answers requests for the files of the page below one folder of a host.

    Parameters
    ----------
    contents
        Bytes by file name.
    base
        Path of the folder, with a slash at both ends.
    """

    def __init__(self, contents: Mapping[str, bytes], base: str = "/") -> None:
        self._base = base
        self._files = {base + name: _file(name, content) for name, content in contents.items()}
        self._files[base] = self._files[base + START]

    def answer(self, request: Request) -> Response | None:
        """What is answered; None where the path is none of the page's.

        The folder without its last slash leads to the folder, for the page names its files
        relative to it.
        """
        found = self._files.get(request.path)
        is_bare = request.path == self._base[:-1] != ""
        if found is None and not is_bare:
            return None
        if request.method not in {"GET", "HEAD"}:
            allowed = "GET, HEAD"
            error = ApiError("methodNotAllowed", f"this path takes {allowed}", {"allow": allowed})
            return problem_response(error)
        if found is None:
            return self._moved(request)
        if _is_known(request.headers.get("if-none-match", ""), found.headers["etag"]):
            return Response(status=304, headers=found.headers, body=b"")
        return found

    def _moved(self, request: Request) -> Response:
        name = self._base.strip("/").rpartition("/")[2]
        asked = f"?{urlencode(request.query)}" if request.query else ""
        headers = {**_HEADERS, "content-type": "text/plain", "location": f"{name}/{asked}"}
        return Response(status=308, headers=headers, body=b"")


def read_page(base: str = "/") -> Page:
    """The page as this package has it."""
    folder = files("function_app") / "explorer"
    return Page({name: (folder / name).read_bytes() for name in CONTENT_TYPES}, base)


def _file(name: str, content: bytes) -> Response:
    headers = {
        **_HEADERS,
        "content-type": CONTENT_TYPES[name],
        "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return Response(status=200, headers=headers, body=content)


def _is_known(sent: str, etag: str) -> bool:
    """Whether an If-None-Match has the entity tag (RFC 9110, 13.1.2: by weak comparison)."""
    return any(each.strip().removeprefix("W/") in {etag, "*"} for each in sent.split(","))
