"""Who may do what: a row for each thing that roles are given on, a column for each who has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.check.expanding import Deployment
from infra.check.rules.order import ASSIGNMENT
from infra.check.rules.stores import ACCOUNT
from infra.check.scenarios import OPERATORS
from infra.check.values import Resource
from infra.picture.drawing import document, group, rectangle, text
from infra.picture.flows import role_of
from infra.picture.placing import MARGIN, WIDTH, Rect, text_width
from infra.picture.reading import kind_of, short

_SCOPE = 292
_HEAD, _LINE, _PAD = 74, 16, 9
_STYLES = {"containers": "store", "tables": "store", "queues": "queue", "storageAccounts": "store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """Things of one kind in one place that the same roles are given on.

    cells: names of roles by who has them. covers: addresses of the assignments.
    """

    place: str
    kind: str
    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    covers: tuple[str, ...]


def grants_of(deployment: Deployment) -> tuple[tuple[str, ...], tuple[Grants, ...]]:
    """Who has roles, and on what, in the order of the templates."""
    roles = deployment.of_type(ASSIGNMENT)
    by_id = deployment.by_id()
    principals = tuple(dict.fromkeys(str(one.at("properties.principalId")) for one in roles))
    scopes = dict.fromkeys(one.ref.scope for one in roles)
    rows: dict[tuple[str, str, tuple[tuple[str, ...], ...]], list[str]] = {}
    for scope in scopes:
        thing = by_id[scope]
        cells = tuple(
            tuple(
                role_of(one)
                for one in roles
                if (one.ref.scope, one.at("properties.principalId")) == (scope, principal)
            )
            for principal in principals
        )
        rows.setdefault((*_placed(thing), cells), []).append(scope)
    found = tuple(
        Grants(
            place=place,
            kind=kind,
            names=tuple(short(by_id[scope].ref.names[-1]) for scope in members),
            cells=cells,
            covers=tuple(one.ref.address for one in roles if one.ref.scope in members),
        )
        for (place, kind, cells), members in rows.items()
    )
    heads = tuple(_called(principal, by_id) for principal in principals)
    return heads, tuple(sorted(found, key=lambda row: _order(row, found)))


def _placed(thing: Resource) -> tuple[str, str]:
    """What it lies in, and its kind."""
    if thing.type.startswith(f"{ACCOUNT}/"):
        return short(thing.ref.names[0]), thing.type.rpartition("/")[2]
    inside = short(thing.ref.names[0]) if len(thing.ref.names) > 1 else ""
    return inside, kind_of(thing.type) if not inside else thing.type.rpartition("/")[2]


def _order(row: Grants, rows: Sequence[Grants]) -> tuple[int, int]:
    """Things of one place together, else as the templates have them."""
    return [other.place for other in rows].index(row.place), list(rows).index(row)


def _called(principal: str, by_id: dict[str, Resource]) -> str:
    if principal == OPERATORS:
        return "operators' group"
    thing = by_id.get(principal.partition("#")[0])
    return short(thing.ref.names[-1]).removesuffix("-…") if thing else principal


def matrix(deployment: Deployment, title: str, description: str) -> str:
    """The picture of all roles, as SVG."""
    heads, rows = grants_of(deployment)
    width = (WIDTH - 2 * MARGIN - _SCOPE) / len(heads)
    content = text(MARGIN, MARGIN + 16, title, "title")
    for number, head in enumerate(heads):
        content += text(_x(number, width) + 8, _HEAD - 10, head, "name", width - 12)
    y = float(_HEAD)
    for row in rows:
        drawn, height = _row(row, y, width)
        content += group(row.covers, drawn)
        y += height
    return document(WIDTH, round(y + MARGIN), title, description, content)


def _x(number: int, width: float) -> float:
    return MARGIN + _SCOPE + number * width


def _row(row: Grants, y: float, width: float) -> tuple[str, float]:
    where = f"{row.place}  {row.kind}" if row.place else row.kind
    lines = list(_wrapped(row.names, _SCOPE - 20))
    most = max(len(lines) + 1, *(len(cell) for cell in row.cells))
    height = 2 * _PAD + _LINE * most
    style = _STYLES.get(row.kind.rpartition("/")[2], "box")
    whole = Rect(x=MARGIN, y=y, width=WIDTH - 2 * MARGIN, height=height - 4)
    drawn = rectangle("band", whole, 6)
    drawn += rectangle(style, Rect(x=MARGIN, y=y, width=5, height=height - 4), 2)
    drawn += text(MARGIN + 14, y + _PAD + 9, where, "note")
    for number, names in enumerate(lines):
        drawn += text(MARGIN + 14, y + _PAD + 9 + _LINE * (number + 1), names, "fact")
    for number, cell in enumerate(row.cells):
        for line, role in enumerate(cell):
            size = min(text_width(role, 11) + 18, width - 8)
            chip = Rect(
                x=_x(number, width) + 2,
                y=y + (height - 4) / 2 - 10 * len(cell) + 20 * line,
                width=size,
                height=20,
            )
            drawn += rectangle(style, chip, 5)
            drawn += text(chip.x + size / 2, chip.y + 14, role, "middle", size - 8)
    return drawn, height


def _wrapped(names: Sequence[str], width: float) -> Iterator[str]:
    line = ""
    for number, name in enumerate(names):
        word = name if number == len(names) - 1 else f"{name},"
        if line and text_width(f"{line} {word}", 11) > width:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line
