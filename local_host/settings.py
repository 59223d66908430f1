"""Settings of the one-machine program, read from the environment once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_worker.pixel_settings import PixelSettings, read_pixel_settings
from indexer_core.adapters.milvus.settings import MilvusSettings, read_milvus_settings
from indexer_core.errors import InvalidInputError
from indexer_core.reading import Reading, read_reading, read_switch
from indexer_core.viewer import read_viewer

if TYPE_CHECKING:
    from indexer_core.adapters.azure.settings import Settings as AzureSettings

DATA_VARIABLE = "DICOM_INDEXER_DATA"
DEFAULT_DATA = ".dicom-indexer"
THUMBNAILS = "DICOM_INDEXER_THUMBNAILS"
VIEWER = "DICOM_INDEXER_VIEWER"
MILVUS = "DICOM_INDEXER_MILVUS_"
"""Before URI, TOKEN, PREFIX and TIMEOUT_S."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the data lies and how the program behaves.

    data: the data directory. rules, templates: the user's own files, added to the shipped ones
    (DICOM_INDEXER_RULES, DICOM_INDEXER_TEMPLATES: paths separated as in PATH). patient_key_file:
    the secret of the patient hash, one per user so that data directories can be joined. azure:
    the storage account that holds the index instead of the data directory, which then keeps the
    text encoder, and copies of the index's files. retention_days: how long an earlier manifest
    can be searched. merge_mb: what one merge reads at most; it takes about twice that of memory.
    reading: memory, cache and exactness (DICOM_INDEXER_MEMORY_MB and so on). pixels: the model that
    names what is on pictures (DICOM_INDEXER_PIXEL_MODEL and so on). thumbnails: whether small
    pictures of series are kept. viewer: where pages lead whoever wants to see a series
    (`indexer_core.viewer`). milvus: what searches are answered from instead of segments.
    """

    data: Path
    azure: "AzureSettings | None" = None
    rules: tuple[Path, ...] = ()
    templates: tuple[Path, ...] = ()
    patient_key_file: Path
    reading: Reading = field(default_factory=Reading)
    pixels: PixelSettings = field(default_factory=PixelSettings)
    quiet_s: float = 5.0
    max_wait_s: float = 300.0
    retention_days: float = 7.0
    merge_mb: float = 512.0
    thumbnails: bool = True
    viewer: str | None = None
    milvus: MilvusSettings | None = None


def read_settings(
    data: str | None, environment: Mapping[str, str], store: str = "local"
) -> Settings:
    """Settings from the command line's `data` and `store`, else from the environment.

    Raises
    ------
    InvalidInputError
        A variable has a value that cannot be used; the message names it.
    """
    key_file = environment.get("DICOM_INDEXER_PATIENT_KEY_FILE")
    return Settings(
        azure=_azure(environment) if store == "azure" else None,
        data=Path(data or environment.get(DATA_VARIABLE) or DEFAULT_DATA),
        rules=_paths(environment.get("DICOM_INDEXER_RULES", "")),
        templates=_paths(environment.get("DICOM_INDEXER_TEMPLATES", "")),
        patient_key_file=Path(key_file)
        if key_file
        else _config(environment) / "dicom-indexer" / "patient-hash.key",
        quiet_s=_number("DICOM_INDEXER_QUIET_S", environment, 5.0),
        retention_days=_number("DICOM_INDEXER_RETENTION_DAYS", environment, 7.0),
        reading=read_reading(environment, "DICOM_INDEXER_"),
        pixels=read_pixel_settings(environment, "DICOM_INDEXER_"),
        merge_mb=_number("DICOM_INDEXER_MERGE_MB", environment, 512.0),
        thumbnails=read_switch(environment, THUMBNAILS),
        viewer=read_viewer(environment, VIEWER),
        milvus=read_milvus_settings(environment, MILVUS),
    )


def _azure(environment: Mapping[str, str]) -> "AzureSettings":
    from indexer_core.adapters.azure.settings import read_settings as read_azure_settings

    return read_azure_settings(environment)


def _config(environment: Mapping[str, str]) -> Path:
    if folder := environment.get("XDG_CONFIG_HOME"):
        return Path(folder)
    try:
        return Path.home() / ".config"
    except RuntimeError as error:  # a container whose user has no entry in the password file
        raise InvalidInputError(
            "this user has no home folder: set DICOM_INDEXER_PATIENT_KEY_FILE to a file of your own"
        ) from error


def _number(name: str, environment: Mapping[str, str], default: float) -> float:
    value = environment.get(name) or str(default)
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number < 0:
        raise InvalidInputError(f"{name} is a number, at least 0, not {value!r}")
    return number


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in value.split(os.pathsep) if part)
