"""Resources against Microsoft's type data, where a copy of it is at hand.

The data is not part of the product; `DATA` says where it is looked for.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.check.values import Late, Resource

VARIABLE = "BICEP_TYPES"
_REQUIRED, _READ_ONLY = 1, 2
_STRIPPED = "description"
"""Left out of the copy of the data with all descriptions, where it is a property as well."""


class TypeData:
    """Type data as one JSON object: by ``type@version`` the types and which of them is the root."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def problems(self, resource: Resource) -> list[str]:
        """What is wrong with a resource."""
        key = f"{resource.type}@{resource.version}"
        if key not in self._data:
            near = difflib.get_close_matches(key, self._data, 1)
            return [f"{key} is not known{f', but {near[0]} is' if near else ''}"]
        known = self._data[key]
        checker = _Checker(known["types"])
        body = known["types"][known["root"]]["body"]
        return checker.check(body, resource.body, "")

    def takes_tags(self, resource: Resource) -> bool:
        """Whether resources of this type have tags."""
        known = self._data.get(f"{resource.type}@{resource.version}")
        if known is None:
            return False
        body = known["types"][int(known["types"][known["root"]]["body"]["$ref"][2:])]
        return "tags" in body.get("properties", {})


def find_type_data(root: Path) -> TypeData | None:
    """The type data, from where the environment says, else beside the checkout."""
    places = [root.parent / "shared", root.parents[1] / "shared"] if len(root.parents) > 1 else []
    candidates = [place / "azure" / "bicep-types.json" for place in places]
    if named := os.environ.get(VARIABLE):
        candidates = [Path(named)]
    for path in candidates:
        if path.is_file():
            return TypeData(json.loads(path.read_text(encoding="utf-8")))
    return None


class _Checker:
    """Checks values against the types of one resource type."""

    def __init__(self, types: list[dict[str, Any]]) -> None:
        self._types = types

    def check(self, ref: Mapping[str, str], value: Any, path: str) -> list[str]:
        """What is wrong with a value; null is as good as absent."""
        if value is None:
            return []
        kind = self._types[int(ref["$ref"][2:])]
        method = getattr(self, f"_{kind['$type']}", None)
        if method is None:
            return [f"{path}: {kind['$type']} is not known to this check"]
        found: list[str] = method(kind, value, path)
        return found

    def _AnyType(self, _: Mapping[str, Any], __: Any, ___: str) -> list[str]:  # noqa: N802
        return []

    def _StringType(self, kind: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        if not isinstance(value, str):
            return [f"{path} is a string"]
        if isinstance(value, Late):
            return []
        if len(value) < kind.get("minLength", 0) or len(value) > kind.get("maxLength", len(value)):
            return [f"{path} is too short or too long"]
        if "pattern" in kind and not re.search(kind["pattern"], value):
            return [f"{path} does not match {kind['pattern']}"]
        return []

    def _StringLiteralType(  # noqa: N802
        self, kind: Mapping[str, Any], value: Any, path: str
    ) -> list[str]:
        return [] if value == kind["value"] else [f"{path} is {kind['value']!r}"]

    def _IntegerType(self, kind: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        if not isinstance(value, int) or isinstance(value, bool):
            return [f"{path} is an integer"]
        if value < kind.get("minValue", value) or value > kind.get("maxValue", value):
            return [f"{path} is out of its range"]
        return []

    def _BooleanType(self, _: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        return [] if isinstance(value, bool) else [f"{path} is a boolean"]

    def _ArrayType(self, kind: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        if not isinstance(value, list):
            return [f"{path} is an array"]
        if len(value) < kind.get("minLength", 0):
            return [f"{path} has too few items"]
        return [
            text
            for index, item in enumerate(value)
            for text in self.check(kind["itemType"], item, f"{path}[{index}]")
        ]

    def _UnionType(self, kind: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        """Open lists of values count as closed: a value that is not in them is a mistake."""
        members = [self._types[int(ref["$ref"][2:])] for ref in kind["elements"]]
        literals = [member["value"] for member in members if "value" in member]
        if literals and not isinstance(value, Late):
            if value in literals:
                return []
            return [f"{path} is one of {', '.join(map(repr, literals[:12]))}"]
        if any(not self.check(ref, value, path) for ref in kind["elements"]):
            return []
        return [f"{path} fits none of its types"]

    def _ObjectType(self, kind: Mapping[str, Any], value: Any, path: str) -> list[str]:  # noqa: N802
        return self._object(kind["properties"], kind.get("additionalProperties"), value, path)

    def _DiscriminatedObjectType(  # noqa: N802
        self, kind: Mapping[str, Any], value: Any, path: str
    ) -> list[str]:
        if not isinstance(value, dict):
            return [f"{path} is an object"]
        name = kind["discriminator"]
        told = value.get(name)
        chosen = kind["elements"].get(told) if isinstance(told, str) else None
        if chosen is None:
            return [f"{path}.{name} is one of {', '.join(map(repr, kind['elements']))}"]
        element = self._types[int(chosen["$ref"][2:])]
        properties = {**kind["baseProperties"], **element["properties"]}
        return self._object(properties, element.get("additionalProperties"), value, path)

    def _object(
        self,
        properties: Mapping[str, Any],
        others: Mapping[str, str] | None,
        value: Any,
        path: str,
    ) -> list[str]:
        if not isinstance(value, dict):
            return [f"{path} is an object"]
        texts = [
            f"{path}.{name} is missing"
            for name, one in properties.items()
            if one["flags"] & _REQUIRED and not one["flags"] & _READ_ONLY and name not in value
        ]
        for name, inner in value.items():
            if name not in properties:
                if name == _STRIPPED and isinstance(inner, str):
                    continue
                if others is not None:
                    texts += self.check(others, inner, f"{path}.{name}")
                    continue
                near = difflib.get_close_matches(name, properties, 1)
                texts.append(f"{path}.{name} is not known{f'; {near[0]}?' if near else ''}")
                continue
            flags = properties[name]["flags"]
            if flags & _READ_ONLY and not flags & _REQUIRED and name != "name":
                texts.append(f"{path}.{name} is read-only")
            texts += self.check(properties[name]["type"], inner, f"{path}.{name}")
        return texts
