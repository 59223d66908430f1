"""Operations on saved cohorts.

A cohort tells counts of the scopes that it was drawn from, so a caller sees those only that were
drawn within scopes that are open to them; others are not there.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime

from function_app.api.asked import (
    DICOM_JSON,
    FILE_TYPES,
    MAX_NAMES_BYTES,
    UIDS,
    conditions,
    fields_of,
    format_parameter,
    records_answer,
)
from function_app.api.cohort_schemas import (
    COHORT_ANSWER,
    COHORT_BODY,
    COHORT_NAME,
    COHORT_SERIES_ANSWER,
    COHORTS_ANSWER,
    NEWS_ANSWER,
)
from function_app.api.messages import ApiError
from function_app.api.operations import Answer, Call, Operation, Parameter
from function_app.api.schemas import LEAST
from function_app.api.service import Service
from indexer_core.cohorts.asking import ask
from indexer_core.cohorts.comparing import compare, news
from indexer_core.cohorts.drawing import draw, draw_named
from indexer_core.cohorts.exports import dicom_json, uid_manifest
from indexer_core.cohorts.model import Cohort, Draft
from indexer_core.cohorts.wire import difference, records_of, summary
from indexer_core.cohorts.wire import whole as whole_json
from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.reader import Snapshot
from indexer_core.record_files import RECORD_COLUMNS

_ERRORS = ("manifestExpired", "notOnThisHome")
_NAME = Parameter(
    name="name", place="path", schema=COHORT_NAME, description="the cohort", required=True
)
_VERSION = Parameter(
    name="version",
    place="query",
    schema={"type": "integer", "minimum": 1, "maximum": 999_999},
    description="left out: the newest",
)
_WITH = Parameter(
    name="with", place="query", schema=COHORT_NAME, description="the other cohort", required=True
)
_WITH_VERSION = replace(_VERSION, name="withVersion")
_LEAST = Parameter(
    name="least", place="query", schema=LEAST, description="smaller counts are not told"
)


def cohort_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="cohorts",
            method="GET",
            path="/api/cohorts",
            summary="Every version of every cohort that was drawn within the caller's scopes",
            run=lambda call: _list(call, service),
            answer=COHORTS_ANSWER,
        ),
        Operation(
            name="saveCohort",
            method="POST",
            path="/api/cohorts",
            summary="Save all series that words and filters ask for, or those that are named",
            run=lambda call: _save(call, service),
            body=COHORT_BODY,
            writes=True,
            max_body_bytes=MAX_NAMES_BYTES,
            answer=COHORT_ANSWER,
            errors=("notOnThisHome",),
        ),
        Operation(
            name="cohort",
            method="GET",
            path="/api/cohorts/{name}",
            summary="A cohort: its question, attrition table and balance card",
            run=lambda call: _show(call, service),
            parameters=(_NAME, _VERSION, _LEAST),
            answer=COHORT_ANSWER,
            errors=_ERRORS,
        ),
        Operation(
            name="cohortSeries",
            method="GET",
            path="/api/cohorts/{name}/series",
            summary="The series of a cohort as its manifest had them",
            run=lambda call: _series(call, service),
            parameters=(_NAME, _VERSION, format_parameter("uids", "dicom-json")),
            answer=COHORT_SERIES_ANSWER,
            answer_types=(*FILE_TYPES, UIDS, DICOM_JSON),
            errors=_ERRORS,
        ),
        Operation(
            name="cohortNews",
            method="GET",
            path="/api/cohorts/{name}/news",
            summary="What has come, gone and changed since a cohort was drawn",
            run=lambda call: _news(call, service),
            parameters=(_NAME, _VERSION),
            answer=NEWS_ANSWER,
            errors=_ERRORS,
        ),
        Operation(
            name="cohortDifference",
            method="GET",
            path="/api/cohorts/{name}/difference",
            summary="What lies between a cohort and another one, or another version of it",
            run=lambda call: _difference(call, service),
            parameters=(_NAME, _VERSION, _WITH, _WITH_VERSION),
            answer=NEWS_ANSWER,
            errors=_ERRORS,
        ),
    )


def _named(call: Call, service: Service) -> Cohort:
    """The cohort of the path, in the version that is asked for."""
    return _open_to(call, service, call.values["name"], call.values["version"])


def _open_to(call: Call, service: Service, name: str, version: int | None) -> Cohort:
    """A version of a cohort, or the newest that is open to the caller."""
    versions = service.cohorts.versions(name)[::-1] if version is None else [version]
    for number in versions:
        try:
            found = service.cohorts.load(name, number)
        except NotFoundError:
            continue  # deleted, or never there
        if found.may_be_seen_in(call.caller.scopes):
            return found
    raise ApiError("notFound", "no cohort that is open to this caller has that name and version")


def _list(call: Call, service: Service) -> Answer:
    found = service.cohorts.all(with_damaged=False)  # which `verify` names
    value = [summary(each) for each in found if each.may_be_seen_in(call.caller.scopes)]
    return Answer(value={"value": value, "nextLink": None})


def _save(call: Call, service: Service) -> Answer:
    asked = call.body
    uids, text = asked.get("uids"), asked.get("text", "")
    met = conditions(call, asked.get("filters"), asked.get("withUnknown"))
    if uids is not None and (met.filters or met.with_unknown):
        raise InvalidInputError("uids name the series: leave filters and withUnknown out")
    if uids is None and not (text.strip() or met.filters):
        raise InvalidInputError("say which series: give text, filters or uids")
    today = datetime.fromtimestamp(service.now_s(), UTC).date()
    question = None if uids else ask(text, met, today=today, interpret=asked.get("interpret", True))

    def drawn() -> Draft:
        snapshot = service.snapshot()
        if question is not None:
            return draw(snapshot, question)
        return draw_named(snapshot, uids, text=text, scopes=call.caller.scopes)

    with service.writing():
        # A version of a name is the next one of the last: it must be of the same projects.
        if not all(
            each.may_be_seen_in(call.caller.scopes)
            for each in service.cohorts.of_name(asked["name"])
        ):
            raise ApiError("conflict", "that name is taken: choose another one")
        saved = service.cohorts.save(
            asked["name"], drawn, purpose=asked.get("purpose", ""), created_by=call.caller.id
        )
    answer = _whole(call, service, saved)
    return replace(answer, fields=fields_of(saved.question.conditions()))


def _show(call: Call, service: Service) -> Answer:
    return _whole(call, service, _named(call, service), call.values["least"])


def _whole(call: Call, service: Service, cohort: Cohort, least: int = 0) -> Answer:
    found = whole_json(cohort, _then(service, cohort), least=least, scopes=call.caller.scopes)
    return Answer(value=found, manifest=cohort.manifest, returned=len(cohort.members))


def _then(service: Service, cohort: Cohort) -> Snapshot:
    return service.snapshot(cohort.manifest)


def _series(call: Call, service: Service) -> Answer:
    cohort = _named(call, service)
    said = [each for _, each in records_of(cohort, _then(service, cohort), call.caller.scopes)]
    match call.values["format"]:
        case "uids":
            data, kind = uid_manifest(cohort, said).encode(), UIDS
        case "dicom-json":
            data, kind = json.dumps([dicom_json(each) for each in said]).encode(), DICOM_JSON
        case _:
            found = {"value": said, "manifest": cohort.manifest, "nextLink": None}
            return records_answer(call, found, RECORD_COLUMNS)
    return Answer(value=data, content_type=kind, manifest=cohort.manifest, returned=len(said))


def _news(call: Call, service: Service) -> Answer:
    cohort = _named(call, service)
    now = service.snapshot()
    found = difference(news(cohort, then=_then(service, cohort), now=now))
    return Answer(value=found, manifest=now.manifest.number, returned=len(found["series"]))


def _difference(call: Call, service: Service) -> Answer:
    before = _named(call, service)
    after = _open_to(call, service, call.values["with"], call.values["withVersion"])
    found = difference(
        compare(
            before,
            after,
            then=_then(service, before),
            now=_then(service, after),
            hidden=service.snapshot().manifest.suppressed,
        )
    )
    return Answer(value=found, manifest=after.manifest, returned=len(found["series"]))
