"""Instance facts to series facts, their JSON, and the identifiers they stand under."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core import geometry
from indexer_core.errors import CorruptIndexError
from indexer_core.facts import (
    Finding,
    InstanceFacts,
    instance_from_json,
    series_from_json,
    to_json,
)
from indexer_core.header import BytesSource, read_header
from indexer_core.series import aggregate
from indexer_core.uids import (
    derived_uid,
    instance_key,
    patient_key,
    series_key,
    usable_uid,
    valid_uid,
)
from tests.conftest import ROOT

FORMATS = ROOT / "tests" / "formats"
AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)


def instance(number, position=None, *, sop=None, flags=(), patient="p", **attributes):
    return InstanceFacts(
        sop_instance_uid=sop or f"1.2.{number}",
        series_instance_uid="1.2.3.1",
        study_instance_uid="1.2.3",
        sop_class_uid=attributes.pop("sop_class", "1.2.840.10008.5.1.4.1.1.4"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient_key=patient,
        frames=attributes.pop("frames", 1),
        has_pixels=True,
        attributes={"Modality": "MR", "InstanceNumber": number, "Rows": 4, "Columns": 4}
        | attributes,
        position_mm=position,
        flags=flags,
    )


def stack(positions):
    return [
        (f"https://a/{index}", instance(index, position, ImageOrientationPatient=AXIAL))
        for index, position in enumerate(positions, 1)
    ]


def test_a_regular_stack_has_no_conflicts():
    series = aggregate("ward", stack([0.0, 3.0, 6.0, 9.0]))
    assert series.flags == ()
    assert (series.instances, series.frames, series.planes) == (4, 4, {"axial": 4})
    assert series.attributes["Modality"] == (("MR", 4),)
    assert "InstanceNumber" not in series.attributes
    assert series.patient_keys == ("p",)


entries = st.builds(
    lambda number, url, modality, echo, orientation, position: (
        f"https://a/{url}",
        instance(
            number,
            position,
            Modality=modality,
            EchoTime=echo,
            ImageOrientationPatient=orientation,
        ),
    ),
    st.integers(1, 5),
    st.integers(0, 50),
    st.sampled_from(["MR", "CT"]),
    st.sampled_from([10, 20.5, (10, 20)]),
    st.sampled_from([AXIAL, CORONAL, SAGITTAL]),
    st.sampled_from([None, 0.0, 3.0, 30.0]),
)


@given(st.lists(entries, min_size=1, max_size=12, unique_by=lambda entry: entry[0]), st.randoms())
def test_the_order_of_instances_does_not_matter(instances, random):
    shuffled = list(instances)
    random.shuffle(shuffled)
    assert aggregate("ward", shuffled) == aggregate("ward", instances)


def test_of_two_blobs_with_one_sop_instance_the_smaller_key_is_used():
    urls = sorted(["https://a/1", "https://a/2"], key=instance_key)
    one = (urls[0], instance(1, sop="1.2.9", EchoTime=10))
    other = (urls[1], instance(1, sop="1.2.9", EchoTime=20))
    series = aggregate("ward", [other, one])
    assert series.instances == 1
    assert series.attributes["EchoTime"] == ((10, 1),)
    assert series.flags == ("duplicateInstances",)


@pytest.mark.parametrize(
    ("different", "flag"),
    [
        ({"Modality": "SR"}, "mixedModality"),
        ({"patient": "q"}, "mixedPatient"),
        ({"ImageOrientationPatient": SAGITTAL}, "mixedOrientation"),
        ({"Rows": 5}, "mixedMatrix"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, "mixedSopClass"),
        ({"flags": ("burnedInRisk",)}, "burnedInRisk"),
    ],
)
def test_conflicts_are_flagged_and_kept(different, flag):
    common = instance(1, ImageOrientationPatient=AXIAL)
    other = instance(2, **({"ImageOrientationPatient": AXIAL} | different))
    series = aggregate("ward", [("u1", common), ("u2", other)])
    assert series.flags == (flag,)


def test_noise_in_direction_cosines_is_no_mixed_orientation():
    noisy = (1.0, 0.0002, 0, 0, 1.0, 0.0001)
    one, other = (instance(n, ImageOrientationPatient=v) for n, v in ((1, AXIAL), (2, noisy)))
    assert aggregate("ward", [("u1", one), ("u2", other)]).flags == ()


@pytest.mark.parametrize(
    ("positions", "n_gaps"),
    [
        ([0.0, 3.0, 6.0, 9.0], 0),
        ([0.0, 3.0, 9.0, 12.0, 21.0], 2),
        ([0.0, 0.0, 3.0, 3.0, 6.0, 6.0], 0),
        ([0.0, 100.0], 0),
        ([5.0], 0),
    ],
)
def test_gaps_between_positions_are_counted(positions, n_gaps):
    series = aggregate("ward", stack(positions))
    assert series.n_slice_gaps == n_gaps
    assert ("sliceGap" in series.flags) == (n_gaps > 0)


def test_gaps_in_instance_numbers_count_where_there_are_no_positions():
    numbered = [(f"u{number}", instance(number)) for number in (1, 2, 3, 7, 8)]
    assert aggregate("ward", numbered).n_slice_gaps == 1


def test_frames_of_one_object_count_by_plane():
    both = instance(
        1, ImageOrientationPatient=AXIAL + CORONAL, FramesPerOrientation=(5, 2), frames=7
    )
    assert aggregate("ward", [("u", both)]).planes == {"axial": 5, "coronal": 2}


def test_at_most_16_values_are_kept_most_frequent_first():
    many = [(f"u{n}", instance(n, EchoTime=max(n, 20))) for n in range(1, 41)]
    values = aggregate("ward", many).attributes["EchoTime"]
    assert len(values) == 16
    assert values[:2] == ((20, 20), (21, 1))


def test_a_series_without_instances_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        aggregate("ward", [])


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        (AXIAL, "axial"),
        (CORONAL, "coronal"),
        (SAGITTAL, "sagittal"),
        ((1, 0, 0, 0, 0.9397, 0.342), "axial"),
        ((1, 0, 0, 0, 0.7071, 0.7071), "oblique"),
        ((1, 0, 0, 1, 0, 0), None),
        ((0, 0, 0, 0, 0, 0), None),
        ((1, 0, 0), None),
    ],
)
def test_planes_follow_the_normal(orientation, name):
    assert geometry.plane(orientation) == name


def test_positions_run_along_the_normal():
    assert geometry.position_mm(AXIAL, (10, 20, 30.5)) == 30.5
    assert geometry.position_mm(SAGITTAL, (10, 20, 30)) == -10
    assert geometry.position_mm(AXIAL, (1, 2)) is None


def test_facts_come_back_from_json_as_they_were():
    entries = stack([0.0, 3.0])
    facts = entries[0][1]
    series = aggregate("ward", entries)
    assert instance_from_json(json.loads(json.dumps(to_json(facts)))) == facts
    assert series_from_json(json.loads(json.dumps(to_json(series)))) == series


def test_findings_come_back_and_only_they_need_the_newer_format():
    series = aggregate("ward", stack([0.0, 3.0]))
    found = Finding(
        field="plane",
        value="axial",
        confidence=0.75,
        source="model:m",
        scores=(("axial", 0.75), ("coronal", 0.2)),
        n_slices=3,
        n_agreeing=2,
        labels="abc",
    )
    seen = replace(series, findings=(found,))
    stored = json.loads(json.dumps(to_json(seen)))
    assert series_from_json(stored) == seen
    assert (to_json(series)["format_version"], stored["format_version"]) == (1, 2)
    assert "findings" not in to_json(series)
    with pytest.raises(CorruptIndexError):
        series_from_json({**stored, "format_version": 1, "surprise": 1})


def test_facts_of_both_formats_are_read_as_they_were_written():
    one, two = (
        series_from_json(json.loads((FORMATS / f"facts-v{version}.json").read_text()))
        for version in (1, 2)
    )
    assert one.attributes == {
        "Modality": (("CT", 2),),
        "ImageType": ((("ORIGINAL", "PRIMARY"), 2),),
    }
    assert one.findings == ()
    assert [(found.field, found.value, found.scores[0]) for found in two.findings] == [
        ("bodyRegion", "head", ("head", 0.9)),
        ("plane", "unknown", ("axial", 0.5)),
    ]
    assert replace(two, findings=()) == one
    for version, facts in ((1, one), (2, two)):
        stored = json.loads((FORMATS / f"facts-v{version}.json").read_text())
        assert json.loads(json.dumps(to_json(facts))) == stored


@pytest.mark.parametrize("change", [{"format_version": 99}, {"surprise": 1}])
def test_facts_of_another_format_are_refused(change):
    document = to_json(instance(1)) | change
    with pytest.raises(CorruptIndexError):
        instance_from_json(document)


def test_derived_uids_are_valid_and_fixed_for_all_time():
    assert derived_uid(b"series:1.2.3") == derived_uid(b"series:1.2.3")
    assert derived_uid(b"series:1.2.3") == "2.25.324607505624353760473240167001601254923"
    assert valid_uid(derived_uid(b""))


@pytest.mark.parametrize("text", ["1.2.840", "0.1", "2.25.1"])
def test_valid_uids(text):
    assert valid_uid(text)
    assert usable_uid(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1.02", "1..2", "a.b", "1.2\n", "1." + "2" * 63, "1.\u0663"]
)
def test_invalid_uids(text):
    assert not valid_uid(text)


@pytest.mark.parametrize("text", ["", "../x", "a b", "x" * 65, "\u0663"])
def test_texts_that_cannot_serve_as_identifiers(text):
    assert not usable_uid(text)


@given(st.tuples(*[st.text(max_size=8)] * 3), st.tuples(*[st.text(max_size=8)] * 3))
def test_different_series_have_different_keys(one, other):
    assert (series_key(*one) == series_key(*other)) == (one == other)


def test_patient_keys_are_keyed_and_empty_without_an_id():
    assert patient_key(b"a", "", "") == ""
    assert patient_key(b"a", "X", "1") != patient_key(b"b", "X", "1")
    assert re.fullmatch(r"[0-9a-f]{64}", patient_key(b"a", "X", "1"))


def test_the_long_sample_series_are_whole_and_alike(samples):
    folder = samples / "FNNDSC__SAG-anon"
    read = [
        (path.name, read_header(BytesSource(path.read_bytes()), b"s"))
        for path in sorted(folder.rglob("*.dcm"))
    ]
    assert all(isinstance(facts, InstanceFacts) for _, facts in read)
    series = aggregate("ward", read)
    assert series.instances == 78
    assert series.planes == {"sagittal": 78}
    assert series.n_slice_gaps == 0
    assert series.flags == ()
