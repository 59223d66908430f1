"""Header bytes to facts, on the public samples and on objects written for the purpose."""

import io
import json
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from indexer_core.facts import InstanceFacts, instance_from_json, to_json
from indexer_core.header import BytesSource, Rejected, RejectReason, read_header

SECRET = b"test"
MR, ENHANCED_MR, SEG, SR = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "4.1", "66.4", "88.33")
)
NOT_OBJECTS = ("MANIFEST.csv", "LICENSES.md", "README.md")


@dataclass
class CountingSource:
    data: bytes
    requests: list = field(default_factory=list)

    @property
    def size_bytes(self):
        return len(self.data)

    def read(self, offset, length):
        self.requests.append((offset, length))
        return self.data[offset : offset + length]


def dataset(**values):
    header = Dataset()
    header.SOPClassUID = MR
    header.SOPInstanceUID = "1.2.3.4"
    header.StudyInstanceUID = "1.2.3"
    header.SeriesInstanceUID = "1.2.3.1"
    header.Modality = "MR"
    header.Rows, header.Columns = 4, 4
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


def encoded(header, syntax=ExplicitVRLittleEndian, pixels=b"\0" * 32):
    if pixels is not None:
        header.BitsAllocated = 16
        header.add_new(0x7FE00010, "OW", pixels)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.file_meta.MediaStorageSOPClassUID = header.get("SOPClassUID", MR)
    header.file_meta.MediaStorageSOPInstanceUID = header.get("SOPInstanceUID", "1.2.9")
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def read(data):
    return read_header(BytesSource(data), SECRET)


def sample_files(samples):
    return [p for p in sorted(samples.rglob("*")) if p.is_file() and p.name not in NOT_OBJECTS]


def sample(samples, name):
    return next(iter(sorted(samples.rglob(name)))).read_bytes()


def test_every_sample_ends_as_facts_or_as_a_reject_with_a_reason(samples):
    outcomes = Counter()
    rejected = {}
    for path in sample_files(samples):
        outcome = read(path.read_bytes())
        if isinstance(outcome, Rejected):
            outcomes[outcome.reason] += 1
            rejected[path.name] = outcome.reason
        else:
            outcomes["facts"] += 1
            text = json.dumps(to_json(outcome), allow_nan=False)
            assert len(text) < 32 * 1024
            assert instance_from_json(json.loads(text)) == outcome
    print(dict(outcomes))  # noqa: T201 - shown by pytest -s
    assert outcomes == {
        "facts": 724,
        RejectReason.DIRECTORY: 13,
        RejectReason.NO_IDENTITY: 1,
        RejectReason.NOT_DICOM: 1,
    }
    # A single Image Type and nothing else; a data set behind one stray byte.
    assert rejected["empty_charset_LEI.dcm"] is RejectReason.NO_IDENTITY
    assert rejected["no_meta.dcm"] is RejectReason.NOT_DICOM


def test_samples_read_as_pydicom_reads_them(samples):
    numbers = ("Rows", "Columns", "EchoTime", "RepetitionTime", "SliceThickness", "KVP")
    texts = ("Modality", "BodyPartExamined", "MRAcquisitionType", "PhotometricInterpretation")
    compared = Counter()
    for path in sample_files(samples):
        facts = read(path.read_bytes())
        if isinstance(facts, Rejected):
            continue
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        for keyword in numbers:
            if header.get(keyword) not in (None, ""):
                expected = pytest.approx(float(header.get(keyword)), rel=1e-6)
                assert facts.attributes[keyword] == expected, (path.name, keyword)
                compared[keyword] += 1
        for keyword in texts:
            if header.get(keyword):
                assert facts.attributes[keyword] == header.get(keyword).strip(), path.name
                compared[keyword] += 1
        if header.get("SeriesInstanceUID"):
            assert facts.series_instance_uid == header.SeriesInstanceUID
    assert len(compared) == len(numbers) + len(texts)


def test_nearly_all_classic_samples_take_one_request_of_64_kib(samples):
    one, classic = 0, 0
    for path in sample_files(samples):
        source = CountingSource(path.read_bytes())
        outcome = read_header(source, SECRET)
        assert source.requests[0][0] == 0
        assert source.requests[0][1] <= 64 * 1024
        if isinstance(outcome, InstanceFacts) and "5200" not in outcome.sop_class_uid:
            classic += 1
            one += len(source.requests) == 1
    assert one / classic >= 0.98


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RejectReason.EMPTY_FILE),
        (b"x", RejectReason.NOT_DICOM),
        (b'{"resourceType": "Patient", "id": "1"}' * 9, RejectReason.NOT_DICOM),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 200, RejectReason.NOT_DICOM),
        (b"PK\x03\x04" + b"\0" * 200, RejectReason.NOT_DICOM),
        (b"\0" * 500, RejectReason.NOT_DICOM),
        (b"\0" * 128 + b"DICM", RejectReason.NO_IDENTITY),
        (b"\0" * 128 + b"DICM\x02\x00\x10\x00UI", RejectReason.TRUNCATED),
    ],
)
def test_what_is_not_a_dicom_object_is_rejected_with_its_reason(data, reason):
    outcome = read(data)
    assert outcome == Rejected(reason)
    assert outcome.sentence


