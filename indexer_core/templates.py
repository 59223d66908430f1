"""Five short texts per series, for sentence encoders: what may be said, and how.

Texts are built from an allow-list of fields (`FIELDS`), none of which can carry a name, a date or
an identifier; ages appear as bands.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from indexer_core.errors import InvalidInputError
from indexer_core.facts import SeriesFacts
from indexer_core.phrases import (
    age_band,
    clean_descriptions,
    field_strength_t,
    person,
    thickness_mm,
)
from indexer_core.rules.conditions import FactsView
from indexer_core.rules.loader import load_rules
from indexer_core.rules.model import UNKNOWN, Classification
from indexer_core.rules.ruleset import Rules

N_TEXTS = 5
_MAX_CHARACTERS = 600
_FIELD_NAME = re.compile(r"\{([^{}]*)\}")
_SYNTAX_VERSION = 1
_Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text with fields, or alternatives of which the first complete one is used."""

    text: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One parsed template."""

    name: str
    purpose: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """The five templates in force, and the words for modalities and sequences.

    `digest` changes with any text.
    """

    version: int
    templates: tuple[Template, ...]
    digest: str
    modality_names: Mapping[str, Any] = field(default_factory=dict)
    expansions: Mapping[str, str] = field(default_factory=dict)


def template_names() -> tuple[str, ...]:
    """Names of the five templates in their order, which no file of a user changes.

    Searching needs them, and nothing else of rules and templates.
    """
    return tuple(_shipped()["templates"])


def load_templates(extra: Sequence[Path] = (), rules: Rules | None = None) -> Templates:
    """Shipped templates; those of the user's files replace the ones of the same name.

    Names of modalities and expansions of sequences are those of `rules`, or of the shipped ones.

    Raises
    ------
    InvalidInputError
        One line naming the file, the template and what is wrong with it.
    """
    table = _shipped()
    version = int(table["version"])
    texts = dict(table["templates"])
    for path in extra:
        changes = _user_table(path, texts)
        version = int(changes.get("version", version))
        for name, entry in changes["templates"].items():
            texts[name] = {**texts[name], **entry}
    parsed = tuple(
        Template(name=name, purpose=entry["purpose"], pieces=_parse(entry["text"], name))
        for name, entry in texts.items()
    )
    tables = (rules or load_rules()).tables
    names = tables["modality"]["names"]
    expansions = {k: v["expansion"] for k, v in tables["sequences"]["labels"].items()}
    content = json.dumps([_SYNTAX_VERSION, version, texts, names, expansions], sort_keys=True)
    return Templates(
        version=version,
        templates=parsed,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        modality_names=names,
        expansions=expansions,
    )


def _shipped() -> dict[str, Any]:
    source = resources.files("indexer_core") / "data" / "templates.yaml"
    table = _read(source.read_bytes(), "templates.yaml")
    _check_order(table, "templates.yaml")
    return table


def _read(data: bytes, name: str) -> dict[str, Any]:
    try:
        table = yaml.safe_load(data)
    except yaml.YAMLError as exc:
        raise InvalidInputError(f"{name}: not YAML") from exc
    if not isinstance(table, dict) or not isinstance(table.get("templates"), dict):
        raise InvalidInputError(f"{name}: the top level must hold 'templates'")
    return table


def _user_table(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    try:
        table = _read(path.read_bytes(), path.name)
    except OSError as exc:
        raise InvalidInputError(f"{path.name}: cannot be read") from exc
    if not isinstance(table.get("version", 1), int):
        raise InvalidInputError(f"{path.name}: version must be a whole number")
    for name, entry in table["templates"].items():
        if name not in known:
            raise InvalidInputError(f"{path.name}: {name} is none of {', '.join(known)}")
        if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
            raise InvalidInputError(f"{path.name}: template {name} must hold 'text' in quotes")
        try:
            _parse(entry.get("text", ""), name)
        except InvalidInputError as exc:
            raise InvalidInputError(f"{path.name}: {exc}") from exc
    return table


def _check_order(table: Mapping[str, Any], name: str) -> None:
    if len(table["templates"]) != N_TEXTS:
        raise InvalidInputError(f"{name}: there must be {N_TEXTS} templates")


def _parse(text: str, name: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    rest = text
    while rest:
        plain, bracket, rest = rest.partition("[")
        if "]" in plain:
            raise InvalidInputError(f"template {name}: ']' without '['")
        if plain:
            pieces.append(Piece(text=plain))
        if not bracket:
            break
        inside, closed, rest = rest.partition("]")
        if not closed or "[" in inside:
            raise InvalidInputError(f"template {name}: brackets do not pair, or are nested")
        pieces.append(Piece(alternatives=tuple(inside.split("|"))))
    without_fields = _FIELD_NAME.sub("", text)
    if "{" in without_fields or "}" in without_fields:
        raise InvalidInputError(f"template {name}: braces do not pair")
    for field_name in _FIELD_NAME.findall(text):
        if field_name not in FIELDS:
            raise InvalidInputError(f"template {name}: unknown field {{{field_name}}}")
    return tuple(pieces)


def render_templates(
    facts: SeriesFacts, classification: Classification, templates: Templates
) -> tuple[str, str, str, str, str]:
    """The five texts of a series, none of them empty.

    Deterministic: the same facts, classification and templates give the same texts.
    """
    subject = _Subject(FactsView(facts), classification, templates)
    values = {name: value_of(subject) for name, value_of in FIELDS.items()}
    one, two, three, four, five = (_render(each, values) for each in templates.templates)
    return one, two, three, four, five


def _render(template: Template, values: _Values) -> str:
    text = "".join(_fill(piece, values) for piece in template.pieces)
    tidy = " ".join(text.split()).replace(" ,", ",").replace(" .", ".").replace("..", ".")
    tidy = tidy.lstrip(",. ")[:_MAX_CHARACTERS]
    return tidy[:1].upper() + tidy[1:] if tidy else f"Image series, {template.name}."


def _fill(piece: Piece, values: _Values) -> str:
    for alternative in piece.alternatives:
        if all(values[name] for name in _FIELD_NAME.findall(alternative)):
            return alternative.format_map(values)
    return piece.text.format_map(values)


@dataclass(frozen=True, slots=True)
class _Subject:
    view: FactsView
    said: Classification
    templates: Templates


def _known(value: str) -> str:
    return "" if value == UNKNOWN else value


def _modality_name(subject: _Subject, key: str) -> Any:
    entry = subject.templates.modality_names.get(subject.said.modality, {})
    return entry.get(key, "")


def _modality_short(subject: _Subject) -> str:
    return str(_modality_name(subject, "short")) or _modality_long(subject)


def _modality_long(subject: _Subject) -> str:
    return str(_modality_name(subject, "long")) or "medical imaging"


def _modality_words(subject: _Subject) -> str:
    also = list(_modality_name(subject, "also") or ())
    return f"{_modality_long(subject)}, {also[0]}," if also else _modality_long(subject)


def _modality_expanded(subject: _Subject) -> str:
    also = list(_modality_name(subject, "also") or ())
    return ", ".join(
        [subject.said.modality.replace(UNKNOWN, "series"), _modality_long(subject), *also]
    )


def _anatomy(subject: _Subject) -> str:
    part = subject.said.body_part
    if part is not None:
        return part.term
    return "" if subject.said.body_region in (UNKNOWN, "other") else subject.said.body_region


def _region(subject: _Subject) -> str:
    region = subject.said.body_region
    return "" if region in (UNKNOWN, "other") or region == _anatomy(subject) else region


def _meaning(subject: _Subject) -> str:
    part = subject.said.body_part
    if part is None or part.meaning.lower() == part.term.lower():
        return ""
    return part.meaning.lower()


def _expansions(subject: _Subject) -> str:
    words = subject.templates.expansions
    said = (part for label in subject.said.sequence for part in (label, words.get(label, "")))
    parts = (item.strip() for part in said for item in part.split(","))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def _contrast(subject: _Subject) -> str:
    return {"yes": "with contrast", "no": "without contrast"}.get(subject.said.contrast, "")


def _contrast_words(subject: _Subject) -> str:
    words = {
        "yes": "with contrast agent, contrast enhanced",
        "no": "without contrast agent, non-contrast, unenhanced, native",
    }
    return words.get(subject.said.contrast, "")


def _laterality(subject: _Subject) -> str:
    written = subject.view.text("ImageLaterality") or subject.view.text("Laterality")
    return {"L": "left", "R": "right", "B": "left and right"}.get(written.upper(), "")


def _view(subject: _Subject) -> str:
    views = {text.upper() for text, _ in subject.view.texts("ViewPosition")}
    return " and ".join(sorted(v for v in views if re.fullmatch(r"[A-Z]{1,5}", v)))


def _kind(subject: _Subject) -> str:
    plane = subject.said.plane
    if plane == "projection":
        return "projection image"
    return f"{plane} images" if plane in ("axial", "coronal", "sagittal", "oblique") else ""


def _thickness(subject: _Subject) -> str:
    millimetres = thickness_mm(subject.view)
    return f"{millimetres:g} mm" if millimetres else ""


def _strength(subject: _Subject) -> str:
    tesla = field_strength_t(subject.view)
    return f"{tesla:g} tesla" if tesla else ""


FIELDS: Mapping[str, Callable[[_Subject], str]] = {
    "modality_code": lambda s: _known(s.said.modality),
    "modality_short": _modality_short,
    "modality_long": _modality_long,
    "modality_words": _modality_words,
    "modality_expanded": _modality_expanded,
    "anatomy": _anatomy,
    "anatomy_synonyms": lambda s: ", ".join(s.said.synonyms),
    "region": _region,
    "body_part_meaning": _meaning,
    "laterality": _laterality,
    "plane": lambda s: "" if s.said.plane == "mixed" else _known(s.said.plane),
    "kind": _kind,
    "view": _view,
    "sequences": lambda s: ", ".join(s.said.sequence),
    "sequence_expansions": _expansions,
    "contrast": _contrast,
    "contrast_words": _contrast_words,
    "thickness": _thickness,
    "field_strength": _strength,
    "manufacturer": lambda s: s.said.manufacturer,
    "person": lambda s: person(s.view),
    "age_band": lambda s: age_band(s.view),
    "descriptions": lambda s: ", ".join(clean_descriptions(s.view)),
}
