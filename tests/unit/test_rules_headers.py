"""Headers of many makers, sites and languages, from bytes to classification."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from indexer_core.header import BytesSource, Rejected, read_header
from indexer_core.rules import Classification, Rules, classify, load_rules
from indexer_core.series import aggregate
from tests.support.dicom import dicom_object

HEADERS = Path(__file__).parents[1] / "samples" / "headers" / "headers.ndjson"
ORIENTATIONS = {
    "axial": [1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [0.7, 0.5, -0.5, 0.1, -0.7, -0.7],
}
SOP_CLASSES = {
    "CT": "2",
    "MR": "4",
    "CR": "1",
    "DX": "1.1",
    "PX": "1.1",
    "MG": "1.2",
    "US": "6.1",
    "NM": "20",
    "PT": "128",
    "XA": "12.1",
    "RF": "12.2",
}
SECONDARY_CAPTURE = "7"
FIELDS = ("modality", "region", "plane", "sequence", "contrast")


def headers() -> Iterator[dict[str, Any]]:
    for line in HEADERS.read_text().splitlines():
        yield json.loads(line)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules()


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def written(header: dict[str, Any]) -> bytes:
    """The header as a DICOM object with a picture."""
    elements = {name: value for name, value in header.items() if name not in ("is", "orientation")}
    for name in [
        name for name in elements if name.endswith("Sequence") and name != "ScanningSequence"
    ]:
        elements[name] = code(*elements[name])
    kind = SOP_CLASSES.get(elements.get("Modality", ""), SECONDARY_CAPTURE)
    elements.setdefault("SOPClassUID", UID(f"1.2.840.10008.5.1.4.1.1.{kind}"))
    if "orientation" in header:
        elements["ImageOrientationPatient"] = ORIENTATIONS[header["orientation"]]
    else:
        elements["ImageOrientationPatient"] = None
    with warnings.catch_warnings():
        # Makers write what the standard forbids, such as a hyphen in BodyPartExamined.
        warnings.simplefilter("ignore")
        return dicom_object(
            SpecificCharacterSet="ISO_IR 192", **{"SeriesDescription": "", **elements}
        )


def said_of(header: dict[str, Any], rules: Rules) -> Classification:
    facts = read_header(BytesSource(written(header)), b"secret")
    assert not isinstance(facts, Rejected)
    return classify(aggregate("scope", [("url", facts)]), rules)


def wrong(expected: list[str], said: Classification) -> list[str]:
    """The fields in which the classification is not what a reader would say."""
    modality, region, plane, sequence, contrast = expected
    found = {
        "modality": agrees(modality, said.modality),
        "region": agrees(region, said.body_region),
        "plane": agrees(plane, said.plane),
        "sequence": agree(sequence, said.sequence),
        "contrast": agrees(contrast, said.contrast),
    }
    return [field for field, right in found.items() if not right]


def agrees(expected: str, value: str) -> bool:
    return expected == "*" or value in expected.split("|")


def agree(expected: str, labels: tuple[str, ...]) -> bool:
    if expected in ("*", "-"):
        return expected == "*" or not labels
    for part in expected.split(","):
        if part.startswith("!"):
            if part[1:] in labels:
                return False
        elif not set(part.split("|")) & set(labels):
            return False
    return True


def test_every_header_is_understood_as_a_reader_would(rules):
    told, failures = Counter(), []
    for header in headers():
        told.update(
            field for field, value in zip(FIELDS, header["is"], strict=True) if value != "*"
        )
        said = said_of(header, rules)
        if fields := wrong(header["is"], said):
            values = (said.modality, said.body_region, said.plane, said.sequence, said.contrast)
            failures.append(f"{fields} {values} of {header}")
    assert not failures, "\n".join(failures)
    assert min(told.values()) > 300


# Values of BodyPartExamined in DICOM PS3.16 annex L by body region; AXILLA and CERVIX could be two.
EXAMINED = {
    "head": "BRAIN CEREBELLUM CHEEK CIRCLEOFWILLIS CORNEA EAR EYE EYELID FACE HEAD HEADNECK IAC "
    "JAW MAXILLA MOUTH NOSE ORBIT PAROTID SCALP SCLERA SKULL SUBMANDIBULAR TMJ TONGUE ZYGOMA",
    "neck": "CAROTID LARYNX NECK NECKCHEST PHARYNX THYROID",
    "chest": "AORTA BRONCHUS CHEST CHESTABDOMEN CHESTABDPELVIS ESOPHAGUS LUNG MEDIASTINUM "
    "NECKCHESTABDOMEN NECKCHESTABDPELV RIB STERNUM THYMUS TRACHEA",
    "heart": "CORONARYARTERY HEART",
    "breast": "BREAST",
    "abdomen": "ABDOMEN ABDOMENPELVIS ADRENAL COLON DUODENUM GALLBLADDER ILEUM JEJUNUM KIDNEY "
    "LIVER PANCREAS SPLEEN STOMACH URETER",
    "pelvis": "BLADDER BUTTOCK ILIUM OVARY PELVIS PENIS PROSTATE RECTUM SCROTUM TESTIS URETHRA "
    "UTERUS VAGINA VULVA",
    "spine": "BACK COCCYX CSPINE CTSPINE LSPINE LSSPINE SPINE SSPINE TLSPINE TSPINE",
    "upper extremity": "ARM CLAVICLE ELBOW FINGER HAND HUMERUS SHOULDER THUMB WRIST",
    "lower extremity": "ANKLE CALCANEUS CALF FEMUR FOOT HIP KNEE LEG PATELLA THIGH TOE",
    "whole body": "WHOLEBODY",
    "other": "EXTREMITY",
}


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_every_standard_value_of_body_part_examined_has_its_region(rules, modality):
    found = {
        term: said_of({"Modality": modality, "BodyPartExamined": term}, rules).body_region
        for terms in EXAMINED.values()
        for term in terms.split()
    }
    expected = {term: region for region, terms in EXAMINED.items() for term in terms.split()}
    assert found == expected


def test_a_technique_of_the_brain_is_a_hint_that_any_other_word_outranks(rules):
    mprage = {"Modality": "MR", "SeriesDescription": "t1_mprage_sag"}
    assert said_of(mprage, rules).body_region == "head"
    assert said_of({**mprage, "BodyPartExamined": "KNEE"}, rules).body_region == "lower extremity"
    assert said_of({**mprage, "StudyDescription": "Becken"}, rules).body_region == "pelvis"
    flair = {"Modality": "MR", "SeriesDescription": "Sag T1 FLAIR"}
    assert said_of(flair, rules).body_region == "unknown"


@pytest.mark.parametrize(
    ("stored_as", "header", "modality"),
    [
        ("1.1", "PX", "PX"),
        ("1", "MG", "MG"),
        ("3.1", "IVUS", "IVUS"),
        ("1.1", "CT", "DX"),
        ("2", "PX", "CT"),
    ],
)
def test_a_header_may_be_finer_than_the_object_but_not_of_another_kind(
    rules, stored_as, header, modality
):
    said = said_of(
        {"Modality": header, "SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{stored_as}"}, rules
    )
    assert said.modality == modality
    assert ("headerModalityMismatch" in said.flags) == (header != modality)
