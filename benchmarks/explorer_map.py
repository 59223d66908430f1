"""The explorer's map in Chromium without a graphics card, beside regl-scatterplot.

Points are made up and lie in a file as the API writes it. All pages draw the same points as large,
in as many pixels. The peer is installed from npm into a temporary folder; it is no part of the
explorer, and could not be: it compiles code at run time, which the explorer's content security
policy forbids.
"""

import http.server
import os
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import Line
from indexer_core.point_files import id_bytes, point_file

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "explorer"
PEERS = ("regl-scatterplot@1.16.0", "regl@2.1.1", "pub-sub-es@3.0.0")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_MANY, _MOST = 200_000, 1_000_000
_SIZES_PX = {_MANY: 2.4, _MOST: 1.74}  # diameters that our map chooses for so many points
_FIRST_S, _FRAMES, _HEAP_MB = 4.0, 2.0, 400.0
_MODALITIES = ("CT", "MR", "US", "DX", "CR", "MG", "PT", "NM", "XA")
_UNKNOWN = 65_535
_RENDERERS = {"webgl": "WebGL2", "canvas": "our rasteriser", "peer": "regl-scatterplot"}


def points_file(n: int, seed: int = 0) -> bytes:
    """`n` points in 36 bent clusters of nine modalities, as `GET /api/map/points` answers."""
    random = np.random.default_rng(seed)
    kinds = 36
    centres = random.normal(0, (5, 3), (kinds, 2))
    kind = (kinds * random.random(n) ** 1.5).astype(np.int64)
    along, aside = random.normal(0, 1, (2, n)) * random.uniform(0.1, 0.5, (2, kinds))[:, kind]
    aside += random.uniform(-1, 1, kinds)[kind] * along**2
    turn = random.uniform(0, 2 * np.pi, kinds)[kind]
    x = centres[kind, 0] + along * np.cos(turn) - aside * np.sin(turn)
    y = centres[kind, 1] + along * np.sin(turn) + aside * np.cos(turn)
    codes = np.where(random.random(n) < 0.03, _UNKNOWN, kind % len(_MODALITIES))
    head = {
        "manifest": 1,
        "since": None,
        "projectionVersion": "made-up",
        "count": n,
        "total": n,
        "unplaced": 0,
        "columns": {"modality": _MODALITIES},
    }
    sections = {
        "ids": id_bytes(random.integers(0, 2**63, n, dtype=np.uint64)),
        "x": x.astype(np.float32),
        "y": y.astype(np.float32),
        "flags": (random.random(n) < 0.05).astype(np.uint8),
        "column:modality": codes.astype(np.uint16),
    }
    return point_file(head, sections)


def measure(work: Path, rounds: int = 3) -> dict[str, Any]:
    """All figures: by renderer and number of points, medians of the rounds."""
    _build(work)
    for n in (_MANY, _MOST):
        (work / f"points-{n}.bin").write_bytes(points_file(n))
    found: dict[str, Any] = {}
    with _served(work) as address, _browser() as browser:
        for n, pans, times in ((_MANY, 20, rounds), (_MOST, 5, 1)):
            # In turns, so that other work on the machine meets all alike.
            runs = [_each(browser, address, n, pans) for _ in range(times)]
            found[str(n)] = {name: _medians([run[name] for run in runs]) for name in _RENDERERS}
        found["refused"] = _refusal(browser, f"{address}/strict/peer.html")
        found["browser"] = browser.version
    return found


def lines(found: Mapping[str, Any]) -> list[Line]:
    """The rows of the page, beside the bars."""
    many, most = found[str(_MANY)], found[str(_MOST)]
    rows = []
    for name, title in _RENDERERS.items():
        is_ours, each = name != "peer", many[name]
        rows.append(
            Line(
                what=f"{title}: 200,000 points, from asking for the file to the first picture",
                measured=f"{each['first_s']:.2f} s",
                bar=f"<= {_FIRST_S:.0f} s" if is_ours else "-",
                met=each["first_s"] <= _FIRST_S if is_ours else None,
            )
        )
        rows.append(
            Line(
                what=f"{title}: 200,000 points, twenty pans",
                measured=f"{each['frames_per_s']:.1f} pictures a second",
                bar=f">= {_FRAMES:.0f}" if is_ours else "-",
                met=each["frames_per_s"] >= _FRAMES if is_ours else None,
            )
        )
        rows.append(_most_line(title, most[name], is_ours=is_ours))
    ours = most["canvas"]
    rows.append(
        Line(
            what="1,000,000 points: index of places, and a lasso of 200 corners",
            measured=f"{ours['index_ms']:.0f} ms, once; {ours['lasso_ms']:.0f} ms",
        )
    )
    rows.append(
        Line(
            what="regl-scatterplot under the explorer's content security policy",
            measured=found["refused"] or "works",
        )
    )
    return rows


