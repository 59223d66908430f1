"""Callers see the scopes of their projects, or are told why they see nothing."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function_app.api.callers import PRINCIPAL, azure_callers, local_callers
from function_app.api.messages import Request
from indexer_core.access import (
    Access,
    AccessError,
    Principal,
    Project,
    parse_principal,
    parse_projects,
)
from indexer_core.errors import InvalidInputError

PROJECTS = {
    "heart": Project(scopes=frozenset({"a", "b"}), groups=frozenset({"g1"})),
    "brain": Project(scopes=frozenset({"c"}), groups=frozenset({"g2"}), roles=frozenset({"r"})),
}
ACCESS = Access(projects=PROJECTS)


def header(*claims: tuple[str, str]) -> str:
    said = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims]}
    return base64.b64encode(json.dumps(said).encode()).decode()


@pytest.mark.parametrize(
    ("groups", "roles", "scopes"),
    [({"g1"}, (), "ab"), ({"g2"}, (), "c"), ({"g1", "g2"}, (), "abc"), ((), {"r"}, "c")],
)
def test_a_caller_sees_the_scopes_of_all_their_projects(groups, roles, scopes):
    principal = Principal(id="me", groups=frozenset(groups), roles=frozenset(roles))
    assert ACCESS.of_principal(principal).scopes == frozenset(scopes)


def test_a_caller_without_a_project_is_told_so():
    with pytest.raises(AccessError) as refused:
        ACCESS.of_principal(
            Principal(id="me", groups=frozenset({"other"}), roles=frozenset({"g1"}))
        )
    assert refused.value.refusal == "forbidden"


def test_without_projects_everybody_sees_everything():
    assert Access(projects={}).of_principal(Principal(id="me")).scopes is None
    assert Access(projects={}).of_key().scopes is None


def test_a_key_opens_projects_only_by_wish():
    with pytest.raises(AccessError):
        ACCESS.of_key()
    assert Access(projects=PROJECTS, keys_see_all=True).of_key().scopes is None


@pytest.mark.parametrize("claim", [("hasgroups", "true"), ("_claim_names", '{"groups":"src1"}')])
def test_a_token_that_does_not_list_its_groups_is_refused_and_shows_no_part(claim):
    principal = parse_principal(header(("oid", "me"), ("groups", "g1"), claim))
    with pytest.raises(AccessError) as refused:
        ACCESS.of_principal(principal)
    assert refused.value.refusal == "groupsOverage"
    by_roles = Access(projects={"p": Project(scopes=frozenset({"c"}), roles=frozenset({"r"}))})
    with_role = parse_principal(header(("oid", "me"), ("roles", "r"), claim))
    assert by_roles.of_principal(with_role).scopes == {"c"}


def test_a_principal_is_known_by_its_object_id_and_not_by_its_name():
    long_name = "http://schemas.microsoft.com/identity/claims/objectidentifier"
    said = header(("name", "Ada"), (long_name, "0f-1"), ("groups", "g1"), ("roles", "r"))
    principal = parse_principal(said)
    assert principal == Principal(id="0f-1", groups=frozenset({"g1"}), roles=frozenset({"r"}))


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "no base64!",
        base64.b64encode(b"no json").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"claims": 1}').decode(),
        base64.b64encode(b'{"claims": [1]}').decode(),
        base64.b64encode(b'{"claims": [{"typ": "oid"}]}').decode(),
        base64.b64encode(b"[" * 10_000).decode(),
        header(("groups", "g1")),
        header(("oid", "line\nbreak")),
        "A" * 100_000,
    ],
)
def test_a_malformed_principal_is_nobody(malformed):
    with pytest.raises(AccessError) as refused:
        parse_principal(malformed)
    assert refused.value.refusal == "unauthenticated"


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_any_header_is_a_principal_or_refused(text):
    with suppress(AccessError):
        assert parse_principal(text).id


def test_without_easy_auth_the_principal_header_counts_for_nothing():
    forged = Request(
        method="GET", path="/", headers={PRINCIPAL: header(("oid", "me"), ("groups", "g1"))}
    )
    assert azure_callers(ACCESS, easy_auth=True)(forged).scopes == {"a", "b"}
    with pytest.raises(AccessError):
        azure_callers(ACCESS, easy_auth=False)(forged)


def test_with_easy_auth_nobody_is_let_in_without_a_principal():
    with pytest.raises(AccessError) as refused:
        azure_callers(Access(projects={}), easy_auth=True)(Request(method="GET", path="/"))
    assert refused.value.refusal == "unauthenticated"


@pytest.mark.parametrize(
    ("sent", "is_let_in"),
    [
        ("Bearer secret of this machine", True),
        ("bearer secret of this machine", True),
        ("Bearer secret", False),
        ("Basic secret of this machine", False),
        ("Bearer sécret", False),
        ("", False),
    ],
)
def test_where_there_is_a_token_it_is_asked_for(sent, is_let_in):
    asked = Request(method="GET", path="/", headers={"authorization": sent})
    authenticate = local_callers(frozenset({"a"}), "secret of this machine")
    if is_let_in:
        assert authenticate(asked).scopes == {"a"}
    else:
        with pytest.raises(AccessError):
            authenticate(asked)


def test_projects_are_read_from_json():
    text = '{"heart": {"scopes": ["a", "b"], "groups": ["g1"]}}'
    assert parse_projects(text, "X") == {"heart": PROJECTS["heart"]}
    assert parse_projects("", "X") == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"p": []}',
        '{"p": {"groups": ["g"]}}',
        '{"p": {"scopes": []}}',
        '{"p": {"scopes": "a"}}',
        '{"p": {"scopes": [""]}}',
        '{"p": {"scopes": ["a"], "group": ["g"]}}',
    ],
)
def test_projects_that_cannot_be_meant_are_refused_by_the_name_of_their_setting(text):
    with pytest.raises(InvalidInputError, match=r"^INDEXER_PROJECTS"):
        parse_projects(text, "INDEXER_PROJECTS")
