"""Expressions and deployments of small templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from infra.check.expanding import expand
from infra.check.functions import guid, unique_string
from infra.check.reading import read_template
from infra.check.values import SUBSCRIPTION

GROUP = f"{SUBSCRIPTION}/resourceGroups/g"


def deployed(main, values=None, **modules):
    files = {"main.bicep": main} | {f"{name}.bicep": text for name, text in modules.items()}
    return expand(files, "main.bicep", values or {})


def value_of(expression, **parameters):
    """What an expression comes to, as the tag of a resource."""
    params = "".join(f"param {name} {kind}\n" for name, (kind, _) in parameters.items())
    found = deployed(
        f"{params}resource r 'A.B/c@1' = {{\n  name: 'n'\n  value: {expression}\n}}\n",
        {name: value for name, (_, value) in parameters.items()},
    )
    assert found.problems == ()
    return found.resources[0].body["value"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a${1 + 2}b'", "a3b"),
        ("'it\\'s'", "it's"),
        ("true ? 'a' : 'b'", "a"),
        ("!empty('') || false", False),
        ("empty('') && 1 < 2", True),
        ("null ?? 'x'", "x"),
        ("-1", -1),
        ("union({ a: 1 }, { a: 2 })", {"a": 2}),
        ("concat(['a'], ['b'])", ["a", "b"]),
        ("string({ a: [1, true] })", '{"a":[1,true]}'),
        ("{ a: { b: 'c' } }.a.b", "c"),
        ("['a', 'b'][1]", "b"),
        ("cidrSubnet('10.60.0.0/22', 24, 2)", "10.60.2.0/24"),
    ],
)
def test_expressions_come_to(expression, value):
    assert value_of(expression) == value


@given(st.lists(st.text("abc123", max_size=5), max_size=5))
def test_a_loop_gives_one_value_for_each(names):
    found = deployed(
        "param names array\n"
        "resource r 'A.B/c@1' = [for (name, i) in names: {\n  name: '${name}${i}'\n}]\n",
        {"names": names},
    )
    assert [one.ref.names for one in found.resources] == [
        (f"{name}{index}",) for index, name in enumerate(names)
    ]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_names_are_made_alike_from_alike(texts):
    assert guid(*texts) == guid(*texts)
    assert guid(*texts) != guid(*texts, "x")
    assert len(unique_string(*texts)) == 13
    assert unique_string(*texts).isalnum()


def test_ids_follow_parents_and_scopes():
    found = deployed(
        "resource a 'A.B/c@1' = {\n  name: 'a'\n}\n"
        "resource b 'A.B/c/d@1' = {\n  parent: a\n  name: 'b'\n}\n"
        "resource e 'E.F/g@1' = {\n  scope: b\n  name: 'e'\n}\n"
    )
    assert [one.id for one in found.resources] == [
        f"{SUBSCRIPTION}/providers/A.B/c/a",
        f"{SUBSCRIPTION}/providers/A.B/c/a/d/b",
        f"{SUBSCRIPTION}/providers/A.B/c/a/d/b/providers/E.F/g/e",
    ]


def test_what_waits_for_what_goes_through_modules_and_variables():
    found = deployed(
        "targetScope = 'subscription'\n"
        "resource group 'Microsoft.Resources/resourceGroups@1' = {\n  name: 'g'\n}\n"
        "module one 'one.bicep' = {\n  scope: group\n}\n"
        "var told = one.outputs.id\n"
        "module two 'two.bicep' = {\n  scope: group\n  params: {\n    id: told\n  }\n}\n",
        one="resource a 'A.B/c@1' = {\n  name: 'a'\n}\noutput id string = a.id\n",
        two="param id string\nresource b 'A.B/c@1' = {\n  name: 'b'\n  of: id\n}\n",
    )
    assert found.problems == ()
    before = found.befores()
    assert before["main/two/b"] == {"main/group", "main/one/a"}
    assert before["main/one/a"] == {"main/group"}
    assert found.by_id()[f"{GROUP}/providers/A.B/c/b"].body["of"] == f"{GROUP}/providers/A.B/c/a"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("var a = b\nvar b = a\nresource r 'A.B/c@1' = {\n  name: a\n}\n", "needs itself"),
        ("resource r 'A.B/c@1' = {\n  name: other\n}\n", "other is not declared"),
        ("resource r 'A.B/c@1' = {\n  name: nobodys('a')\n}\n", "is not known to this check"),
        ("resource r 'A.B/c/d@1' = {\n  name: 'a'\n}\n", "no parent"),
        (
            "resource r 'A.B/c@1' = {\n  name: 'a'\n  b: {\n    c: 1\n    c: 2\n  }\n}\n",
            "given twice",
        ),
        ("module m 'gone.bicep' = {\n}\n", "there is no gone.bicep"),
        (
            "resource r 'A.B/c@1' = {\n  name: loadTextContent('gone.json')\n}\n",
            "there is no file gone.json",
        ),
        ("param p int\nresource r 'A.B/c@1' = {\n  name: '${p}'\n}\n", "p is not given"),
    ],
)
def test_what_cannot_be_evaluated_is_told(template, text):
    assert any(text in problem.text for problem in deployed(template).problems)


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ("param p int", True, "is no int"),
        ("param p string", 1, "is no string"),
        ("@minLength(3)\nparam p string", "ab", "minLength 3 is not kept"),
        ("@maxValue(3)\nparam p int", 4, "maxValue 3 is not kept"),
        ("@allowed([\n  'a'\n])\nparam p string", "b", "none of the allowed"),
        ("type t = {\n  a: string\n}\nparam p t[]", [{"b": "x"}], "has no a"),
    ],
)
def test_values_of_parameters_fit_what_is_declared(declared, value, text):
    assert any(text in problem.text for problem in deployed(declared, {"p": value}).problems)


@pytest.mark.parametrize(
    "source", ["resource r 'A.B/c@1' = {\n  name 'a'\n}\n", "var a =\n", "var = 1\n"]
)
def test_what_cannot_be_parsed_is_told(source):
    assert any(problem.rule == "syntax" for problem in read_template("a.bicep", source).problems)
