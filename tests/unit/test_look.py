"""Looks: what the rows say after each, and which requests a look makes."""

import pytest

from indexer_core.testing.faults import FaultPlan, RequestCounts, SimulatedCrash, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import House

X, Y = (series_key("inbox", uid("study"), uid("study", name)) for name in "xy")


@pytest.fixture
def house():
    return House()


def look(house, name="1.dcm", plan=None, sequencer=None):
    return house.program(plan).look(house.url(name), sequencer)


def instances(house, series):
    return [row for row in house.instances.query(series) if row.key != "_series"]


def test_a_look_elsewhere_fetches_nothing(house):
    assert house.program().look("https://elsewhere.example/1.dcm").outcome == "foreign"
    assert list(house.blobs.scan()) == []


def test_a_new_blob_is_changed_and_then_unchanged(house):
    house.inbox.overwrite("1.dcm", dicom_object(series="x"))
    assert (look(house).outcome, look(house).outcome) == ("changed", "unchanged")
    assert len(instances(house, X)) == 1


def test_a_stale_event_is_dropped_and_a_later_one_is_not(house):
    house.inbox.overwrite("1.dcm", dicom_object(series="x"))
    assert look(house, sequencer="0B").outcome == "changed"
    house.inbox.overwrite("1.dcm", dicom_object(series="x", value=1))
    assert look(house, sequencer="0A").outcome == "stale"
    assert look(house, sequencer="00C").outcome == "changed"


def test_the_same_bytes_again_change_no_digest(house):
    data = dicom_object(series="x")
    house.inbox.overwrite("1.dcm", data)
    look(house)
    [before] = instances(house, X)
    house.inbox.overwrite("1.dcm", data)
    look(house)
    [after] = instances(house, X)
    assert before.values["content"] == after.values["content"]
    assert before.values["etag"] != after.values["etag"]


@pytest.mark.parametrize("then", ["gone", "junk", "moved"])
def test_a_blob_leaves_no_row_in_the_series_that_it_left(house, then):
    house.inbox.overwrite("1.dcm", dicom_object(series="x"))
    look(house)
    if then == "gone":
        house.inbox.delete("1.dcm")
    else:
        data = b"junk" if then == "junk" else dicom_object(series="y")
        house.inbox.overwrite("1.dcm", data)
    outcome = look(house).outcome
    assert outcome == {"gone": "gone", "junk": "rejected", "moved": "changed"}[then]
    assert instances(house, X) == []
    assert len(instances(house, Y)) == (then == "moved")
    assert len(list(house.rejects.scan())) == (then == "junk")


def test_a_reject_heals_whatever_write_of_the_healing_look_is_the_last(house):
    quiet = FaultPlan()
    house.inbox.overwrite("1.dcm", b"junk")
    look(house)
    house.inbox.overwrite("1.dcm", dicom_object(series="x"))
    look(house, plan=quiet)
    for at in range(1, quiet.n_writes + 1):
        other = House()
        other.inbox.overwrite("1.dcm", b"junk")
        look(other)
        other.inbox.overwrite("1.dcm", dicom_object(series="x"))
        with pytest.raises(SimulatedCrash):
            look(other, plan=FaultPlan(at, WriteFault.CRASH_BEFORE))
        look(other)
        assert list(other.rejects.scan()) == []
        assert len(instances(other, X)) == 1


def test_an_archived_blob_heals_when_it_is_rehydrated(house):
    data = dicom_object(series="x")
    house.inbox.overwrite("1.dcm", data, archived=True)
    assert look(house).reason == "archived"
    house.inbox.overwrite("1.dcm", data)
    assert look(house).outcome == "changed"
    assert list(house.rejects.scan()) == []


def test_an_unchanged_blob_costs_no_write(house):
    house.inbox.overwrite("1.dcm", dicom_object(series="x"))
    look(house)
    counts = RequestCounts()
    look(house, plan=counts)
    writes = {name for name in counts.requests if name.split(".")[1] not in ("get", "query")}
    assert writes == set()
