"""Templates with one fault each: what a hurried change, or a bad merge, would leave behind.

Every operator works on the text of a statement, found by the grammar, so that what it leaves can be
parsed as a rule; each resource, each module and each parameter of either is a target.
`python -m tests.infra.mutations` tries 200 faults and lists those that the check misses.
"""

import random
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tree_sitter import Node

from infra.check.__main__ import ROOT
from infra.check.reading import Template, descendants, read_template, text_of
from infra.check.rules import find_problems
from infra.check.scenarios import read_files
from infra.check.type_data import find_type_data

SEED = 20261127
COUNT = 200
OPERATORS = (
    "change a key",
    "change a name",
    "change a query",
    "change a role",
    "change a type",
    "change a value",
    "drop a decorator",
    "drop a dependency",
    "drop a property",
    "drop a resource",
    "drop a role",
    "drop an item",
)
_ASKING = ("modules/alerts.bicep", "workbook.json")
_ASKED = re.compile(
    rb"dicom_indexer\.[a-z_.]+|App(?:Metrics|Requests|Dependencies)|AzureMetrics"
    rb"|\b(?:Sum|Max|Min|ItemCount|DurationMs|ResultCode|TimeGenerated)\b|(?<=Properties\.)[a-z]+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One fault. start, end: bytes of the file that `text` takes the place of."""

    operator: str
    path: str
    line: int
    start: int
    end: int
    text: str
    was: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.operator}: {self.was[:70]!r} -> {self.text[:70]!r}"

    def applied(self, files: Mapping[str, str]) -> dict[str, str]:
        """The files with the fault in them."""
        source = files[self.path].encode()
        changed = source[: self.start] + self.text.encode() + source[self.end :]
        return {**files, self.path: changed.decode()}


def mutations(files: Mapping[str, str]) -> list[Mutation]:
    """Every fault that the operators make, in the order of the files."""
    found = []
    for path, source in files.items():
        if path in _ASKING:
            found += list(_of_queries(path, source))
        if path.endswith(".bicep"):
            template = read_template(path, source)
            for one in (*template.of_kind("resource"), *template.of_kind("module")):
                assert one.value is not None
                found += list(_of_statement(template, one.value, is_existing=one.is_existing))
                found += list(_of_target(template, one.value))
    return found


def sampled(files: Mapping[str, str], count: int) -> list[Mutation]:
    """Faults, no two alike: as many of each operator where there are so many, then whichever."""
    found = mutations(files)
    random.Random(SEED).shuffle(found)
    by_operator: dict[str, list[Mutation]] = {operator: [] for operator in OPERATORS}
    for one in found:
        by_operator[one.operator].append(one)
    each = count // len(OPERATORS)
    chosen = [one for all_of in by_operator.values() for one in all_of[:each]]
    rest = [one for all_of in by_operator.values() for one in all_of[each:]]
    return chosen + sorted(rest, key=found.index)[: count - len(chosen)]


def survivors(files, types, faults):
    """Those that the check does not catch."""
    return [one for one in faults if not find_problems(one.applied(files), types)]


def _made(template: Template, operator: str, node: Node, text: str) -> Mutation:
    return Mutation(
        operator=operator,
        path=template.path,
        line=node.start_point[0] + 1,
        start=node.start_byte,
        end=node.end_byte,
        text=text,
        was=" ".join(text_of(node).split()),
    )


def _of_statement(template: Template, value: Node, *, is_existing: bool) -> Iterator[Mutation]:
    for node in descendants(value):
        match node.type:
            case "object_property":
                key, inner = (c for c in node.named_children if c.type != "comment")
                name = text_of(key)
                operator = {
                    "dependsOn": "drop a dependency",
                    "parent": "drop a dependency",
                    "roleId": "drop a role",
                    "roleDefinitionId": "drop a role",
                }.get(name, "drop a property")
                yield _made(template, operator, node, "")
                yield _made(template, "change a key", key, f"{name.strip(chr(39))}Other")
                if inner.type in {"string", "number", "boolean"}:
                    wrong = "[]" if inner.type == "object" else "{}"
                    yield _made(template, "change a type", inner, wrong)
                if name == "name":
                    text = "'other'" if inner.type != "string" else _longer(inner)
                    yield _made(template, "change a name", inner, text)
            case "boolean":
                text = "false" if text_of(node) == "true" else "true"
                yield _made(template, "change a value", node, text)
            case "number":
                yield _made(template, "change a value", node, str(int(text_of(node)) + 1))
            case "string" if not _is_key(node) and not _is_name(node):
                yield _made(template, "change a value", node, _longer(node))
            case "array" if not is_existing and node.named_child_count:
                for item in node.named_children:
                    is_role = item.type == "object" and "roleId" in text_of(item)
                    operator = "drop a role" if is_role else "drop an item"
                    yield _made(template, operator, item, "")
            case "identifier" if _is_role(node):
                yield _made(
                    template, "change a role", node, "'acdd72a7-3385-48ef-bd42-f606fba81ae7'"
                )


def _of_target(template: Template, value: Node) -> Iterator[Mutation]:
    """Change the type of a resource, or the file of a module; drop either, or its decorators."""
    declaration = value.parent
    assert declaration is not None
    target = declaration.named_children[1]
    yield _made(template, "change a type", target, text_of(target).replace("'", "'x", 1))
    yield _made(template, "drop a resource", declaration, "")
    above = declaration.prev_named_sibling
    if above is not None and above.type == "decorators":
        yield _made(template, "drop a decorator", above, "")


def _of_queries(path: str, source: str) -> Iterator[Mutation]:
    """Change a name in a query: of a metric, a table, a column, an attribute."""
    encoded = source.encode()
    for match in _ASKED.finditer(encoded):
        yield Mutation(
            operator="change a query",
            path=path,
            line=encoded.count(b"\n", 0, match.start()) + 1,
            start=match.start(),
            end=match.end(),
            text=f"{match.group().decode()}Other",
            was=match.group().decode(),
        )


def _longer(node: Node) -> str:
    return text_of(node)[:-1] + "x'" if len(text_of(node)) > 2 else "'x'"


def _is_key(node: Node) -> bool:
    parent = node.parent
    return (
        parent is not None and parent.type == "object_property" and parent.named_children[0] == node
    )


def _is_name(node: Node) -> bool:
    parent = node.parent
    return (
        parent is not None
        and parent.type == "object_property"
        and text_of(parent.named_children[0]) == "name"
    )


def _is_role(node: Node) -> bool:
    parent = node.parent
    if parent is None or parent.type != "object_property" or parent.named_children[0] == node:
        return False
    return text_of(parent.named_children[0]) in {
        "roleId",
        "containerRoleId",
        "queueRoleId",
        "tableRoleId",
    }


def main() -> int:
    files, types = read_files(), find_type_data(ROOT)
    if types is None:
        print("without type data a tenth or more is missed: set BICEP_TYPES")
        return 2
    faults = sampled(files, COUNT)
    left = survivors(files, types, faults)
    print(f"{len(faults) - len(left)} of {len(faults)} planted faults are caught; these are not:")
    print("\n".join(map(str, left)) or "none")
    return 1 if len(left) > len(faults) // 10 else 0


if __name__ == "__main__":
    sys.exit(main())
