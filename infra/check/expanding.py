"""Templates with values for their parameters, as the resources that would be deployed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tree_sitter import Node

from infra.check.evaluating import Evaluator
from infra.check.parameters import parameter_problems, parameter_values
from infra.check.problems import EvaluationError, Problem
from infra.check.reading import Declaration, Template, beside, read_template
from infra.check.values import SUBSCRIPTION, ModuleRef, Resource, ResourceRef

_OF_MODULES = frozenset({"name", "params", "scope", "dependsOn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What would be deployed, what is looked up, what is told, and what is wrong with any of it."""

    resources: tuple[Resource, ...]
    existing: tuple[Resource, ...]
    problems: tuple[Problem, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def of_type(self, name: str) -> list[Resource]:
        """The resources of a type."""
        return [resource for resource in self.resources if resource.type == name]

    def by_id(self) -> dict[str, Resource]:
        """The resources by their ids."""
        return {resource.id: resource for resource in self.resources}

    def befores(self) -> dict[str, frozenset[str]]:
        """By the address of each resource, those of all that is deployed before it."""
        own = {one.ref.address: one.depends for one in self.resources}
        inside: dict[str, list[str]] = {}
        for address in own:
            parts = address.split("/")
            for length in range(1, len(parts) + 1):
                inside.setdefault("/".join(parts[:length]), []).append(address)
        found: dict[str, frozenset[str]] = {}

        def before(address: str) -> frozenset[str]:
            if address not in found:
                found[address] = frozenset()  # where a circle would come back to it
                direct = {other for name in own[address] for other in inside.get(name, ())}
                found[address] = frozenset(direct).union(*map(before, direct))
            return found[address]

        for address in own:
            before(address)
        return found


def expand(files: Mapping[str, str], main: str, values: Mapping[str, Any]) -> Deployment:
    """The deployment of a template.

    Parameters
    ----------
    files
        Texts by path, of all templates and of what they load.
    main
        Path of the template to deploy.
    values
        Values of its parameters.
    """
    expansion = _Expansion(files)
    outputs = expansion.open(main, values, address="main", scope=SUBSCRIPTION, depends=frozenset())
    return Deployment(
        resources=tuple(expansion.resources),
        existing=tuple(expansion.existing),
        problems=tuple(dict.fromkeys(expansion.problems)),
        outputs=outputs,
    )


class _Expansion:
    """What all files of one deployment share."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.resources: list[Resource] = []
        self.existing: list[Resource] = []
        self.problems: list[Problem] = []

    def open(
        self,
        path: str,
        values: Mapping[str, Any],
        *,
        address: str,
        scope: str,
        depends: frozenset[str],
    ) -> dict[str, Any]:
        """Deploy a file; its outputs."""
        template = read_template(path, self.files[path])
        self.problems += parameter_problems(template, values, address)
        opened = _Opened(self, template, values, address=address, scope=scope, depends=depends)
        return opened.deploy()


class _Opened:
    """One file with values for its parameters. Names are evaluated when they are first needed."""

    def __init__(
        self,
        expansion: _Expansion,
        template: Template,
        values: Mapping[str, Any],
        *,
        address: str,
        scope: str,
        depends: frozenset[str],
    ) -> None:
        self._expansion = expansion
        self._template = template
        self._values = parameter_values(template, values)
        self._address = address
        self._scope = scope
        self._depends = depends
        self._known: dict[str, tuple[Any, frozenset[str]]] = {}
        self._pending: list[str] = []

        def text_content(name: str) -> str:
            path = beside(template.path, name)
            if path not in expansion.files:
                raise ValueError(f"there is no file {path}")
            return expansion.files[path]

        functions: dict[str, Callable[..., Any]] = {
            "resourceGroup": lambda: {"id": scope, "name": scope.rpartition("/")[2]},
            "loadTextContent": text_content,
        }
        self._evaluator = Evaluator(template.path, self._look, functions)

    def deploy(self) -> dict[str, Any]:
        for one in self._template.declared.values():
            try:
                match one.kind:
                    case "module":
                        self._look(one.name)
                    case "resource":
                        self._resource(one)
            except EvaluationError as error:
                self._expansion.problems.append(error.problem)
        outputs = {}
        for one in self._template.outputs.values():
            try:
                outputs[one.name] = self._evaluator.evaluate(_needed(one))
            except EvaluationError as error:
                self._expansion.problems.append(error.problem)
        return outputs

    def _look(self, name: str) -> Any:
        """The value of a name, which is evaluated once."""
        if name not in self._known:
            one = self._template.declared[name]
            if name in self._pending:
                raise EvaluationError(self._problem(one, f"{name} needs itself"))
            self._pending.append(name)
            outer, self._evaluator.touched = self._evaluator.touched, set()
            try:
                value = self._fresh(one)
                self._known[name] = (value, frozenset(self._evaluator.touched))
            finally:
                self._evaluator.touched = outer
                self._pending.pop()
        value, touched = self._known[name]
        self._evaluator.touched |= touched
        return value

    def _fresh(self, one: Declaration) -> Any:
        match one.kind:
            case "param":
                return self._parameter(one)
            case "var":
                return self._evaluator.evaluate(_needed(one))
            case "resource":
                found = self._each(one, self._ref)
                # A name that is evaluated is a dependency of who uses it, by its reference alone.
                self._evaluator.touched.clear()
                return found
            case "module":
                found = self._each(one, self._module)
                self._evaluator.touched.clear()
                return found
        raise KeyError(one.name)

    def _parameter(self, one: Declaration) -> Any:
        if one.name in self._values:
            return self._values[one.name]
        if one.value is None:
            raise EvaluationError(self._problem(one, f"no value for parameter {one.name}"))
        return self._evaluator.evaluate(one.value)

    def _each(self, one: Declaration, make: Any) -> Any:
        """What `make` makes of a statement, or a list of it for a loop."""
        node = _needed(one)
        if node.type != "for_statement":
            return make(one, node, self._own_address(one), {})
        body = node.child_by_field_name("body")
        assert body is not None
        return [
            make(one, body, f"{self._own_address(one)}[{index}]", names)
            for index, names in enumerate(self._evaluator.each(node))
        ]

    def _own_address(self, one: Declaration) -> str:
        return f"{self._address}/{one.name}"

    def _ref(
        self, one: Declaration, node: Node, address: str, names: Mapping[str, Any]
    ) -> ResourceRef:
        _, body = self._condition(node, names)
        parts = _properties(body)
        kind = one.target.partition("@")[0]
        if "name" not in parts:
            raise EvaluationError(self._problem(one, f"{one.name} has no name"))
        own = self._evaluator.evaluate(parts["name"], **names)
        if not isinstance(own, str):
            raise EvaluationError(self._problem(one, f"the name of {one.name} is no text"))
        scope = self._scope
        above: tuple[str, ...] = ()
        if "parent" in parts:
            parent = self._referred(one, parts["parent"], names)
            scope, above = parent.scope, parent.names
            if kind.rpartition("/")[0] != parent.type:
                raise EvaluationError(self._problem(one, f"{parent.type} is no parent of {kind}"))
        elif kind.count("/") > 1:
            raise EvaluationError(self._problem(one, f"{one.name} lies in something: no parent"))
        if "scope" in parts:
            scope = self._referred(one, parts["scope"], names).id
        return ResourceRef(
            address=address,
            type=kind,
            names=(*above, own),
            scope=scope,
            is_existing=one.is_existing,
        )

    def _referred(self, one: Declaration, node: Node, names: Mapping[str, Any]) -> ResourceRef:
        found = self._evaluator.evaluate(node, **names)
        if not isinstance(found, ResourceRef):
            raise EvaluationError(self._problem(one, "parent and scope are resources"))
        return found

    def _condition(self, node: Node, names: Mapping[str, Any]) -> tuple[bool, Node]:
        if node.type != "if_statement":
            return True, node
        condition, body = [c for c in node.named_children if c.type != "comment"]
        chosen = self._evaluator.evaluate(condition, **names)
        if not isinstance(chosen, bool):
            raise self._evaluator.error(condition, "a condition is true or false")
        return chosen, body

    def _resource(self, one: Declaration) -> None:
        refs = self._look(one.name)
        flat = refs if isinstance(refs, list) else [refs]
        turns = iter(flat)

        def made(_: Declaration, node: Node, address: str, names: Mapping[str, Any]) -> None:
            del address
            self._evaluator.touched = set()
            ref = next(turns)
            is_wanted, body = self._condition(node, names)
            if not is_wanted:
                return
            content, depends = self._body(one, body, names)
            resource = Resource(
                ref=ref,
                version=one.target.partition("@")[2],
                where=f"{self._template.path}:{one.line}",
                body={**content, "name": ref.names[-1]},
                depends=depends | self._depends,
                decorators={
                    name: None if argument is None else self._evaluator.evaluate(argument)
                    for name, argument in one.decorators.items()
                },
            )
            into = self._expansion.existing if one.is_existing else self._expansion.resources
            into.append(resource)

        self._each(one, made)

    def _body(
        self, one: Declaration, node: Node, names: Mapping[str, Any]
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """Everything but what says where it lies and what it waits for; and what it waits for."""
        content: dict[str, Any] = {}
        for key, value in _properties(node).items():
            if key in {"parent", "scope"}:
                self._evaluator.touched |= _touched(self._referred(one, value, names))
            elif key == "dependsOn":
                self._evaluator.touched |= self._waited(value, names)
            else:
                content[key] = self._evaluator.evaluate(value, **names)
        return content, frozenset(self._evaluator.touched)

    def _waited(self, node: Node, names: Mapping[str, Any]) -> set[str]:
        found = self._evaluator.evaluate(node, **names)
        addresses = set()
        for item in found if isinstance(found, list) else [found]:
            for one in item if isinstance(item, list) else [item]:
                if not isinstance(one, ResourceRef | ModuleRef):
                    raise self._evaluator.error(node, "dependsOn names resources and modules")
                addresses.add(one.address)
        return addresses

    def _module(
        self, one: Declaration, node: Node, address: str, names: Mapping[str, Any]
    ) -> ModuleRef:
        self._evaluator.touched = set()
        is_wanted, body = self._condition(node, names)
        parts = _properties(body)
        path = beside(self._template.path, one.target)
        if path not in self._expansion.files:
            raise EvaluationError(self._problem(one, f"there is no {one.target}"))
        if unknown := sorted(set(parts) - _OF_MODULES):
            raise EvaluationError(self._problem(one, f"a module has no {', '.join(unknown)}"))
        scope = self._scope
        if "scope" in parts:
            found = self._referred(one, parts["scope"], names)
            self._evaluator.touched.add(found.address)
            scope = found.id
        wanted = "resourceGroup" if "/resourceGroups/" in scope else "subscription"
        if read_template(path, self._expansion.files[path]).scope != wanted:
            text = f"{one.target} is not for a {wanted}, where {one.name} puts it"
            raise EvaluationError(self._problem(one, text))
        if not is_wanted:
            return ModuleRef(address=address, outputs={})
        params = self._evaluator.evaluate(parts["params"], **names) if "params" in parts else {}
        if "dependsOn" in parts:
            self._evaluator.touched |= self._waited(parts["dependsOn"], names)
        depends = frozenset(self._evaluator.touched) | self._depends
        outputs = self._expansion.open(path, params, address=address, scope=scope, depends=depends)
        return ModuleRef(address=address, outputs=outputs)

    def _problem(self, one: Declaration, text: str) -> Problem:
        return Problem(rule="symbols", where=f"{self._template.path}:{one.line}", text=text)


def _needed(one: Declaration) -> Node:
    assert one.value is not None, one.name
    return one.value


def _touched(ref: ResourceRef) -> set[str]:
    return set() if ref.is_existing else {ref.address}


def _properties(node: Node) -> dict[str, Node]:
    found = {}
    for child in node.named_children:
        if child.type == "object_property":
            key, value = [c for c in child.named_children if c.type != "comment"]
            found[(key.text or b"").decode().strip("'")] = value
    return found
