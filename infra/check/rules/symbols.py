"""Names: declared, described and used; and syntax."""

from collections.abc import Iterator, Mapping

from tree_sitter import Node

from infra.check.problems import Problem
from infra.check.reading import (
    Template,
    beside,
    descendants,
    plain_string,
    read_parameters,
    read_template,
    text_of,
)

_MAIN = "main.bicep"


def symbol_problems(files: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with each file by itself."""
    templates = {
        path: read_template(path, source)
        for path, source in files.items()
        if path.endswith(".bicep")
    }
    for path, source in files.items():
        if path.endswith(".bicepparam"):
            target, template = read_parameters(path, source)
            yield from template.problems
            if target not in files:
                yield Problem(rule="symbols", where=path, text="says no template that it is for")
    for template in templates.values():
        yield from template.problems
        yield from _problems(template)
    yield from _never_used(templates)
    yield from _versions(templates)


def _problems(template: Template) -> Iterator[Problem]:
    used = set(_used(template.root))
    local = set(_local(template.root))
    for one in template.declared.values():
        where = f"{template.path}:{one.line}"
        if one.kind == "param":
            told = one.decorators.get("description")
            if told is None or not plain_string(told).strip():
                yield Problem(rule="symbols", where=where, text=f"{one.name} is not described")
        if one.kind in {"param", "var", "type"} and one.name not in used:
            yield Problem(rule="symbols", where=where, text=f"{one.name} is used nowhere")
        if one.kind == "resource" and one.is_existing and one.name not in used:
            yield Problem(rule="symbols", where=where, text=f"{one.name} is used nowhere")
        if one.name in local:
            text = f"{one.name} is the name of a loop's variable, too"
            yield Problem(rule="symbols", where=where, text=text)
    yield from _twice(template)
    for missing in sorted(used - set(template.declared) - local):
        yield Problem(rule="symbols", where=template.path, text=f"{missing} is not declared")


def _twice(template: Template) -> Iterator[Problem]:
    for node in descendants(template.root):
        if node.type == "object":
            keys = [text_of(c.named_children[0]) for c in node.named_children if _is_property(c)]
            for key in sorted({key for key in keys if keys.count(key) > 1}):
                where = f"{template.path}:{node.start_point[0] + 1}"
                yield Problem(rule="symbols", where=where, text=f"{key} is given twice")


def _is_property(node: Node) -> bool:
    return node.type == "object_property"


def _used(root: Node) -> Iterator[str]:
    """Identifiers that stand for a value or a type."""
    for node in descendants(root):
        if node.type != "identifier" or node.parent is None:
            continue
        parent = node.parent
        first = parent.named_children[0] == node
        match parent.type:
            case kind if kind.endswith("_declaration"):
                continue
            case "object_property" if first:
                continue
            case "call_expression" if parent.child_by_field_name("function") == node:
                continue
            case "for_statement" if first:
                continue
        yield text_of(node)


def _local(root: Node) -> Iterator[str]:
    for node in descendants(root):
        if node.type in {"loop_variable", "loop_enumerator"}:
            yield text_of(node)
        elif node.type == "for_statement" and node.named_children[0].type == "identifier":
            yield text_of(node.named_children[0])


def _never_used(templates: Mapping[str, Template]) -> Iterator[Problem]:
    """Modules that nobody deploys, and outputs of modules that nobody reads."""
    reads: dict[str, set[str]] = {path: set() for path in templates}
    opened = {_MAIN}
    for template in templates.values():
        modules = {
            one.name: beside(template.path, one.target) for one in template.of_kind("module")
        }
        opened |= set(modules.values())
        for node in descendants(template.root):
            if node.type != "member_expression":
                continue
            of, name = (c for c in node.named_children if c.type != "comment")
            if of.type != "member_expression" or text_of(of.named_children[1]) != "outputs":
                continue
            path = modules.get(text_of(of.named_children[0]))
            if path in reads:
                reads[path].add(text_of(name))
    for path, template in templates.items():
        if path not in opened:
            yield Problem(rule="symbols", where=path, text="is a module of nobody")
        if path == _MAIN:
            continue
        for output in sorted(set(template.outputs) - reads[path]):
            yield Problem(rule="symbols", where=path, text=f"output {output} is read by nobody")


def _versions(templates: Mapping[str, Template]) -> Iterator[Problem]:
    """One API version for one type."""
    seen: dict[str, str] = {}
    for template in templates.values():
        for one in template.of_kind("resource"):
            name, _, version = one.target.partition("@")
            if seen.setdefault(name, version) != version:
                text = f"{name} is {seen[name]} elsewhere, and {version} here"
                yield Problem(rule="symbols", where=f"{template.path}:{one.line}", text=text)