def _most_line(title: str, each: Mapping[str, Any], *, is_ours: bool) -> Line:
    heap = each["heap_mb"] + each["buffers_mb"]
    return Line(
        what=f"{title}: 1,000,000 points, first picture; pans; JS heap and array buffers",
        measured=f"{each['first_s']:.1f} s; {each['frames_per_s']:.1f} a second; "
        f"{each['heap_mb']:.0f} + {each['buffers_mb']:.0f} MB",
        bar=f"<= {_HEAP_MB:.0f} MB" if is_ours else "-",
        met=heap <= _HEAP_MB if is_ours else None,
    )


def _build(work: Path) -> None:
    _run("npm", "install", "--prefix", work, "--no-save", "--ignore-scripts", "--no-audit", *PEERS)
    for name in ("map", "peer"):
        _run(
            *(SOURCE / "node_modules" / ".bin" / "esbuild", SOURCE / "bench" / f"{name}.js"),
            *("--bundle", "--format=esm", "--minify", "--target=es2022", "--log-level=warning"),
            f"--outfile={work / name}.js",
            environment={"NODE_PATH": str(work / "node_modules")},
        )
        shutil.copy(SOURCE / "bench" / f"{name}.html", work)
    shutil.copy(SOURCE / "bench" / "bench.css", work)


def _run(*command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        check=True,
    )


class _Files(http.server.SimpleHTTPRequestHandler):
    """A folder's files, below /strict/ under the explorer's policy and below /loose/ under none."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/strict").removeprefix("/loose"))

    def end_headers(self) -> None:
        if self.path.startswith("/strict/"):
            self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _browser() -> Iterator[Any]:
    # Other benchmarks run without a browser.
    from playwright.sync_api import sync_playwright

    program = next(found for name in _BROWSERS if (found := shutil.which(name)))
    arguments = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def _each(browser: Any, address: str, n: int, pans: int) -> dict[str, dict[str, Any]]:
    found = {}
    for name in _RENDERERS:
        url = f"{address}/loose/peer.html" if name == "peer" else f"{address}/strict/map.html"
        asked = {"file": f"points-{n}.bin", "renderer": name, "pans": pans, "size": _SIZES_PX[n]}
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.set_default_timeout(600_000)
        page.goto(url)
        measured = page.evaluate("(asked) => measure(asked)", asked)
        found[name] = {**measured, **_heap(page)}
        page.close()
    return found


def _heap(page: Any) -> dict[str, float]:
    """Megabytes of JavaScript's heap, and of array buffers, which do not lie in it."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return {"heap_mb": usage["usedSize"] / 1e6, "buffers_mb": usage["backingStorageSize"] / 1e6}


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    def median(name: str) -> float:
        return statistics.median(run[name] for run in runs)

    taken = {name: median(name) for name in runs[0] if name not in ("renderer", "pans_ms")}
    frames = statistics.median(1000 * len(run["pans_ms"]) / sum(run["pans_ms"]) for run in runs)
    return {**taken, "first_s": taken["first_ms"] / 1000, "frames_per_s": frames}


def _refusal(browser: Any, url: str) -> str | None:
    """What a page says when it is measured under the policy; None where it can be."""
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error.name}: {error.message}"))
    page.goto(url)
    asked = {"file": f"points-{_MANY}.bin", "pans": 1, "size": 2}
    # Not awaited: what it throws is the page's own error then, and comes with its name.
    page.evaluate("(asked) => { setTimeout(() => measure(asked)); }", asked)
    page.wait_for_timeout(5_000)
    page.close()
    return errors[0].splitlines()[0] if errors else None
