"""Values of parameters against what a file declares of them."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from tree_sitter import Node

from infra.check.problems import Problem
from infra.check.reading import Declaration, Template, plain_string, text_of

_PRIMITIVES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "object": dict,
    "array": list,
}

_LIMITS: Mapping[str, Callable[[int, int], bool]] = {
    "minLength": operator.ge,
    "minValue": operator.ge,
    "maxLength": operator.le,
    "maxValue": operator.le,
}


def parameter_values(template: Template, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the parameters that the file has."""
    return {one.name: values[one.name] for one in template.of_kind("param") if one.name in values}


def parameter_problems(
    template: Template, values: Mapping[str, Any], address: str
) -> list[Problem]:
    """What is wrong with the values that a file is given at `address`."""
    known = {one.name: one for one in template.of_kind("param")}
    texts = [f"has no parameter {name}" for name in sorted(set(values) - set(known))]
    for one in known.values():
        if one.name in values:
            texts += [f"parameter {one.name}: {text}" for text in _wrong(template, one, values)]
        elif one.value is None:
            texts.append(f"parameter {one.name} is not given")
    return [
        Problem(rule="parameters", where=template.path, text=f"{text} ({address})")
        for text in texts
    ]


def _wrong(template: Template, one: Declaration, values: Mapping[str, Any]) -> list[str]:
    value = values[one.name]
    assert one.type_node is not None
    texts = _misfits(template, one.type_node, value)
    if texts:
        return texts
    size = len(value) if isinstance(value, (str, list)) else value
    for name, limit in one.decorators.items():
        if name in _LIMITS and limit is not None and not _LIMITS[name](size, int(text_of(limit))):
            texts.append(f"{name} {text_of(limit)} is not kept")
    allowed = one.decorators.get("allowed")
    if allowed is not None and value not in [_literal(node) for node in allowed.named_children]:
        texts.append("is none of the allowed values")
    return texts


def _literal(node: Node) -> str | int:
    return int(text_of(node)) if node.type == "number" else plain_string(node)


def _misfits(template: Template, node: Node, value: Any) -> list[str]:
    """How a value differs from a type as it is written."""
    inner = node.named_children
    match node.type:
        case "type" if inner:
            return _misfits(template, inner[0], value)
        case "array_type":
            items = value if isinstance(value, list) else []
            texts = [text for item in items for text in _misfits(template, inner[0], item)]
            return texts if isinstance(value, list) else ["is no array"]
        case "object":
            return _misfits_of_object(template, node, value)
        case "identifier" if text_of(node) in template.declared:
            declared = template.declared[text_of(node)].value
            assert declared is not None
            return _misfits(template, declared, value)
        case _:
            return _misfits_of_primitive(text_of(node), value)


def _misfits_of_primitive(name: str, value: Any) -> list[str]:
    if name not in _PRIMITIVES:
        return [f"type {name} is not known to this check"]
    fits = isinstance(value, _PRIMITIVES[name]) and not (name == "int" and isinstance(value, bool))
    return [] if fits else [f"is no {name}"]


def _misfits_of_object(template: Template, node: Node, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return ["is no object"]
    parts = {}
    for child in node.named_children:
        if child.type == "object_property":
            key, kind = [c for c in child.named_children if c.type not in {"comment", "decorators"}]
            parts[text_of(key)] = kind
    texts = [f"has no {name}" for name in sorted(set(parts) - set(value))]
    texts += [f"has {name}, which is not known" for name in sorted(set(value) - set(parts))]
    for name in set(parts) & set(value):
        texts += [f"{name} {text}" for text in _misfits(template, parts[name], value[name])]
    return texts
