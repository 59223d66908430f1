"""Templates as they are written: syntax, and what each file declares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from infra.check.problems import Problem

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "type_declaration": "type",
}
_OTHER = frozenset({"decorators", "target_scope_assignment", "comment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A named statement; `type_node` is that of parameters and outputs, `value` may be absent."""

    kind: str
    name: str
    line: int
    value: Node | None
    type_node: Node | None = None
    target: str = ""
    is_existing: bool = False
    decorators: Mapping[str, Node | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One file."""

    path: str
    root: Node
    scope: str
    declared: Mapping[str, Declaration]
    outputs: Mapping[str, Declaration]
    problems: tuple[Problem, ...]

    def of_kind(self, kind: str) -> list[Declaration]:
        """The declarations of a kind, in their order."""
        return [one for one in self.declared.values() if one.kind == kind]


def text_of(node: Node) -> str:
    """What is written there."""
    return (node.text or b"").decode()


def descendants(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in node.children:
        yield from descendants(child)


def plain_string(node: Node) -> str:
    """A string without interpolation."""
    return "".join(text_of(child) for child in node.named_children)


@lru_cache(maxsize=256)
def read_template(path: str, source: str) -> Template:
    """A template of its text; what cannot be parsed is among its problems."""
    root = _PARSER.parse(source.encode()).root_node
    problems = [
        Problem(
            rule="syntax",
            where=f"{path}:{node.start_point[0] + 1}",
            text="cannot be parsed" if node.is_error else f"{node.type} is missing",
        )
        for node in descendants(root)
        if node.is_error or node.is_missing
    ]
    declared: dict[str, Declaration] = {}
    outputs: dict[str, Declaration] = {}
    scope = "resourceGroup"
    decorators: dict[str, Node | None] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = _decorators(node)
            continue
        if node.type == "target_scope_assignment":
            scope = plain_string(node.named_children[0])
        kind = _KINDS.get(node.type)
        if kind is None:
            if node.type not in _OTHER and not node.is_error:
                text = f"{node.type} is not known to this check"
                problems.append(
                    Problem(rule="syntax", where=f"{path}:{node.start_point[0] + 1}", text=text)
                )
            continue
        one = _declaration(kind, node, decorators)
        decorators = {}
        table = outputs if kind == "output" else declared
        if one.name in table:
            text = f"{one.name} is declared twice"
            problems.append(Problem(rule="symbols", where=f"{path}:{one.line}", text=text))
        table[one.name] = one
    return Template(
        path=path,
        root=root,
        scope=scope,
        declared=declared,
        outputs=outputs,
        problems=tuple(problems),
    )


def read_parameters(path: str, source: str) -> tuple[str, Template]:
    """A ``.bicepparam`` file: the template that it is for, and what it declares.

    The grammar does not know such files: their ``param`` is read as ``var``, and told apart again.
    """
    target, lines, names = "", [], set()
    for line in source.splitlines():
        if line.startswith("using "):
            target = line.removeprefix("using ").strip().strip("'")
            lines.append("")
        elif line.startswith("param "):
            lines.append("var " + line.removeprefix("param "))
            names.add(line.split()[1])
        else:
            lines.append(line)
    template = read_template(path, "\n".join(lines) + "\n")
    declared = {
        name: replace(one, kind="param") if name in names else one
        for name, one in template.declared.items()
    }
    return target, replace(template, declared=declared)


def beside(path: str, other: str) -> str:
    """The path of a file that another one names."""
    parts: list[str] = []
    for part in (*PurePosixPath(path).parent.parts, *PurePosixPath(other).parts):
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _declaration(kind: str, node: Node, decorators: Mapping[str, Node | None]) -> Declaration:
    name, *rest = [child for child in node.named_children if child.type != "comment"]
    target, type_node = "", None
    if kind in {"resource", "module"} and rest:
        target = plain_string(rest.pop(0))
    if kind in {"param", "output"} and rest:
        type_node = rest.pop(0)
    return Declaration(
        kind=kind,
        name=text_of(name),
        line=node.start_point[0] + 1,
        value=rest[0] if rest else None,
        type_node=type_node,
        target=target,
        is_existing=any(child.type == "existing" for child in node.children),
        decorators=decorators,
    )


def _decorators(node: Node) -> dict[str, Node | None]:
    found: dict[str, Node | None] = {}
    for decorator in node.named_children:
        call = decorator.named_children[0]
        name = call.child_by_field_name("function")
        arguments = call.child_by_field_name("arguments")
        if name is not None:
            given = arguments.named_children if arguments is not None else []
            found[text_of(name)] = given[0] if given else None
    return found
