"""The type check on small type data of its own: it needs no copy of Microsoft's."""

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from infra.check.expanding import expand
from infra.check.type_data import TypeData


def ref(index):
    return {"$ref": f"#/{index}"}


TYPES = [
    {"$type": "StringType", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
    {"$type": "BooleanType"},
    {"$type": "IntegerType", "minValue": 1, "maxValue": 9},
    {"$type": "StringLiteralType", "value": "Hot"},
    {"$type": "StringType"},
    {"$type": "UnionType", "elements": [ref(3), ref(4)]},
    {"$type": "ArrayType", "itemType": ref(2), "minLength": 1},
    {
        "$type": "ObjectType",
        "name": "Queue",
        "properties": {"kind": {"type": ref(4), "flags": 1}, "size": {"type": ref(2), "flags": 1}},
    },
    {
        "$type": "DiscriminatedObjectType",
        "name": "Destination",
        "discriminator": "kind",
        "baseProperties": {"name": {"type": ref(4), "flags": 0}},
        "elements": {"Queue": ref(7)},
    },
    {
        "$type": "ObjectType",
        "name": "Thing",
        "properties": {
            "name": {"type": ref(0), "flags": 9},
            "isOpen": {"type": ref(1), "flags": 1},
            "made": {"type": ref(4), "flags": 2},
            "tier": {"type": ref(5), "flags": 0},
            "sizes": {"type": ref(6), "flags": 0},
            "to": {"type": ref(8), "flags": 0},
        },
    },
    {"$type": "ResourceType", "name": "A.B/c@1", "body": ref(9)},
]
DATA = TypeData({"A.B/c@1": {"root": 10, "types": TYPES}})


def problems(body, kind="A.B/c@1", name="'abc'"):
    lines = "\n".join(f"  {line}" for line in (f"name: {name}", *body))
    found = expand({"m": f"resource r '{kind}' = {{\n{lines}\n}}\n"}, "m", {})
    assert found.problems == ()
    return DATA.problems(found.resources[0])


def test_what_fits_is_fine():
    body = ["isOpen: true", "tier: 'Hot'", "sizes: [1, 9]", "to: { kind: 'Queue', size: 2 }"]
    assert problems(body) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], ".isOpen is missing"),
        (["isOpen: 'yes'"], ".isOpen is a boolean"),
        (["isOpen: 1"], ".isOpen is a boolean"),
        (["isOpen: true", "isOpenn: true"], ".isOpenn is not known; isOpen?"),
        (["isOpen: true", "made: 'x'"], ".made is read-only"),
        (["isOpen: true", "tier: 'Cold'"], ".tier is one of 'Hot'"),
        (["isOpen: true", "sizes: []"], ".sizes has too few items"),
        (["isOpen: true", "sizes: [10]"], ".sizes[0] is out of its range"),
        (["isOpen: true", "sizes: [true]"], ".sizes[0] is an integer"),
        (["isOpen: true", "sizes: 1"], ".sizes is an array"),
        (["isOpen: true", "to: { kind: 'Topic' }"], ".to.kind is one of 'Queue'"),
        (["isOpen: true", "to: { kind: {} }"], ".to.kind is one of 'Queue'"),
        (["isOpen: true", "to: { kind: 'Queue' }"], ".to.size is missing"),
    ],
)
def test_what_does_not_fit_is_told(body, text):
    assert text in problems(body)


@pytest.mark.parametrize("name", ["'a'", "'abcdef'", "'ABC'"])
def test_names_are_checked_too(name):
    assert problems(["isOpen: true"], name=name) != []


def test_an_unknown_type_or_version_is_told():
    assert problems(["isOpen: true"], kind="A.B/c@2") == ["A.B/c@2 is not known, but A.B/c@1 is"]
