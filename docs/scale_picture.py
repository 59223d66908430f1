"""Draws docs/images/scale-year.svg: a week of a billion files a year, and the limits in their order.

Run: ``python docs/scale_picture.py``. The numbers are those of `indexer_core.costs.year`.
"""

import sys
from math import log10
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer_core.costs.year import Year, year_of  # noqa: E402
from indexer_core.costs.year_figures import year_figures  # noqa: E402
from indexer_core.costs.year_limits import Limit, limits_of  # noqa: E402
from indexer_core.index.compaction import MergePolicy  # noqa: E402

TARGET = Path(__file__).parent / "images" / "scale-year.svg"
WIDTH, LEFT, RIGHT = 1000, 60, 30
WEEK_TOP, WEEK_HEIGHT = 56, 120
BARS_TOP, ROW, NAMES = 268, 26, 226
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LEAST, MOST = 0.01, 1000.0
"""Ends of the scale of limits: times the year."""
STYLE = """
  svg { color-scheme: light dark; }
  .page { fill: #ffffff; } .band { fill: #f6f8fa; }
  .axis { stroke: #afb8c1; } .once { stroke: #57606a; stroke-dasharray: 4 3; }
  .week { fill: #ddf4ff; stroke: #54aeff; } .bear { fill: #dafbe1; stroke: #4ac26b; }
  .met { fill: #ffebe9; stroke: #ff8182; }
  text { fill: #1f2328; font: 12px system-ui, "DejaVu Sans", sans-serif; }
  .title { font-weight: 600; font-size: 13px; } .note { fill: #57606a; font-size: 11px; }
  .middle { text-anchor: middle; } .end { text-anchor: end; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .band { fill: #161b22; }
    .axis { stroke: #3d444d; } .once { stroke: #9198a1; }
    .week { fill: #0c2d4d; stroke: #1f6feb; } .bear { fill: #0f2e1b; stroke: #2ea043; }
    .met { fill: #3d1418; stroke: #da3633; }
    text { fill: #f0f6fc; } .note { fill: #9198a1; }
  }
"""


def text(x: float, y: float, said: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(said)}</text>\n'


def week_of(year: Year) -> str:
    """Files a second, hour by hour."""
    wide = WIDTH - LEFT - RIGHT
    floor = WEEK_TOP + WEEK_HEIGHT
    top = 100 * (1 + int(max(year.files_s) // 100))
    step = wide / len(year.files_s)
    drawn = text(LEFT, 24, "Files a second in a week of a billion files a year", "title")
    for number, day in enumerate(DAYS):
        x = LEFT + number * wide / len(DAYS)
        if number % 2 == 0:
            drawn += (
                f'<rect class="band" x="{x:.1f}" y="{WEEK_TOP - 8}" '
                f'width="{wide / len(DAYS):.1f}" height="{WEEK_HEIGHT + 8}"/>\n'
            )
        drawn += text(x + wide / len(DAYS) / 2, floor + 18, day, "note middle")
    for value in range(0, top + 1, 50):
        y = floor - WEEK_HEIGHT * value / top
        drawn += f'<path class="axis" d="M {LEFT} {y:.1f} H {WIDTH - RIGHT}"/>\n'
        drawn += text(LEFT - 8, y + 4, f"{value}", "note end")
    line = f"M {LEFT} {floor}"
    for hour, rate in enumerate(year.files_s):
        y = floor - WEEK_HEIGHT * rate / top
        line += f" L {LEFT + hour * step:.1f} {y:.1f} H {LEFT + (hour + 1) * step:.1f}"
    drawn += f'<path class="week" d="{line} V {floor} Z"/>\n'
    mean = sum(year.files_s) / len(year.files_s)
    y = floor - WEEK_HEIGHT * mean / top
    drawn += f'<path class="once" d="M {LEFT} {y:.1f} H {WIDTH - RIGHT}"/>\n'
    drawn += text(WIDTH - RIGHT - 4, y - 5, f"mean {mean:.0f}", "note end")
    return drawn


def place_of(headroom: float) -> float:
    """Where so many times the year is on the scale."""
    share = log10(min(max(headroom, LEAST), MOST) / LEAST) / log10(MOST / LEAST)
    return LEFT + NAMES + share * (WIDTH - LEFT - RIGHT - NAMES)


def bars_of(limits: tuple[Limit, ...]) -> str:
    """How many times the year each limit bears, in the order in which they are met."""
    bottom = BARS_TOP + ROW * len(limits)
    drawn = text(LEFT, BARS_TOP - 38, "What bears how many times that", "title")
    once = place_of(1)
    for power in range(-2, 4):
        x = place_of(10.0**power)
        kind = "once" if power == 0 else "axis"
        drawn += f'<path class="{kind}" d="M {x:.1f} {BARS_TOP - 8} V {bottom}"/>\n'
        drawn += text(x, BARS_TOP - 14, f"{10.0**power:g}x", "note middle")
    for number, limit in enumerate(limits):
        y = BARS_TOP + ROW * number
        ends = sorted((once, place_of(limit.headroom)))
        drawn += text(LEFT + NAMES - 12, y + 16, limit.name, "end")
        drawn += (
            f'<rect class="{"met" if limit.is_met else "bear"}" x="{ends[0]:.1f}" y="{y + 4}" '
            f'width="{ends[1] - ends[0]:.1f}" height="{ROW - 9}" rx="3"/>\n'
        )
        drawn += _beside(limit, y + 16, ends)
    return drawn


def _beside(limit: Limit, y: float, ends: list[float]) -> str:
    times = f"{limit.headroom:.2g}x" if limit.headroom < 10 else f"{limit.headroom:.0f}x"
    if not limit.is_met:
        return text(ends[1] + 6, y, times, "note")
    when = "at once" if limit.day is None else f"on day {limit.day:.0f}"
    return text(ends[1] + 6, y, f"met {when} ({times})", "note")


def picture() -> str:
    figures = year_figures()
    year = year_of(figures, MergePolicy())
    limits = limits_of(year, figures)
    height = BARS_TOP + ROW * len(limits) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        "<title>A billion files a year: what arrives, and which limits it meets first</title>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect class="page" width="{WIDTH}" height="{height}"/>\n'
        + week_of(year)
        + bars_of(limits)
        + "</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
