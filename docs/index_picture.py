"""Draws docs/images/index.svg: four manifests and the segments that they name."""

from html import escape
from pathlib import Path

from docs.architecture_picture import STYLE

TARGET = Path(__file__).parent / "images" / "index.svg"
WIDTH, HEIGHT = 960, 430
COLUMN, LEFT = 236, 18
BOX_WIDTH = 200
# title, what happened, names of the segments that are live
MANIFESTS = (
    ("manifest 41", "as it was", ("A", "b")),
    ("manifest 42", "a batch of series arrives", ("A", "b", "c")),
    ("manifest 43", "b and c are merged", ("A", "d")),
    ("manifest 44", "the collector's fence", ("A", "d")),
)
# name: rows, height, note
SEGMENTS = {
    "A": (("100,000 rows",), 84, "lists for approximate search"),
    "b": (("40 rows",), 44, ""),
    "c": (("30 rows: new, changed", "(one is in b), 10 tombstones"), 44, ""),
    "d": (("69 rows: the outranked", "one of b is left out"), 44, ""),
}
FILES = (
    ("store", "rows.parquet", "attributes, record, facts"),
    ("store", "text vectors", "fp16, each distinct one once"),
    ("store", "image vectors", "fp16"),
    ("store", "coordinates", "one file per map"),
)


def x_of(column: int) -> int:
    return LEFT + COLUMN * column


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(words)}</text>'


def _manifest(column: int, title: str, what: str, live: tuple[str, ...]) -> str:
    x, middle = x_of(column), x_of(column) + BOX_WIDTH / 2
    drawn = (
        text(middle, 24, what, "note")
        + f'<rect class="queue" x="{x}" y="36" width="{BOX_WIDTH}" height="44" rx="6"/>'
        + text(middle, 56, title, "name")
        + text(middle, 72, "names " + ", ".join(live), "small")
    )
    y = 104
    for name in live:
        lines, height, note = SEGMENTS[name]
        rows = [f"{name}: {lines[0]}", *lines[1:], *([note] if note else [])]
        drawn += (
            f'<path class="line" d="M {middle} {y - 24 if y == 104 else y - 12} V {y}" '
            'stroke-width="1.5"/>'
            f'<rect class="store" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{height}" rx="6"/>'
        )
        top = y + height / 2 - (len(rows) - 1) * 8 + 4
        drawn += "".join(
            text(middle, top + 16 * row, words, "small") for row, words in enumerate(rows)
        )
        y += height + 12
    return drawn + "\n"


def _arrow(column: int) -> str:
    start, end = x_of(column) + BOX_WIDTH, x_of(column + 1)
    return (
        f'<path class="line" d="M {start} 58 H {end}" stroke-width="1.5" '
        'marker-end="url(#head)"/>\n'
    )


def _files() -> str:
    drawn = text(LEFT, 336, "Every segment is four kinds of files, written before a manifest", "note left")
    for place, (kind, name, what) in enumerate(FILES):
        x = x_of(place)
        drawn += (
            f'<rect class="{kind}" x="{x}" y="350" width="{BOX_WIDTH}" height="56" rx="6"/>'
            + text(x + BOX_WIDTH / 2, 373, name, "name")
            + text(x + BOX_WIDTH / 2, 393, what, "small")
        )
    return drawn + "\n"


def picture() -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        "<title>Manifests name segments: a batch arrives, two segments are merged, garbage is "
        "collected</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>\n'
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>\n'
        + "".join(_manifest(column, *manifest) for column, manifest in enumerate(MANIFESTS))
        + "".join(_arrow(column) for column in range(len(MANIFESTS) - 1))
        + _gone()
        + _files()
        + "</svg>\n"
    )


def _gone() -> str:
    """What the collector does once the fence is committed."""
    x, middle = x_of(3), x_of(3) + BOX_WIDTH / 2
    return (
        f'<rect class="box" x="{x}" y="256" width="{BOX_WIDTH}" height="52" rx="6" '
        'stroke-dasharray="4 3"/>'
        + text(middle, 278, "b and c are deleted once no", "small")
        + text(middle, 294, "kept manifest names them", "small")
        + "\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
