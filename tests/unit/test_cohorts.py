"""Cohorts: frozen, numbered, pinned, cited by a digest, and found again as they were."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.cohorts.drawing import draw, draw_again, draw_named, hits_of
from indexer_core.cohorts.model import (
    Cohort,
    Kind,
    Member,
    Question,
    Step,
    digest_of,
    dump,
    parse,
    question_of,
)
from indexer_core.cohorts.pinned import pinned_cohorts
from indexer_core.cohorts.store import blob_name
from indexer_core.errors import CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.filters import Filter, parse_filter
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import Pins
from indexer_core.selection import Conditions
from tests.support.cohorts import CT, House, filled, keys_of, uid_of


@pytest.fixture
def house() -> House:
    return filled()


def test_a_cohort_is_loaded_as_it_was_saved_and_its_digest_proves_it(house):
    saved = house.save()
    assert keys_of(saved) == ["s1", "s2", "s3"]
    assert (saved.version, saved.kind, saved.purpose) == (1, Kind.COMPLETE, "a test")
    assert [m.series_instance_uid for m in saved.members] == [uid_of(k) for k in keys_of(saved)]
    house.add(s6={})
    assert house.cohorts().load("ct") == house.cohorts().load("ct", 1) == saved
    assert saved.is_as_saved
    for change in (
        {"members": saved.members[1:]},
        {"attrition": ()},
        {"manifest": 99},
        {"name": "other"},
        {"question": replace(saved.question, filters=())},
    ):
        assert not replace(saved, **change).is_as_saved


def test_every_save_is_another_version_of_the_name(house):
    for version in (1, 2, 3):
        assert house.save().version == version
    assert house.save("other").version == 1
    assert [c.title for c in house.cohorts().all()] == ["ct@1", "ct@2", "ct@3", "other@1"]
    assert house.cohorts().load("ct").version == 3
    assert pinned_cohorts(house.newest) == {"ct": (1, 2, 3), "other": (1,)}


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a.b", "a@1", "x" * 49, "é", "a\n"])
def test_odd_names_are_refused(house, name):
    with pytest.raises(InvalidInputError, match="letters, digits"):
        house.save(name)
    with pytest.raises(InvalidInputError, match="letters, digits"):
        house.cohorts().load(name)


def test_the_longest_name_can_be_pinned(house):
    saved = house.save("x" * 48)
    assert house.pins() == {f"cohort:{'x' * 48}:1": saved.manifest}


def test_a_cohort_keeps_its_manifest_for_as_long_as_it_is_there(house):
    saved = house.save()
    for number in range(12):
        house.add(**{f"s{100 + number}": {}})
    house.clock.advance(1e7)
    collector = Collector(house.blobs, house.clock, house.ids)
    policy = RetentionPolicy(keep_s=0.0, keep_newest=1, grace_s=0.0)
    assert collector.collect(policy).n_expired > 0
    assert [hit.key for hit in hits_of(house.at(saved.manifest), saved)] == keys_of(saved)
    house.cohorts().delete("ct")
    for number in range(12):
        house.add(**{f"s{200 + number}": {}})
    house.clock.advance(1e7)
    collector.collect(policy)
    assert not isinstance(Manifests(house.blobs).read(saved.manifest), Manifest)


def test_a_deleted_version_is_never_given_again(house):
    for _ in range(2):
        house.save()
    assert house.cohorts().delete("ct", 2) == 1
    assert house.cohorts().load("ct").version == 1
    assert house.save().version == 3
    with pytest.raises(NotFoundError, match="ct@2 was deleted"):
        house.cohorts().load("ct", 2)
    assert house.cohorts().delete("ct") == 2
    assert house.pins() == {}
    for version in (None, 1, 9):
        with pytest.raises(NotFoundError):
            house.cohorts().load("ct", version)
        with pytest.raises(NotFoundError):
            house.cohorts().delete("ct", version)
    assert house.save().version == 4
    assert house.traces("s1") == [blob_name("ct", 4)]


def test_pins_of_cohorts_are_not_for_others(house):
    saved = house.save()
    pins = Pins(Manifests(house.blobs), house.clock, house.ids)
    with pytest.raises(InvalidInputError, match="cohort delete ct@1"):
        pins.unpin("cohort:ct:1")
    with pytest.raises(InvalidInputError, match="saved cohorts"):
        pins.pin("cohort:mine", 1)
    assert house.pins() == {"cohort:ct:1": saved.manifest}


def test_a_deleted_series_is_in_no_cohort_that_is_saved_and_out_of_those_that_were(house):
    saved = house.save()
    house.delete("s2")
    assert [hit.key for hit in hits_of(house.at(saved.manifest), saved)] == ["s1", "s3"]
    assert keys_of(house.save()) == ["s1", "s3"]
    house.restore("s2")
    assert [hit.key for hit in hits_of(house.at(saved.manifest), saved)] == ["s1", "s2", "s3"]


def test_only_series_of_the_scopes_that_one_may_see_are_shown(house):
    house.add(s7={"scope": "elsewhere"})
    saved = house.save()
    snapshot = house.at(saved.manifest)
    shown = [hit.key for hit in hits_of(snapshot, saved, frozenset({"elsewhere"}))]
    assert shown == ["s7"]
    assert list(hits_of(snapshot, saved, frozenset())) == []


def test_a_cohort_is_for_those_who_may_see_all_scopes_that_it_was_drawn_from(house):
    everywhere = house.save()
    assert everywhere.may_be_seen_in(None)
    assert not everywhere.may_be_seen_in(frozenset({"inbox", "elsewhere"}))
    drawn = house.save("inbox", replace(CT, scopes=("inbox",)))
    assert drawn.may_be_seen_in(None)
    assert drawn.may_be_seen_in(frozenset({"inbox", "elsewhere"}))
    assert not drawn.may_be_seen_in(frozenset({"elsewhere"}))


def test_attrition_counts_what_every_condition_leaves_and_what_it_loses_to_the_unknown(house):
    drawn = draw(house.snapshot(), Question(filters=("modality=CT", "sex=F", "sex!=M")))
    assert drawn.attrition == (
        Step(label="series in the index", n_left=5),
        Step(label="modality=CT", n_left=3, n_unknown=1),
        # s3, once: the second condition on sex could not have left it out again.
        Step(label="sex=F", n_left=1, n_unknown=1),
        Step(label="sex!=M", n_left=1),
    )
    asked = Question(
        filters=("modality=CT",), alternatives=(("sex=F",), ("sex=M",)), with_unknown=("modality",)
    )
    drawn = draw(house.snapshot(), asked)
    assert drawn.attrition[1:] == (
        Step(label="modality=CT", n_left=4),
        Step(label="sex=F or sex=M", n_left=2, n_unknown=2),
    )
    assert draw(house.snapshot(), Question(scopes=())).attrition == (
        Step(label="series in these scopes", n_left=0),
    )


def test_series_named_one_by_one_are_found_by_uid_or_key(house):
    drawn = draw_named(house.snapshot(), [uid_of("s4"), "s1", "1.9.9"])
    assert (keys_of(drawn), drawn.kind) == (["s1", "s4"], Kind.UIDS)
    assert [(step.label, step.n_left) for step in drawn.attrition] == [
        ("series in the index", 5),
        ("named one by one, by 3 names", 2),
    ]
    with pytest.raises(NotFoundError):
        draw_named(house.snapshot(), [uid_of("s4")], scopes=frozenset({"elsewhere"}))
    saved = house.cohorts().save("named", lambda: drawn)
    house.add(revision=2, alive=False, s4={})
    again = draw_again(house.snapshot(), saved)
    assert (keys_of(again), again.manifest) == (["s1"], house.newest.number)


def test_a_damaged_or_misplaced_cohort_is_told_by_name(house):
    house.save()
    name = blob_name("ct", 1)
    stored = house.blobs.get(name).data
    house.blobs.overwrite(name, stored.replace(b"modality=CT", b"modality=MR"))
    with pytest.raises(CorruptIndexError, match=name):
        house.cohorts().load("ct")
    house.blobs.overwrite(name, stored)
    house.blobs.put_if_absent(blob_name("copy", 1), stored)
    with pytest.raises(CorruptIndexError, match="another cohort"):
        house.cohorts().load("copy")


def test_a_text_or_purpose_that_is_too_long_is_refused(house):
    with pytest.raises(InvalidInputError, match="2000"):
        draw_named(house.snapshot(), ["s1"], text="x" * 2001)
    with pytest.raises(InvalidInputError, match="2000"):
        house.cohorts().save("a", lambda: draw(house.snapshot(), CT), purpose="x" * 2001)


def test_a_filter_that_cannot_be_written_down_is_refused():
    odd = Filter(field="model", operator="=", values=("a,b",))
    with pytest.raises(InvalidInputError, match="comma"):
        question_of(Conditions(filters=(odd,)))
    with pytest.raises(InvalidInputError, match="more than 2000"):
        question_of(Conditions(), "x" * 2001)


_FILTERS = st.sampled_from(["modality=CT", "sex!=F", "ageYears>=60", "plane=axial,coronal"])


@given(
    filters=st.lists(_FILTERS, max_size=3),
    alternatives=st.lists(st.lists(_FILTERS, min_size=1, max_size=2), max_size=2),
    with_unknown=st.sets(st.sampled_from(["sex", "ageYears"])),
    scopes=st.none() | st.sets(st.text(max_size=3), max_size=2),
    text=st.text(max_size=20),
    keys=st.sets(st.text(max_size=4), max_size=4),
)
def test_questions_and_cohorts_are_read_as_they_were_written(
    filters, alternatives, with_unknown, scopes, text, keys
):
    conditions = Conditions(
        filters=tuple(map(parse_filter, filters)),
        alternatives=tuple(tuple(map(parse_filter, branch)) for branch in alternatives),
        with_unknown=frozenset(with_unknown),
        scopes=None if scopes is None else frozenset(scopes),
    )
    question = question_of(conditions, text)
    assert question.conditions() == conditions
    cohort = Cohort(
        kind=Kind.COMPLETE,
        question=question,
        manifest=3,
        members=tuple(
            Member(series_key=key, series_instance_uid=key, study_instance_uid="1")
            for key in sorted(keys)
        ),
        attrition=(Step(label=text, n_left=2, n_unknown=1),),
        name="a",
        version=1,
        save_id="0",
        created_s=1.5,
    )
    cohort = replace(cohort, digest=digest_of(cohort))
    read = parse(dump(cohort), "cohort")
    assert read == cohort
    assert read.is_as_saved


def test_what_is_saved_does_not_depend_on_how_the_question_was_built(house):
    conditions = Conditions(filters=(parse_filter("modality = CT"),))
    assert draw(house.snapshot(), question_of(conditions, CT.text)) == draw(house.snapshot(), CT)


def test_digests_that_were_cited_stay_what_they_are():
    """Of format 1, whatever fields come later."""
    cohort = Cohort(
        kind=Kind.COMPLETE,
        question=Question(
            text="MR of women",
            rest="hydrocephalus",
            filters=("modality=MR",),
            alternatives=(("sex=F",), ("sex=O",)),
            with_unknown=("ageYears",),
            scopes=("inbox",),
        ),
        manifest=120,
        members=(Member(series_key="k", series_instance_uid="1.2.3", study_instance_uid="1.2"),),
        attrition=(Step(label="series in these scopes", n_left=7, n_unknown=0),),
        name="women",
        version=3,
        save_id="018f",
        created_s=1790000000.5,
        created_by="somebody",
        purpose="a paper",
    )
    assert digest_of(cohort) == "2e609b1a60b5d4491776de89d5392fdaa2df6f550b37c3aa16b89db0d8d490bd"
    stored = dump(replace(cohort, digest=digest_of(cohort)))
    assert hashlib.sha256(stored).hexdigest().startswith("99a862a1a81d6856")
