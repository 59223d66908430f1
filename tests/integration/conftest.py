"""Fixtures of the tests that run whole programs."""

from pathlib import Path

import pytest

from local_host.wiring import LocalSystem
from tests.support.cli import Cli
from tests.support.system import settings_for


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """The text encoder, exported once for all data directories."""
    data = tmp_path_factory.mktemp("encoder") / "data"
    assert LocalSystem(settings_for(data)).encoder.dimension
    return data / "encoders"


@pytest.fixture
def run(tmp_path, exported, capsysbinary, monkeypatch) -> Cli:
    monkeypatch.setenv("DICOM_INDEXER_PATIENT_KEY_FILE", str(tmp_path / "patient.key"))
    return Cli(tmp_path, exported, capsysbinary)
