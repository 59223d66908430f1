"""An online endpoint of Azure Machine Learning with MedImageInsight, as far as its answers go.

A real HTTP server on this machine. Vectors follow from the texts and from the decoded pictures: a
picture is named by its brightest grey, so that a test can plant what is on it. Everything that the
field has seen of such endpoints can be asked for, request by request.
"""

import hashlib
import io
import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

DIMENSION = 1024
LOG_SCALE = 4.516357
KEY = "fake-endpoint-key"

Rows = list[tuple[list[float] | None, list[float] | None]]
Shape = Callable[[Rows], object]


def vector_of(name: str) -> np.ndarray:
    """A unit vector of its own for every name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(DIMENSION)
    return vector / np.linalg.norm(vector)


# ---- how answers are shaped --------------------------------------------------------------------
def rows_nested(rows: Rows) -> object:
    """A list, one object per row, every vector in a list of one; the commonest."""
    return [
        {
            **({"image_features": [image]} if image is not None else {}),
            **({"text_features": [text]} if text is not None else {}),
            "scaling_factor": LOG_SCALE,
        }
        for image, text in rows
    ]


def rows_flat(rows: Rows) -> object:
    """A list, vectors flat, and no scaling factor although it was asked for: older versions."""
    return [
        {
            **({"image_features": [image]} if image is not None else {}),
            **({"text_features": text} if text is not None else {}),
        }
        for image, text in rows
    ]


def rows_listed_scale(rows: Rows) -> object:
    return [{**row, "scaling_factor": [LOG_SCALE]} for row in rows_nested(rows)]


def one_object(rows: Rows) -> object:
    """One object with lists, as documentation draws it; what was not asked for is null."""
    images, texts = [row[0] for row in rows], [row[1] for row in rows]
    return {
        "image_features": None if images[0] is None else images,
        "text_features": None if texts[0] is None else texts,
        "scaling_factor": LOG_SCALE,
    }


def one_object_nested(rows: Rows) -> object:
    return {
        name: [[vector] for vector in vectors]
        for name, vectors in one_object(rows).items()
        if isinstance(vectors, list)
    } | {"scaling_factor": [[LOG_SCALE]]}


def one_object_squeezed(rows: Rows) -> object:
    """A single row without any list around it."""
    found = one_object(rows)
    if len(rows) > 1:
        return found
    return {k: v[0] if isinstance(v, list) else v for k, v in found.items()}


def encoded_twice(rows: Rows) -> object:
    return json.dumps(rows_nested(rows))


SHAPES = (
    rows_nested,
    rows_flat,
    rows_listed_scale,
    one_object,
    one_object_nested,
    one_object_squeezed,
    encoded_twice,
)


# ---- what goes wrong ---------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Status:
    """An answer with another status."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "no"}'


@dataclass(frozen=True)
class Cut:
    """The connection ends in the middle of the answer."""


@dataclass(frozen=True)
class Slow:
    """No answer for as long as the server runs."""


@dataclass(frozen=True)
class Garbled:
    """Not JSON, with status 200."""


@dataclass(frozen=True)
class OneRowLess:
    """The answer lacks its last row."""


@dataclass(frozen=True)
class Shorter:
    """Every vector has another length."""

    length: int = 768


@dataclass(frozen=True)
class NotNumbers:
    """The first vector holds NaN, as a failing GPU makes them."""

    value: object = float("nan")


Fault = Status | Cut | Slow | Garbled | OneRowLess | Shorter | NotNumbers


@dataclass
class Request:
    """What one request asked for."""

    columns: list[str]
    n_rows: int
    authorisation: str
    deployment: str
    params: dict


class FakeEndpoint:
    """`faults` are used up one by one; `shape` is that of good answers; `keys` are accepted.

    `sizes`: columns and rows of the pictures that it has seen.
    """

    def __init__(self) -> None:
        self.shape: Shape = rows_nested
        self.faults: list[Fault] = []
        self.keys = {KEY}
        self.names: dict[int, str] = {}
        self.bad_pictures: set[int] = set()
        self.most_rows = 1000
        self.requests: list[Request] = []
        self.sizes: list[tuple[int, int]] = []
        self.most_at_once = 0
        self.together: threading.Barrier | None = None
        self._at_once = 0
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.url = ""

    def plant(self, grey: int, text: str) -> None:
        """Pictures whose brightest grey is this show what that text says."""
        self.names[grey] = text

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        yield
        with self._lock:
            self._at_once -= 1

    def next_fault(self) -> Fault | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else None

    def features(self, image: str | None, text: str | None) -> tuple:
        return (
            self._image_vector(image) if image else None,
            vector_of(text).tolist() if text else None,
        )

    def _image_vector(self, image: str) -> list[float]:
        with Image.open(io.BytesIO(b64decode(image))) as picture:
            assert picture.format in ("PNG", "JPEG")
            self.sizes.append(picture.size)
            pixels = np.asarray(picture.convert("L"))
        grey = int(pixels.max())
        if grey in self.bad_pictures:
            return [float("nan")] * DIMENSION
        name = self.names.get(grey)
        # What else is on the picture makes a cosine of 0.3 with the text, as is usual.
        rest = vector_of(hashlib.sha256(pixels.tobytes()).hexdigest())
        if name is None:
            return rest.tolist()
        mixed = 0.3 * vector_of(name) + np.sqrt(1 - 0.09) * rest
        return (mixed / np.linalg.norm(mixed)).tolist()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: FakeEndpoint

    def log_message(self, *args) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        with self.endpoint.busy():
            self._answer()

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        table, endpoint = body["input_data"], self.endpoint
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        endpoint.requests.append(
            Request(
                columns=[name for name in ("image", "text") if any(row[name] for row in rows)],
                n_rows=len(rows),
                authorisation=self.headers.get("Authorization", ""),
                deployment=self.headers.get("azureml-model-deployment", ""),
                params=body["params"],
            )
        )
        assert table["index"] == list(range(len(rows)))
        if endpoint.together is not None:
            endpoint.together.wait()
        fault = endpoint.next_fault()
        if fault is None and endpoint.keys and not self._is_known():
            fault = Status(code=401)
        if fault is None and len(rows) > endpoint.most_rows:
            fault = Status(code=413)
        if isinstance(fault, Status):
            self._send(fault.code, fault.body, fault.headers)
        elif isinstance(fault, Slow):
            endpoint.ended.wait()
            self.close_connection = True
        elif isinstance(fault, Garbled):
            self._send(200, b"<html>gateway</html>")
        else:
            self._send_features(rows, fault)

    def _is_known(self) -> bool:
        return self.headers.get("Authorization") in {f"Bearer {key}" for key in self.endpoint.keys}

    def _send_features(self, rows: list[dict], fault: Fault | None) -> None:
        found = [self.endpoint.features(row["image"], row["text"]) for row in rows]
        if isinstance(fault, OneRowLess):
            found = found[:-1]
        if isinstance(fault, Shorter):
            found = [tuple(v and v[: fault.length] for v in row) for row in found]
        if isinstance(fault, NotNumbers):
            for vector in filter(None, found[0]):
                vector[3] = fault.value
        body = json.dumps(self.endpoint.shape(found)).encode()
        self._send(200, body, {}, whole=not isinstance(fault, Cut))

    def _send(
        self, status: int, body: bytes, headers: dict | None = None, *, whole: bool = True
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if whole else body[: len(body) // 2])
        if not whole:
            self.close_connection = True


@contextmanager
def fake_endpoint() -> Iterator[FakeEndpoint]:
    """The server, running; its address is `url`."""
    endpoint = FakeEndpoint()
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/score"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
