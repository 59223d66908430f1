"""Draws docs/images/architecture.svg: boxes on a grid, arrows between them, for light and dark."""

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).parent / "images" / "architecture.svg"
WIDTH, HEIGHT = 960, 660
STYLE = """
  svg { color-scheme: light dark; }
  .page { fill: #ffffff; } .line { stroke: #57606a; } .head { fill: #57606a; }
  .box { fill: #f6f8fa; stroke: #8c959f; } .store { fill: #ddf4ff; stroke: #54aeff; }
  .queue { fill: #fff8c5; stroke: #d4a72c; } .user { fill: #dafbe1; stroke: #4ac26b; }
  text { fill: #1f2328; font: 14px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; }
  .name { font-weight: 600; } .small { font-size: 12px; } .note { fill: #57606a; font-size: 12px; }
  .left { text-anchor: start; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .line { stroke: #9198a1; } .head { fill: #9198a1; }
    .box { fill: #161b22; stroke: #656c76; } .store { fill: #0c2d4d; stroke: #1f6feb; }
    .queue { fill: #3b2f0b; stroke: #9e6a03; } .user { fill: #0f2e1b; stroke: #2ea043; }
    text { fill: #f0f6fc; } .note { fill: #9198a1; }
  }
"""
# kind, x, y, width, height, name, lines below it
BOXES = (
    ("user", 30, 40, 170, 76, "your DICOM files", ("read where they lie",)),
    ("box", 30, 176, 170, 76, "folder walk, watch", ("local_host", "emits events")),
    ("queue", 260, 186, 150, 56, "blob-events", ("look at this file",)),
    ("box", 470, 164, 200, 100, "ingest: look", ("function_app", "header: first 64 KiB", "rows, then arm a check")),
    ("store", 740, 152, 190, 124, "state.sqlite", ("blobs, instances,", "open_series, rejects,", "roots, the queues")),
    ("queue", 495, 314, 150, 56, "series-check", ("after a quiet period",)),
    ("box", 230, 300, 205, 84, "check: close series", ("function_app", "digest, revision, list")),
    ("queue", 30, 314, 150, 56, "series-ready", ("series, revision, digest",)),
    ("box", 30, 440, 205, 92, "worker", ("gpu_worker", "slices, rules, five texts,", "vectors, coordinates")),
    ("store", 320, 434, 270, 104, "index", ("segments: rows, vectors, coordinates", "manifest N: one commit, one file", "assembly lists, text cache")),
    ("store", 320, 578, 270, 60, "Milvus", ("the same, beyond one process",)),
    ("box", 660, 446, 120, 80, "search", ("function_app", "filters, vectors")),
    ("user", 836, 446, 94, 80, "you", ("series,", "with reasons")),
)
# points of the arrow, label, where the label stands
ARROWS = (
    (((115, 116), (115, 176)), "", (0, 0)),
    (((200, 214), (260, 214)), "", (0, 0)),
    (((410, 214), (470, 214)), "", (0, 0)),
    (((200, 78), (570, 78), (570, 164)), "header bytes", (385, 70)),
    (((670, 214), (740, 214)), "", (0, 0)),
    (((570, 264), (570, 314)), "", (0, 0)),
    (((495, 342), (435, 342)), "", (0, 0)),
    (((835, 276), (835, 404), (390, 404), (390, 384)), "instance rows", (745, 396)),
    (((230, 342), (180, 342)), "", (0, 0)),
    (((105, 370), (105, 440)), "", (0, 0)),
    (((30, 60), (14, 60), (14, 486), (30, 486)), "pixels", (38, 290)),
    (((235, 486), (320, 486)), "commit", (277, 478)),
    (((590, 486), (660, 486)), "", (0, 0)),
    (((455, 538), (455, 578)), "a follower, if wanted", (530, 562)),
    (((590, 608), (720, 608), (720, 526)), "instead", (655, 600)),
    (((780, 486), (836, 486)), "", (0, 0)),
    (((345, 384), (345, 434)), "no pixels, deletions", (272, 413)),
)


def box(kind: str, x: int, y: int, width: int, height: int, name: str, lines: tuple[str, ...]) -> str:
    rows = [(name, "name"), *((line, "small") for line in lines)]
    top = y + height / 2 - (len(rows) - 1) * 9 + 5
    texts = "".join(
        f'<text class="{style}" x="{x + width / 2}" y="{top + 18 * row}">{escape(text)}</text>'
        for row, (text, style) in enumerate(rows)
    )
    radius = 14 if kind == "queue" else 6
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'
        f"{texts}\n"
    )


def arrow(points: tuple[tuple[int, int], ...], label: str, place: tuple[int, int]) -> str:
    path = " L ".join(f"{x} {y}" for x, y in points)
    text = f'<text class="note" x="{place[0]}" y="{place[1]}">{escape(label)}</text>' if label else ""
    return f'<path class="line" d="M {path}" fill="none" stroke-width="1.5" marker-end="url(#head)"/>{text}\n'


def picture() -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        "<title>From a file to a search hit: events, rows, series, index</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>\n'
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>\n'
        + "".join(arrow(*one) for one in ARROWS)
        + "".join(box(*one) for one in BOXES)
        + "</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
