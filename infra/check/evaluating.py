"""Expressions, evaluated."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from tree_sitter import Node

from infra.check.functions import FUNCTIONS, like
from infra.check.problems import EvaluationError, Problem
from infra.check.reading import text_of
from infra.check.values import Late, ModuleRef, ResourceRef

_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\$": "$"}
_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}

Look = Callable[[str], Any]
"""The value of a name; raises KeyError where there is none."""


class Evaluator:
    """Evaluates the expressions of one file.

    Parameters
    ----------
    path
        The file, for problems.
    look
        Names of the file.
    functions
        Further functions, which need to know where they are called.

    Attributes
    ----------
    touched
        Addresses of the resources and modules that were referred to.
    """

    def __init__(
        self, path: str, look: Look, functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self._path = path
        self._look = look
        self._functions = {**FUNCTIONS, **(functions or {})}
        self._locals: dict[str, Any] = {}
        self.touched: set[str] = set()

    def evaluate(self, node: Node, **names: Any) -> Any:
        """The value of an expression, with the variables of the loop that it is in."""
        outer, self._locals = self._locals, {**self._locals, **names}
        try:
            return self._value(node)
        finally:
            self._locals = outer

    def each(self, loop: Node) -> list[dict[str, Any]]:
        """The variables of each turn of a loop."""
        named = [child for child in loop.named_children if child.type != "comment"]
        first, over = named[0], named[1]
        names = (
            [text_of(child) for child in first.named_children]
            if first.type == "for_loop_parameters"
            else [text_of(first)]
        )
        values = self._value(over)
        if not isinstance(values, list):
            raise self.error(over, "a loop goes over something that is no array")
        return [
            dict(zip(names, (value, index), strict=False)) for index, value in enumerate(values)
        ]

    def error(self, node: Node, text: str) -> EvaluationError:
        """An error at a place of the file."""
        where = f"{self._path}:{node.start_point[0] + 1}"
        return EvaluationError(Problem(rule="symbols", where=where, text=text))

    def _value(self, node: Node) -> Any:
        method = getattr(self, f"_{node.type}", None)
        if method is None:
            raise self.error(node, f"{node.type} is not known to this check")
        try:
            return method(node)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            text = f"{text_of(node)[:60]!r} cannot be evaluated: {error}"
            raise self.error(node, text) from None

    def _identifier(self, node: Node) -> Any:
        name = text_of(node)
        if name in self._locals:
            return self._locals[name]
        try:
            return self._look(name)
        except KeyError:
            raise self.error(node, f"{name} is not declared") from None

    def _string(self, node: Node) -> str:
        parts = []
        for child in node.named_children:
            if child.type == "interpolation":
                parts.append(self._text(child))
            elif child.type == "escape_sequence":
                parts.append(_ESCAPES[text_of(child)])
            else:
                parts.append(text_of(child))
        return like(tuple(parts), "".join(parts))

    def _text(self, node: Node) -> str:
        value = self._value(node.named_children[0])
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, (str, int)):
            raise self.error(node, "only texts and numbers become part of a text")
        return value if isinstance(value, Late) else str(value)

    def _number(self, node: Node) -> int:
        return int(text_of(node))

    def _boolean(self, node: Node) -> bool:
        return text_of(node) == "true"

    def _null(self, _: Node) -> None:
        return None

    def _array(self, node: Node) -> list[Any]:
        return [self._value(child) for child in node.named_children if child.type != "comment"]

    def _object(self, node: Node) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for child in node.named_children:
            if child.type != "object_property":
                continue
            key_node, value_node = [c for c in child.named_children if c.type != "comment"]
            key = self._string(key_node) if key_node.type == "string" else text_of(key_node)
            if key in made:
                raise self.error(child, f"{key} is given twice")
            made[key] = self._value(value_node)
        return made

    def _for_statement(self, node: Node) -> list[Any]:
        body = node.child_by_field_name("body")
        assert body is not None
        return [self.evaluate(body, **names) for names in self.each(node)]

    def _parenthesized_expression(self, node: Node) -> Any:
        return self._value(node.named_children[0])

    def _ternary_expression(self, node: Node) -> Any:
        condition, yes, no = (c for c in node.named_children if c.type != "comment")
        chosen = self._value(condition)
        if not isinstance(chosen, bool):
            raise self.error(condition, "a condition is true or false")
        return self._value(yes if chosen else no)

    def _unary_expression(self, node: Node) -> Any:
        value = self._value(node.named_children[0])
        return not value if text_of(node).startswith("!") else -value

    def _binary_expression(self, node: Node) -> Any:
        left, right = (c for c in node.named_children if c.type != "comment")
        sign = next(text_of(child) for child in node.children if not child.is_named)
        if sign == "&&":
            return self._value(left) and self._value(right)
        if sign == "||":
            return self._value(left) or self._value(right)
        if sign == "??":
            value = self._value(left)
            return self._value(right) if value is None else value
        if sign not in _BINARY:
            raise self.error(node, f"{sign} is not known to this check")
        return _BINARY[sign](self._value(left), self._value(right))

    def _call_expression(self, node: Node) -> Any:
        name_node = node.child_by_field_name("function")
        arguments = node.child_by_field_name("arguments")
        assert name_node is not None
        name = text_of(name_node)
        if name not in self._functions:
            raise self.error(node, f"function {name} is not known to this check")
        given = arguments.named_children if arguments is not None else []
        return self._functions[name](*(self._value(child) for child in given))

    def _subscript_expression(self, node: Node) -> Any:
        of, index = (c for c in node.named_children if c.type != "comment")
        value, key = self._value(of), self._value(index)
        try:
            return value[key]
        except KeyError:
            raise self.error(node, f"{key} is not there") from None

    def _member_expression(self, node: Node) -> Any:
        of, name_node = (c for c in node.named_children if c.type != "comment")
        if of.type == "ternary_expression":
            # The grammar takes `a ? b : c!.d` for `(a ? b : c!).d`, which the compiler does not.
            raise self.error(node, "the grammar misreads this: put the part with ! before the :")
        value, name = self._value(of), text_of(name_node)
        match value:
            case ResourceRef():
                return self._of_resource(value, name)
            case ModuleRef():
                self.touched.add(value.address)
                if name != "outputs":
                    raise self.error(node, f"a module has outputs, and no {name}")
                return value.outputs
            case dict():
                if name not in value:
                    raise self.error(node, f"{name} is not there")
                return value[name]
            case Late():
                return Late(f"{value}.{name}")
            case _:
                raise self.error(node, f"{name} of something that has no parts")

    def _of_resource(self, resource: ResourceRef, name: str) -> str:
        if not resource.is_existing:
            self.touched.add(resource.address)
        if name == "id":
            return resource.id
        if name == "name":
            return resource.names[-1]
        return Late(f"{resource.id}#{name}")
