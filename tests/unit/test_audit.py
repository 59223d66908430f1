"""Audit records say who asked how much, and nothing of what was said."""

import pytest

from indexer_core.audit import AuditRecord, AuditRows, audit_key, hash_of, parse_purpose
from indexer_core.errors import InvalidInputError
from indexer_core.testing.memory import MemoryRows, SequentialIds
from tests.support.api import Api, problem_of, record

RECORD = AuditRecord(
    time_s=86_400.0 * 2 - 1,
    caller="me",
    operation="search",
    purpose="study 7",
    asked="00",
    fields=("ageYears", "sex"),
    returned=3,
    manifest=4,
    status=200,
    duration_ms=12,
)


def test_records_come_back_as_they_were_by_the_day():
    rows = MemoryRows()
    audit = AuditRows(rows, SequentialIds())
    audit.append(RECORD)
    audit.append(RECORD)
    assert list(audit.all()) == [RECORD, RECORD]
    assert {row.partition for row in rows.scan()} == {"1970-01-02"}


def test_a_hash_depends_on_the_question_and_the_key_and_not_on_the_order_of_names():
    key, other = audit_key(b"one secret"), audit_key(b"another one")
    asked = {"q": "heart", "top": 1}
    assert hash_of(asked, key) == hash_of({"top": 1, "q": "heart"}, key)
    assert hash_of(asked, key) != hash_of(asked, other)
    assert hash_of(asked, key) != hash_of({"q": "heart", "top": 2}, key)
    assert len(hash_of({"q": "\udc80"}, key)) == 32


@pytest.mark.parametrize("text", ["", "study 7", "IRB-2026/14", "a" * 64])
def test_purposes(text):
    assert parse_purpose(text) == text


@pytest.mark.parametrize("text", ["a" * 65, "line\nbreak", "Müller", "<b>", " a"])
def test_what_could_be_more_than_a_purpose_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_purpose(text)


def test_each_request_leaves_one_record_without_its_words_values_and_uids():
    api = Api({"1.2.3": record("1.2.3"), "1.2.4": record("1.2.4", scope="b")})
    body = {"text": "Planted words", "filters": ["manufacturer=Planted", "plane=axial"]}
    api.ask("POST", "/api/search", body=body, headers={"x-purpose": "study 7"})
    api.ask("GET", "/api/series/1.2.3")
    api.ask("GET", "/api/series/Planted")
    api.ask("POST", "/api/search", body={"text": "Planted", "Planted": 1})
    kept = api.audited()
    assert [each.operation for each in kept] == ["search", "series", "series", "search"]
    assert [each.status for each in kept] == [200, 200, 404, 400]
    assert [each.returned for each in kept] == [0, 1, 0, 0]
    assert kept[0].fields == ("manufacturer", "plane")
    assert {each.caller for each in kept} == {"somebody"}
    assert kept[0].purpose == "study 7"
    assert kept[0].manifest == kept[1].manifest == api.manifests.newest().number
    stored = str(list(api.stores.audit.scan()))
    assert "Planted" not in stored
    assert "1.2.3" not in stored


def test_open_operations_and_unknown_paths_leave_none():
    api = Api({"1": record("1")})
    for path in ("/api/health", "/api/openapi.json", "/api/nothing"):
        api.ask("GET", path)
    assert api.audited() == []


def test_what_cannot_be_recorded_is_not_answered():
    class Full(MemoryRows):
        def insert(self, partition, key, values):
            raise OSError("no space left")

    api = Api({"Planted": record("Planted")})
    api.router._audit = AuditRows(Full(), SequentialIds())
    response = api.ask("GET", "/api/series/Planted")
    assert problem_of(response) == "unavailable"
    assert response.status == 503
    assert response.headers["retry-after"]
    assert b"Planted" not in response.body
    assert api.ask("GET", "/api/health").status == 200
