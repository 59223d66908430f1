"""Writes a placed picture as SVG, for light and dark, readable without a renderer."""

from xml.sax.saxutils import escape, quoteattr

from infra.picture.placing import WIDTH, Placed, Rect, text_width
from infra.picture.routing import Path
from infra.picture.things import Band, Box, Chip, Flow

STYLE = """
  svg { color-scheme: light dark; }
  .page { fill: #ffffff; } .frame { fill: none; stroke: #8c959f; stroke-dasharray: 6 4; }
  .line { stroke: #8c959f; } .head { fill: #8c959f; } .event { stroke: #bf8700; }
  .tip { fill: #bf8700; }
  .box { fill: #f6f8fa; stroke: #8c959f; } .part { fill: #ffffff; stroke: #afb8c1; }
  .store { fill: #ddf4ff; stroke: #54aeff; } .queue { fill: #fff8c5; stroke: #d4a72c; }
  .user { fill: #dafbe1; stroke: #4ac26b; } .watch { fill: #fbefff; stroke: #c297ff; }
  .net { fill: #e6f7f5; stroke: #4cb8ac; } .open { fill: #ffebe9; stroke: #ff8182; }
  .account { fill: #f1faff; stroke: #54aeff; } .band { fill: none; stroke: #d0d7de; }
  text { fill: #1f2328; font: 11px system-ui, "DejaVu Sans", sans-serif; }
  .title { font-weight: 600; font-size: 15px; } .name { font-weight: 600; font-size: 13px; }
  .note { fill: #57606a; font-size: 10.5px; } .mark { font-size: 9.5px; text-anchor: middle; }
  .middle { text-anchor: middle; }
  .mono { fill: #57606a; font: 10px ui-monospace, "DejaVu Sans Mono", monospace; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .frame { stroke: #656c76; }
    .line { stroke: #7d8590; } .head { fill: #7d8590; } .event { stroke: #d29922; }
    .tip { fill: #d29922; }
    .box { fill: #161b22; stroke: #656c76; } .part { fill: #0d1117; stroke: #444c56; }
    .store { fill: #0c2d4d; stroke: #1f6feb; } .queue { fill: #3b2f0b; stroke: #9e6a03; }
    .user { fill: #0f2e1b; stroke: #2ea043; } .watch { fill: #271052; stroke: #8957e5; }
    .net { fill: #0b2b29; stroke: #2a8d83; } .open { fill: #490202; stroke: #da3633; }
    .account { fill: #0a1b2e; stroke: #1f6feb; } .band { stroke: #30363d; }
    text { fill: #f0f6fc; } .note, .mono { fill: #9198a1; }
  }
"""
_LEGEND = (
    ("event", "events, messages"),
    ("line", "read, written: as settings and roles say"),
    ("net", "not from the internet"),
    ("open", "internet, signed in"),
    ("watch", "sent to the workspace"),
)


def drawn(placed: Placed, description: str) -> str:
    """The picture as SVG."""
    picture, frame = placed.picture, placed.frame
    height = round(placed.height)
    return document(
        WIDTH,
        height,
        picture.title,
        description,
        group(
            picture.covers,
            rectangle("frame", frame, 10)
            + text(frame.x + 14, frame.y + 22, picture.title, "title"),
        )
        + "".join(_band(*one) for one in placed.bands)
        + "".join(_box(*one) for one in placed.boxes)
        + "".join(text(x, y, title, "note") for title, x, y in placed.titles)
        + "".join(_chip(*one) for one in placed.chips)
        + "".join(_path(*one) for one in placed.paths)
        + _legend(placed),
    )