def test_a_header_cut_before_its_identifying_tags_says_so():
    element = b"\x08\x00\x08\x00CS\x40\x00ORIGINAL"
    assert read(b"\0" * 128 + b"DICM" + element) == Rejected(RejectReason.TRUNCATED)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_native_transfer_syntax_gives_the_same_facts(syntax):
    header = dataset(
        SeriesDescription="AX T2",
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[0, 0, 12.5],
        DiffusionBValue=1000.0,
    )
    facts = read(encoded(header, syntax))
    assert facts.transfer_syntax_uid == syntax
    assert facts.attributes["SeriesDescription"] == "AX T2"
    assert facts.attributes["DiffusionBValue"] == 1000
    assert facts.attributes["Rows"] == 4
    assert facts.position_mm == 12.5
    assert facts.has_pixels
    assert facts.flags == ()


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_a_bare_data_set_shows_its_own_encoding(syntax):
    data = encoded(dataset(), syntax)
    meta_length = int.from_bytes(data[140:144], "little")
    facts = read(data[144 + meta_length :])
    assert facts.flags == ("noPreamble", "noTransferSyntax")
    assert facts.transfer_syntax_uid == syntax
    assert facts.sop_instance_uid == "1.2.3.4"


def test_missing_uids_are_derived_alike_for_the_same_bytes_and_apart_by_level():
    header = dataset()
    del header.StudyInstanceUID, header.SeriesInstanceUID
    facts = read(encoded(header))
    assert facts == read(encoded(header))
    assert facts.study_instance_uid.startswith("2.25.")
    assert facts.study_instance_uid != facts.series_instance_uid
    assert "derivedUid" in facts.flags


def test_an_unusual_uid_is_kept_and_flagged():
    facts = read(encoded(dataset(SeriesInstanceUID="study-A.1")))
    assert facts.series_instance_uid == "study-A.1"
    assert "invalidUid" in facts.flags


def enhanced(n_frames, padding=b""):
    def group(z):
        frame, position, orientation = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, z]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        frame.PlanePositionSequence = [position]
        frame.PlaneOrientationSequence = [orientation]
        echo = Dataset()
        echo.EffectiveEchoTime = 80.0
        frame.MREchoSequence = [echo]
        return frame

    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 3
    shared.PixelMeasuresSequence = [measures]
    header = dataset(SOPClassUID=ENHANCED_MR, NumberOfFrames=n_frames)
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [group(3.0 * index) for index in range(n_frames)]
    if padding:
        header.add_new(0x00291010, "OB", padding)
    return header


def test_a_name_that_stands_where_a_term_belongs_is_not_kept():
    terms = dict.fromkeys(("Modality", "Laterality", "PatientPosition"), "PLANTEDNAME")
    facts = read(encoded(dataset(PatientName="Plantedname^Gundula", **terms)))
    assert "PLANTEDNAME" not in repr(facts)
    facts = read(encoded(dataset(PatientName="Mr^Ct", Modality="MR", Laterality="L")))
    assert (facts.attributes["Modality"], facts.attributes["Laterality"]) == ("MR", "L")


def test_functional_groups_are_read_even_behind_100_kib_of_private_data():
    source = CountingSource(encoded(enhanced(3, b"\0" * 100_000)))
    facts = read_header(source, SECRET)
    assert len(source.requests) == 2
    assert facts.frames == 3
    assert facts.attributes["ImageOrientationPatient"] == (1, 0, 0, 0, 1, 0)
    assert facts.attributes["FramesPerOrientation"] == 3
    assert facts.attributes["EchoTime"] == 80
    assert facts.attributes["SliceThickness"] == 3
    assert facts.attributes["PixelSpacing"] == (0.5, 0.5)


def test_private_data_after_what_is_needed_costs_no_second_request():
    header = dataset(StudyDescription="Brain")
    header.add_new(0x00291010, "OB", b"\0" * 200_000)
    source = CountingSource(encoded(header))
    facts = read_header(source, SECRET)
    assert source.requests == [(0, 65536)]
    assert facts.has_pixels
    assert "truncatedHeader" not in facts.flags


def test_a_description_behind_private_data_is_fetched_when_there_is_no_other():
    header = dataset(PerformedProcedureStepDescription="MR Brain")
    header.add_new(0x00291010, "OB", b"\0" * 200_000)
    source = CountingSource(encoded(header))
    facts = read_header(source, SECRET)
    assert len(source.requests) == 2
    assert facts.attributes["PerformedProcedureStepDescription"] == "MR Brain"


def test_requests_ask_for_each_byte_once():
    source = CountingSource(encoded(enhanced(3, b"\0" * 2_000_000)))
    read_header(source, SECRET)
    ends = [offset + length for offset, length in source.requests]
    assert [offset for offset, _ in source.requests] == [0, *ends[:-1]]


