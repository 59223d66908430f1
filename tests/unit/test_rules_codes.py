"""The shipped code tables equal pydicom's copy of the DICOM dictionaries."""

import re

import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from indexer_core.rules import Rules, load_rules

# Assigned after the dictionary of the pydicom in use was made (DICOM PS3.6 2024 and later).
_NEWER_THAN_PYDICOM = {"1.2.840.10008.5.1.4.1.1.66.7"}


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules()


def _pydicom_codes(group: object) -> dict[str, tuple[str, str, str]]:
    found = {}
    for name in dir(group):
        try:
            code = getattr(group, name)
            found[name] = (code.value, code.scheme_designator, code.meaning)
        except AttributeError:
            continue
    return found


def test_common_anatomic_regions_equal_context_group_4031_of_pydicom(rules: Rules) -> None:
    shipped = {
        name: (code["value"], code["scheme"], code["meaning"])
        for name, code in rules.tables["codes"]["cid4031"].items()
    }
    assert shipped == _pydicom_codes(codes.CID4031)
    assert len(shipped) > 100


def test_other_codes_equal_snomed_codes_of_pydicom(rules: Rules) -> None:
    for name, code in rules.tables["codes"]["other"].items():
        known = getattr(codes.SCT, name)
        assert (known.value, known.meaning) == (code["value"], code["meaning"])


def test_sop_classes_are_storage_classes_of_the_standard(rules: Rules) -> None:
    table = rules.tables["modality"]
    for uid in [*table["sop_classes"], *table["captures"]]:
        if uid in _NEWER_THAN_PYDICOM:
            continue
        assert re.search(r"Storage|Hanging", UID(uid).name), uid
