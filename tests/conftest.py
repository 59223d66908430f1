"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile("nightly", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of public sample files, outside the repository."""
    folder = Path(os.environ.get("DICOM_SAMPLES", ROOT.parent / "shared" / "data" / "dicom"))
    if not folder.is_dir():
        pytest.skip("the sample DICOM files (DICOM_SAMPLES) are not on this machine")
    return folder
