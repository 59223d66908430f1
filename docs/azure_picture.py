"""Draws docs/images/azure-sequence.svg: who sends what to whom on Azure, for light and dark."""

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).parent / "images" / "azure-sequence.svg"
# kind, name, line below it
LIFELINES = (
    ("user", "your files", "container"),
    ("box", "Event Grid", "topics"),
    ("queue", "blob-events", "queue"),
    ("box", "ingest", "function"),
    ("store", "rows", "tables"),
    ("queue", "series-check", "queue"),
    ("box", "series_check", "function"),
    ("queue", "series-ready", "queue"),
    ("box", "worker", "process"),
    ("store", "index", "container"),
    ("box", "search", "function"),
)
# A text alone begins a stage; else: from, to, label. Lower stands later.
STEPS = (
    "1  Look: what is this blob now?",
    ("your files", "Event Grid", "created"),
    ("Event Grid", "blob-events", "one event"),
    ("blob-events", "ingest", "message"),
    ("ingest", "your files", "properties, then 64 KiB of header, If-Match"),
    ("ingest", "rows", "claim, facts"),
    ("ingest", "series-check", "check, hidden for now"),
    ("ingest", "rows", "pending"),
    ("ingest", "rows", "blob, last"),
    ("ingest", "blob-events", "deleted"),
    "2  Close: which slices are the series?",
    ("series-check", "series_check", "message"),
    ("series_check", "rows", "idle; then list slices"),
    ("series_check", "index", "instance list, named by its digest"),
    ("series_check", "rows", "revision + 1, unsent"),
    ("series_check", "series-ready", "series, rev."),
    ("series_check", "index", "or, where no pixels are: the commit itself"),
    "3  Index: one commit for many series",
    ("series-ready", "worker", "up to 32"),
    ("worker", "your files", "up to three slices of exactly those versions, If-Match"),
    ("worker", "index", "segment files"),
    ("worker", "index", "manifest N+1"),
    ("worker", "Event Grid", "SeriesIndexed: to your topic, where one is set"),
    ("worker", "series-ready", "deleted, last"),
    "4  Find",
    ("search", "index", "N+1 there?"),
)

SPACING, LEFT, TOP = 96, 62, 20
HEAD_WIDTH, HEAD_HEIGHT = 90, 46
ROW, STAGE, PAUSE = 32, 26, 18
WIDTH = 2 * LEFT + SPACING * (len(LIFELINES) - 1)
CHARACTER = 6.6  # width at 12 px, generous
STYLE = """
  svg { color-scheme: light dark; }
  .page { fill: #ffffff; } .band { fill: #f6f8fa; }
  .line { stroke: #57606a; } .life { stroke: #afb8c1; } .head { fill: #57606a; }
  .box { fill: #f6f8fa; stroke: #8c959f; } .store { fill: #ddf4ff; stroke: #54aeff; }
  .queue { fill: #fff8c5; stroke: #d4a72c; } .user { fill: #dafbe1; stroke: #4ac26b; }
  text { fill: #1f2328; font: 12px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; }
  .name { font-weight: 600; font-size: 11.5px; } .note { fill: #57606a; font-size: 11px; }
  .stage { font-weight: 600; font-size: 13px; text-anchor: start; }
  .mask { fill: #ffffff; } .inband { fill: #f6f8fa; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .band { fill: #161b22; }
    .line { stroke: #9198a1; } .life { stroke: #3d444d; } .head { fill: #9198a1; }
    .box { fill: #21262d; stroke: #656c76; } .store { fill: #0c2d4d; stroke: #1f6feb; }
    .queue { fill: #3b2f0b; stroke: #9e6a03; } .user { fill: #0f2e1b; stroke: #2ea043; }
    text { fill: #f0f6fc; } .note { fill: #9198a1; }
    .mask { fill: #0d1117; } .inband { fill: #161b22; }
  }
"""


def x_of(name: str) -> int:
    return LEFT + SPACING * [lifeline[1] for lifeline in LIFELINES].index(name)


def layout() -> tuple[list[tuple[int, str]], list[tuple[int, tuple[str, str, str]]], int]:
    """Stages and arrows with their heights, and the height of the picture."""
    stages, arrows = [], []
    y = TOP + HEAD_HEIGHT + 14
    for step in STEPS:
        if isinstance(step, str):
            y += PAUSE if stages else 0
            stages.append((y, step))
            y += STAGE
        else:
            arrows.append((y + ROW, step))
            y += ROW
    return stages, arrows, y + PAUSE


def label_box(y: int, arrow: tuple[str, str, str]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of an arrow's label; it stands above the middle of the arrow."""
    middle = (x_of(arrow[0]) + x_of(arrow[1])) / 2
    half = len(arrow[2]) * CHARACTER / 2 + 2
    middle = min(max(middle, half + 4), WIDTH - half - 4)
    return middle - half, y - 19, middle + half, y - 4


def _lifelines(bottom: int) -> str:
    drawn = ""
    for kind, name, note in LIFELINES:
        x = x_of(name)
        drawn += (
            f'<path class="life" d="M {x} {TOP + HEAD_HEIGHT} V {bottom}" stroke-dasharray="3 4"/>'
            f'<rect class="{kind}" x="{x - HEAD_WIDTH / 2}" y="{TOP}" width="{HEAD_WIDTH}" '
            f'height="{HEAD_HEIGHT}" rx="{14 if kind == "queue" else 6}"/>'
            f'<text class="name" x="{x}" y="{TOP + 20}">{escape(name)}</text>'
            f'<text class="note" x="{x}" y="{TOP + 36}">{escape(note)}</text>\n'
        )
    return drawn


def _bands(stages: list[tuple[int, str]], bottom: int) -> tuple[str, str]:
    """Every second stage lies on a band; the titles are drawn later, above the lifelines."""
    ends = [y for y, _ in stages[1:]] + [bottom]
    bands = "".join(
        f'<rect class="band" x="0" y="{y}" width="{WIDTH}" height="{end - y}"/>\n'
        for place, ((y, _), end) in enumerate(zip(stages, ends, strict=True))
        if place % 2 == 0
    )
    titles = "".join(
        f'<rect class="{"inband" if place % 2 == 0 else "mask"}" x="10" y="{y + 8}" '
        f'width="{len(title) * 8}" height="18"/>'
        f'<text class="stage" x="14" y="{y + 22}">{escape(title)}</text>\n'
        for place, (y, title) in enumerate(stages)
    )
    return bands, titles


def _arrow(y: int, arrow: tuple[str, str, str], in_band: bool) -> str:
    left, top, right, bottom = label_box(y, arrow)
    background = "inband" if in_band else "mask"
    return (
        f'<rect class="{background}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" '
        f'height="{bottom - top}"/>'
        f'<text x="{(left + right) / 2:.1f}" y="{y - 7}">{escape(arrow[2])}</text>'
        f'<path class="line" d="M {x_of(arrow[0])} {y} H {x_of(arrow[1])}" fill="none" '
        'stroke-width="1.5" marker-end="url(#head)"/>\n'
    )


def picture() -> str:
    stages, arrows, bottom = layout()
    bands, titles = _bands(stages, bottom)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" role="img">\n'
        "<title>From a blob to a search hit on Azure: look, close, index, find</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>\n'
        f'<rect class="page" width="{WIDTH}" height="{bottom}"/>\n'
        + bands
        + _lifelines(bottom)
        + titles
        + "".join(
            _arrow(y, arrow, sum(start < y for start, _ in stages) % 2 == 1) for y, arrow in arrows
        )
        + "</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
