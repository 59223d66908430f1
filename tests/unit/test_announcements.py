"""What is announced, when, and that nothing of a patient is in it."""

import json

import pytest

from indexer_core.announcements import (
    AnnouncementType,
    projection_published,
    series_indexed,
    series_rejected,
    series_removed,
    to_cloud_event,
)
from indexer_core.errors import UnavailableError
from indexer_core.testing.faults import PassThrough
from tests.support.house import QUIET_S
from tests.support.pipeline import Announced, Pipeline, slice_of

PLANTED = ("Plantedname", "planted-patient-id-4711", "planted-folder", "Abdomen")


class Recorder(PassThrough):
    """Notes every write by name, and what is announced, in the order in which they happen."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def write(self, operation, call):
        answer = call()
        self.order.append(operation)
        return answer

    def announce(self, announcements):
        self.order.extend(announcement.type.value for announcement in announcements)


class Deaf(Announced):
    """Fails as often as it is told to."""

    def __init__(self, n_failures: int) -> None:
        super().__init__()
        self.n_failures = n_failures
        self.n_tries = 0

    def announce(self, announcements):
        if announcements:
            self.n_tries += 1
            if self.n_tries <= self.n_failures:
                raise UnavailableError("the topic does not answer")
        super().announce(announcements)


def settle(house: Pipeline, process) -> None:
    for _ in range(3):
        process.drain()
        house.clock.advance(QUIET_S + 1)
    process.drain()


def types(house: Pipeline) -> list[AnnouncementType]:
    return [announcement.type for announcement in house.announcer.all]


@pytest.fixture
def house() -> Pipeline:
    return Pipeline()


def until_ready(house: Pipeline, **slice_) -> None:
    """A series on its way to the worker."""
    house.upload("planted-folder/1", slice_of(**slice_))
    process = house.process()
    process.events()
    house.clock.advance(QUIET_S + 1)
    process.checks()


def test_series_is_announced_after_the_commit_and_before_the_acknowledgement(house):
    until_ready(house, series="a")
    recorder = Recorder()
    house.announcer = recorder
    house.process(recorder).work()
    announced = recorder.order.index(AnnouncementType.SERIES_INDEXED)
    commits = [i for i, name in enumerate(recorder.order) if name == "blobs.put_if_absent"]
    acknowledged = recorder.order.index("queue.delete")
    assert max(commits) < announced < acknowledged


def test_announcement_that_fails_brings_the_message_back_and_commits_nothing_twice(house):
    until_ready(house, series="a")
    house.announcer = Deaf(1)
    with pytest.raises(UnavailableError):
        house.process().work()
    assert house.queues["ready"].length() == 1
    n_commits = house.n_commits()
    house.clock.advance(61.0)
    report = house.process().work()
    assert list(report.outcomes.values()) == ["done"]
    assert house.n_commits() == n_commits
    assert types(house) == [AnnouncementType.SERIES_INDEXED]
    assert house.queues["ready"].length() == 0


def test_removal_whose_announcement_fails_is_announced_by_the_next_check(house):
    house.upload("1", slice_of(series="sr", pixels=False))
    settle(house, house.process())
    assert types(house) == [AnnouncementType.SERIES_INDEXED]
    house.announcer = Deaf(1)
    house.remove("1")
    process = house.process()
    process.events()
    house.clock.advance(QUIET_S + 1)
    with pytest.raises(UnavailableError):
        process.checks()
    n_commits = house.n_commits()
    house.clock.advance(61.0)
    settle(house, house.process())
    assert types(house) == [AnnouncementType.SERIES_REMOVED]
    assert house.n_commits() == n_commits
    assert not house.live()


def test_redelivery_announces_the_same_thing_under_the_same_id(house):
    until_ready(house, series="a")
    (message,) = house.queues["ready"].receive(1, 0.0)
    body = message.body
    house.process().work()
    house.upload("2", slice_of(series="b"))  # another manifest in between
    settle(house, house.process())
    house.queues["ready"].send(body)
    house.process().work()
    first, *_, last = [a for a in house.announcer.all if a.data["seriesKey"] in body]
    assert first is not last
    assert first.data["manifest"] < last.data["manifest"]
    assert first.id == last.id


def test_revisions_and_types_have_ids_of_their_own():
    announcements = [
        series_indexed("s", 1, "d", 7),
        series_indexed("s", 2, "d", 7),
        series_indexed("s", 1, "e", 7),
        series_indexed("t", 1, "d", 7),
        series_removed("s", 1, 7),
        series_removed("s", 2, 7),
        series_rejected("s", 1, "poison"),
        projection_published("v1", 7),
        projection_published("v2", 7),
    ]
    assert len({announcement.id for announcement in announcements}) == len(announcements)


def test_poison_is_announced_once_it_is_set_aside(house):
    def refuse(stacks):
        raise ValueError("Plantedname^Gundula")

    house.image_encoder.before = refuse
    until_ready(house, series="a")
    for _ in range(6):
        house.process().work()
        house.clock.advance(61.0)
    assert types(house) == [AnnouncementType.SERIES_REJECTED]
    assert house.announcer.all[0].data["code"] == "poison"
    assert house.queues["poison"].length() == 1


def test_no_announcement_holds_anything_of_a_patient(house):
    until_ready(house, series="a", PatientName="Plantedname^Gundula")
    house.process().work()
    house.remove("planted-folder/1")
    settle(house, house.process())
    assert set(types(house)) == {AnnouncementType.SERIES_INDEXED, AnnouncementType.SERIES_REMOVED}
    text = json.dumps([to_cloud_event(one, 0.0) for one in house.announcer.all])
    for value in PLANTED:
        assert value not in text
    for announcement in house.announcer.all:
        assert set(announcement.data) <= {"seriesKey", "revision", "digest", "manifest"}


def test_types_are_append_only():
    assert [kind.value for kind in AnnouncementType][:4] == [
        "DicomIndexer.SeriesIndexed",
        "DicomIndexer.SeriesRemoved",
        "DicomIndexer.SeriesRejected",
        "DicomIndexer.ProjectionPublished",
    ]


def test_published_projection_is_told_by_its_version():
    event = to_cloud_event(projection_published("p7", 12), 0.0)
    assert event["type"] == "DicomIndexer.ProjectionPublished"
    assert event["subject"] == "projection/p7"
    assert event["data"] == {"version": "p7", "manifest": 12}