def document(width: int, height: int, title: str, description: str, content: str) -> str:
    """An SVG in the style of these pictures."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse">'
        f'<path class="{name}" d="M 0 0 L 10 5 L 0 10 z"/></marker>'
        for name in ("head", "tip")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="t d">\n'
        f'<title id="t">{escape(title)}</title>\n<desc id="d">{escape(description)}</desc>\n'
        f"<style>{STYLE}</style>\n<defs>{heads}</defs>\n"
        f'<rect class="page" width="{width}" height="{height}"/>\n{content}</svg>\n'
    )


def text(x: float, y: float, words: str, style: str, most: float | None = None) -> str:
    """A line of text that begins, or has its middle, at x; pressed into `most` where it must."""
    pressed = ""
    if most is not None and text_width(words, 11) > most:
        pressed = f' textLength="{_n(most)}" lengthAdjust="spacingAndGlyphs"'
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}"{pressed}>{escape(words)}</text>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def rectangle(style: str, rect: Rect, radius: float) -> str:
    return (
        f'<rect class="{style}" x="{_n(rect.x)}" y="{_n(rect.y)}" width="{_n(rect.width)}" '
        f'height="{_n(rect.height)}" rx="{_n(radius)}"/>'
    )


def group(covers: tuple[str, ...], content: str) -> str:
    """What is drawn of resources says of which: the test reads it."""
    return f"<g data-of={quoteattr(' '.join(covers))}>{content}</g>\n" if covers else f"{content}\n"


def _box(box: Box, rect: Rect) -> str:
    style = "account" if box.style == "store" else box.style
    content = rectangle(style, rect, 8)
    content += text(rect.x + 10, rect.y + 19, box.name, "name")
    content += text(rect.x + 10, rect.y + 34, box.type, "note", rect.width - 20)
    content += "".join(
        text(rect.x + 10, rect.y + 51 + 15 * number, fact, "fact", rect.width - 20)
        for number, fact in enumerate(box.facts)
    )
    right = rect.right - 8
    for kind, words in reversed(box.marks):
        width = text_width(words, 9.5) + 10
        mark = Rect(x=right - width, y=rect.y + 8, width=width, height=15)
        content += rectangle(kind, mark, 7.5) + text(mark.x + width / 2, mark.y + 11, words, "mark")
        right = mark.x - 4
    return group(box.covers, content)


def _chip(chip: Chip, rect: Rect) -> str:
    radius = 10 if chip.style == "queue" else 5
    label = text(rect.x + rect.width / 2, rect.y + 14, chip.label, "middle", rect.width - 8)
    return group(chip.covers, rectangle(chip.style, rect, radius) + label)


def _band(band: Band, rect: Rect) -> str:
    return rectangle("band", rect, 8) + text(rect.x + 10, rect.y + 19, band.title, "name") + "\n"


def _path(flow: Flow, path: Path) -> str:
    line, head = ("event", "tip") if flow.is_event else ("line", "head")
    points = " L ".join(f"{_n(x)} {_n(y)}" for x, y in path.points)
    start = f' marker-start="url(#{head})"' if flow.is_mutual else ""
    width = "1.8" if flow.is_event else "1.2"
    label = text(*path.label_at, flow.label, "mono") if path.label_at else ""
    return (
        f'<path class="{line}" d="M {points}" fill="none" stroke-width="{width}" '
        f'stroke-linejoin="round"{start} marker-end="url(#{head})"/>{label}\n'
    )


def _legend(placed: Placed) -> str:
    """What lines and marks mean: those that there are."""
    x, y = placed.frame.x + 4, placed.height - 13
    content = ""
    marks = {kind for box in placed.picture.boxes for kind, _ in box.marks}
    for kind, words in _LEGEND:
        if kind not in {"event", "line", *marks}:
            continue
        if kind in {"event", "line"}:
            head = "tip" if kind == "event" else "head"
            content += (
                f'<path class="{kind}" d="M {_n(x)} {_n(y - 4)} h 22" stroke-width="1.6" '
                f'marker-end="url(#{head})"/>'
            )
        else:
            content += rectangle(kind, Rect(x=x + 4, y=y - 11, width=18, height=13), 6)
        content += text(x + 28, y, words, "note")
        x += 28 + text_width(words, 10.5) + 9
    return content + text(x, y, "… makes a name unique", "note") + "\n"