def test_a_length_field_of_two_gigabytes_asks_for_nothing_more():
    data = bytearray(encoded(dataset()))
    at = data.index(b"\x08\x00\x60\x00CS")
    data[at : at + 12] = b"\x08\x00\x60\x00OB\0\0\xff\xff\xff\x7f"
    source = CountingSource(bytes(data) + b"\0" * 500_000)
    facts = read_header(source, SECRET)
    assert len(source.requests) == 1
    assert "truncatedHeader" in facts.flags


def test_a_deflate_bomb_is_not_unpacked():
    header = encoded(dataset(), DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(header[140:144], "little")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = b"\x08\x00\x16\x00UI\x08\x001.2.840\0" + b"\x09\0\x10\x10OB\0\0\0\0\0\x40"
    bomb = deflate.compress(plain + b"\0" * 200_000_000) + deflate.flush()
    facts = read(header[:start] + bomb)
    assert facts.sop_class_uid == "1.2.840"


@pytest.mark.parametrize("sop_class", [SEG, SR, "1.2.840.10008.5.1.4.1.1.481.2"])
def test_objects_that_are_no_pictures_have_no_pixels(sop_class):
    facts = read(encoded(dataset(SOPClassUID=sop_class, NumberOfFrames=5)))
    assert not facts.has_pixels
    assert facts.frames == 0


def test_an_image_class_without_pixel_data_has_no_pixels():
    assert not read(encoded(dataset(), pixels=None)).has_pixels


def test_names_in_any_script_are_scrubbed_from_descriptions():
    header = dataset(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        PatientID="HX-4711",
        StudyDescription="Brain MRI YAMADA 山田太郎 hx-4711 1.2.2019",
    )
    assert read(encoded(header)).attributes["StudyDescription"] == "Brain MRI"


@pytest.mark.parametrize(
    ("values", "years"),
    [
        ({"PatientAge": "045Y"}, 45),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "095Y"}, 90),
        ({"PatientBirthDate": "20000102", "StudyDate": "2020.01.01"}, 19),
        ({"PatientBirthDate": "19000101", "StudyDate": "20200101"}, 90),
    ],
)
def test_ages_come_from_age_or_birth_date_and_stop_at_90(values, years):
    attributes = read(encoded(dataset(**values))).attributes
    assert attributes["AgeYears"] == years
    assert "PatientBirthDate" not in attributes


@pytest.mark.parametrize("text", ["19970424", "1997.04.24"])
def test_study_dates_are_normalised(text):
    data = encoded(dataset(StudyDate="19970424"))
    data = data.replace(
        b"DA\x08\x0019970424", b"DA" + len(text).to_bytes(2, "little") + text.encode()
    )
    assert read(data).attributes["StudyDate"] == "19970424"


@pytest.mark.parametrize(
    ("tag", "creator", "element", "vr", "value"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "800"),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", "1000000800\\8\\0\\0"),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", 800.0),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_private_b_values_are_found_in_the_block_of_their_creator(
    tag, creator, element, vr, value, syntax
):
    header = dataset()
    header.add_new(tag << 16 | 0x10, "LO", "SOMEBODY ELSE")
    header.add_new(tag << 16 | 0x11, "LO", creator)
    header.add_new(tag << 16 | 0x1100 | element, vr, value)
    assert read(encoded(header, syntax)).attributes["DiffusionBValue"] == 800


def test_numbers_that_are_none_are_left_out():
    data = encoded(dataset(EchoTime=12.5))
    for bad in (b"nan ", b"inf ", b"1A  ", b"1_0 "):
        assert "EchoTime" not in read(data.replace(b"12.5", bad)).attributes


def test_the_patient_is_known_by_a_keyed_hash_that_includes_the_issuer():
    one = read(encoded(dataset(PatientID="P1", IssuerOfPatientID="A"))).patient_key
    other = read(encoded(dataset(PatientID="P1", IssuerOfPatientID="B"))).patient_key
    assert len({one, other, ""}) == 3
    assert read(encoded(dataset())).patient_key == ""


def test_truncated_samples_are_flagged_and_kept(samples):
    assert "truncatedPixels" in read(sample(samples, "MR_truncated.dcm")).flags
    assert "truncatedHeader" in read(sample(samples, "rtplan_truncated.dcm")).flags
    assert read(sample(samples, "emri_small_jpeg_2k_lossless_too_short.dcm")).frames == 10


def test_samples_without_preamble_or_syntax_are_read(samples):
    assert read(sample(samples, "ExplVR_BigEndNoMeta.dcm")).attributes["Modality"]
    assert read(sample(samples, "rtstruct.dcm")).attributes["ROIName"]
    assert read(sample(samples, "UN_sequence.dcm")).sop_class_uid.endswith("1.1.2")


def test_a_modality_stays_although_somebody_is_called_so():
    facts = read(encoded(dataset(PatientName="Mr^Siemens", Manufacturer="SIEMENS")))
    assert facts.attributes["Modality"] == "MR"
    assert facts.attributes["Manufacturer"] == "SIEMENS"
