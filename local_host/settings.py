"""Settings of the one-machine program, read from the environment once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DATA_VARIABLE = "DICOM_INDEXER_DATA"
DEFAULT_DATA = ".dicom-indexer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the data lies and how the program behaves.

    data: the data directory. rules, templates: the user's own files, added to the shipped ones
    (DICOM_INDEXER_RULES, DICOM_INDEXER_TEMPLATES: paths separated as in PATH). patient_key_file:
    the secret of the patient hash, one per user so that data directories can be joined.
    """

    data: Path
    rules: tuple[Path, ...] = ()
    templates: tuple[Path, ...] = ()
    patient_key_file: Path
    quiet_s: float = 5.0
    max_wait_s: float = 300.0


def read_settings(data: str | None, environment: Mapping[str, str]) -> Settings:
    """Settings from the command line's `data`, else from the environment."""
    config = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    key_file = environment.get("DICOM_INDEXER_PATIENT_KEY_FILE")
    return Settings(
        data=Path(data or environment.get(DATA_VARIABLE) or DEFAULT_DATA),
        rules=_paths(environment.get("DICOM_INDEXER_RULES", "")),
        templates=_paths(environment.get("DICOM_INDEXER_TEMPLATES", "")),
        patient_key_file=Path(key_file)
        if key_file
        else config / "dicom-indexer" / "patient-hash.key",
        quiet_s=float(environment.get("DICOM_INDEXER_QUIET_S", "5")),
    )


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in value.split(os.pathsep) if part)
