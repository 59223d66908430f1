"""Rule files: the shipped ones, extended or overridden by a user's."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from indexer_core.errors import InvalidInputError
from indexer_core.rules.conditions import validate, validate_pattern
from indexer_core.rules.model import CONTRASTS, PLANES, REGIONS
from indexer_core.rules.ruleset import Rules

SECTIONS = (
    "sources",
    "modality",
    "body_parts",
    "sequences",
    "contrast",
    "plane",
    "devices",
    "pixels",
)
_TABLES = (*SECTIONS, "codes")
# The C parser is about eight times faster, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_APPEND = "+"


def load_rules(extra: Sequence[Path] = ()) -> Rules:
    """Shipped rules with the user's files laid over them, in order.

    A user's file maps section names (`SECTIONS`) to what it changes there. Mappings are merged key
    by key, anything else is replaced; a key ending in ``+`` appends to the list of that name; a
    value of null removes the entry.

    Raises
    ------
    InvalidInputError
        One line naming the file, the rule and what is wrong with it.
    """
    tables = {name: _shipped(name) for name in _TABLES}
    for path in extra:
        changes = _read_user_file(path)
        for section, change in changes.items():
            tables[section] = _laid_over(tables[section], change, f"{path.name}: {section}")
        _validate(tables, path.name)
    return Rules(tables=tables, digest=_digest(tables))


def _shipped(name: str) -> dict[str, Any]:
    source = resources.files("indexer_core") / "data" / "rules" / f"{name}.yaml"
    loaded: dict[str, Any] = yaml.load(source.read_bytes(), Loader=_LOADER)  # noqa: S506 - a safe loader in C
    return loaded


def _read_user_file(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506 - a safe loader in C
    except OSError as exc:
        raise InvalidInputError(f"{path.name}: cannot be read") from exc
    except yaml.YAMLError as exc:
        raise InvalidInputError(f"{path.name}: not YAML{_place(exc)}") from exc
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or set(loaded) - set(SECTIONS):
        raise InvalidInputError(
            f"{path.name}: the top level must hold some of {', '.join(SECTIONS)}"
        )
    return loaded


def _place(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    return f" (line {mark.line + 1})" if mark is not None else ""


def _laid_over(base: Any, change: Any, where: str) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    merged = dict(base)
    for key, value in change.items():
        if isinstance(key, str) and key.endswith(_APPEND):
            merged[key[:-1]] = _appended(merged.get(key[:-1], []), value, f"{where}.{key}")
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _laid_over(merged.get(key), value, f"{where}.{key}")
    return merged


def _appended(base: Any, more: Any, where: str) -> list[Any]:
    if not isinstance(base, list) or not isinstance(more, list):
        raise InvalidInputError(f"{where}: only a list can be appended to a list")
    return [*base, *more]


def _digest(tables: Mapping[str, Any]) -> str:
    text = json.dumps(tables, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _validate(tables: Mapping[str, Any], file: str) -> None:
    """Raise InvalidInputError on the first rule that classification could not use."""
    _validate_body_parts(tables, file)
    _validate_sequences(tables["sequences"], file)
    _validate_modality(tables["modality"], file)
    _validate_contrast(tables["contrast"], file)
    _validate_plane(tables["plane"], file)
    _validate_sources(tables, file)
    _validate_pixels(tables["pixels"], file)
    for name, pattern in tables["devices"]["manufacturers"].items():
        validate_pattern(pattern, f"{file}: manufacturer {name}")


def _check(correct: bool, message: str) -> None:
    if not correct:
        raise InvalidInputError(message)


def _phrases(entry: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        listed = entry.get(name, [])
        _check(
            isinstance(listed, list) and all(isinstance(item, str) for item in listed),
            f"{where}: {name} must be a list of texts (quote no, on, 12)",
        )


def _validate_body_parts(tables: Mapping[str, Any], file: str) -> None:
    table, codes = tables["body_parts"], tables["codes"]
    parts = table["parts"]
    for name, part in parts.items():
        where = f"{file}: part {name}"
        _check(isinstance(part, Mapping) and bool(part.get("term")), f"{where}: needs a term")
        _check(part.get("region") in REGIONS, f"{where}: region must be one of {list(REGIONS)}")
        _check(part.get("within", name) in parts, f"{where}: within names no part")
        _check(_ends(name, parts), f"{where}: lies within itself")
        concept = part.get("concept")
        known = concept is None or concept in codes["cid4031"] or concept in codes["other"]
        _check(known, f"{where}: concept {concept} is not in codes.yaml")
        _phrases(part, ("words", "weak", "synonyms"), where)
        for condition in part.get("when", []):
            _check(isinstance(condition, Mapping), f"{where}: when must list mappings")
            _phrases(condition, ("modality", "words"), where)
    for combination in table["combinations"]:
        named = [combination.get("id"), *combination.get("of", [])]
        _check(all(name in parts for name in named), f"{file}: combination of unknown parts")
    for term, name in table["examined"].items():
        _check(name in parts, f"{file}: examined {term} names no part")
    _phrases(table, ("ignore", "phantom", "glued_prefixes"), f"{file}: body_parts")


def _ends(name: str, parts: Mapping[str, Any]) -> bool:
    """Whether the chain of wider parts comes to an end."""
    seen: set[str] = set()
    current: str | None = name
    while current is not None:
        if current in seen:
            return False
        seen.add(current)
        current = parts.get(current, {}).get("within")
    return True


def _validate_sequences(table: Mapping[str, Any], file: str) -> None:
    labels = table["labels"]
    for label, entry in labels.items():
        where = f"{file}: sequence {label}"
        _check(isinstance(entry, Mapping), f"{where}: must be a mapping")
        _check(bool(entry.get("expansion")), f"{where}: needs an expansion")
        _check(isinstance(entry.get("group"), str), f"{where}: needs a group")
        _phrases(entry, ("words", "patterns", "modality", "implies", "excludes"), where)
        implied = entry.get("implies", [])
        _check(all(name in labels for name in implied), f"{where}: implies an unknown label")
        for pattern in entry.get("patterns", []):
            validate_pattern(pattern, where)
    for name, rule in table["physics"].items():
        where = f"{file}: physics {name}"
        _validate_rule(rule, where)
        _check(rule.get("value") in labels, f"{where}: value is no sequence label")


def _validate_rule(rule: Any, where: str) -> None:
    _check(isinstance(rule, Mapping), f"{where}: must be a mapping")
    confidence = rule.get("confidence")
    valid = isinstance(confidence, int | float) and 0 <= confidence <= 1
    _check(valid, f"{where}: confidence must be a number from 0 to 1")
    _phrases(rule, ("modality", "sop"), where)
    validate(rule.get("when", {}), where)


def _validate_modality(table: Mapping[str, Any], file: str) -> None:
    for name, rule in table["rules"].items():
        _validate_rule(rule, f"{file}: modality rule {name}")
        _check(isinstance(rule.get("value"), str), f"{file}: modality rule {name}: needs a value")
    for section in ("words", "narrower"):
        for name in table[section]:
            _phrases(table[section], (name,), f"{file}: modality {section}")


def _validate_contrast(table: Mapping[str, Any], file: str) -> None:
    for name, rule in table["texts"].items():
        where = f"{file}: contrast {name}"
        _validate_rule(rule, where)
        _check(
            rule.get("value") in (*CONTRASTS, "both"),
            f"{where}: value must be quoted yes, no or both",
        )
        _phrases(rule, ("patterns", "hides"), where)
        for pattern in rule.get("patterns", []):
            validate_pattern(pattern, where)
    for name, rule in table["facts"].items():
        _validate_rule(rule, f"{file}: contrast {name}")
        _check(
            rule.get("value") in CONTRASTS,
            f"{file}: contrast {name}: value must be quoted yes or no",
        )


def _validate_plane(table: Mapping[str, Any], file: str) -> None:
    for name in table["words"]:
        _check(name in PLANES, f"{file}: plane {name} must be one of {list(PLANES)}")
        _phrases(table["words"], (name,), f"{file}: plane words")


def _validate_pixels(table: Mapping[str, Any], file: str) -> None:
    sure = table.get("sure")
    _check(
        isinstance(sure, int | float) and 0 <= sure <= 1,
        f"{file}: pixels: sure must be a number from 0 to 1",
    )
    known = {"bodyRegion": (*REGIONS, "*"), "plane": (*PLANES, "*")}
    for field, pairs in table.get("alike", {}).items():
        where = f"{file}: pixels alike {field}"
        _check(
            field in known and isinstance(pairs, list),
            f"{where}: lists pairs of bodyRegion or plane",
        )
        for pair in pairs:
            valid = isinstance(pair, list) and len(pair) == 2 and set(pair) <= set(known[field])
            _check(valid, f"{where}: {pair} must be two of {list(known[field])}")


def _validate_sources(tables: Mapping[str, Any], file: str) -> None:
    table = tables["sources"]
    for keyword, weights in table["texts"].items():
        where = f"{file}: source {keyword}"
        _check(isinstance(weights, Mapping), f"{where}: must be a mapping")
        _check(weights.get("level") in ("series", "study"), f"{where}: level is series or study")
        numbers = [value for key, value in weights.items() if key != "level"]
        valid = all(isinstance(value, int | float) and 0 <= value <= 1 for value in numbers)
        _check(valid, f"{where}: weights are numbers from 0 to 1")
    for name, hint in table["hints"].items():
        _validate_rule(hint, f"{file}: hint {name}")
        _check(
            hint.get("part") in tables["body_parts"]["parts"], f"{file}: hint {name}: no such part"
        )
        _phrases(hint, ("labels", "without"), f"{file}: hint {name}")
        named = {*hint.get("labels", ()), *hint.get("without", ())}
        known = named <= set(tables["sequences"]["labels"])
        _check(known, f"{file}: hint {name}: labels must be sequence labels")
