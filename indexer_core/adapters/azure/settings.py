"""Settings of the programs on Azure: the functions, the worker, and the command line on an account.

Needs no Azure package: a program says what is missing before it loads any.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from indexer_core.access import OPEN, Access, parse_projects
from indexer_core.errors import InvalidInputError
from indexer_core.reading import Reading, read_reading, read_switch
from indexer_core.viewer import read_viewer

SECRET_MIN_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSetting:
    """One container (or folder of it) that is indexed, and the project it belongs to."""

    scope: str
    account: str
    container: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the programs on Azure.

    storage: account (or connection string) of index, tables and queues. sources: what is indexed.
    topic: endpoint of the Event Grid topic for announcements, "" for none. retention_days: how long
    an earlier manifest can be searched. merge_mb: what one merge of the worker reads at most.
    reading: memory, cache and exactness. thumbnails: whether the worker keeps small pictures.
    access: who sees what through the API. easy_auth: whether the platform signs callers in.
    viewer: where pages lead whoever wants to see a series (`indexer_core.viewer`).
    """

    storage: str
    sources: tuple[SourceSetting, ...]
    patient_secret: bytes
    topic: str = ""
    reading: Reading = field(default_factory=Reading)
    quiet_s: float = 30.0
    max_wait_s: float = 900.0
    retention_days: float = 7.0
    merge_mb: float = 512.0
    thumbnails: bool = True
    access: Access = OPEN
    easy_auth: bool = False
    viewer: str | None = None


# Read by this function alone; infra/bicep sets the same names, and a test compares the two lists.
STORAGE = "IndexerStorage"
STORAGE_NAME = "IndexerStorage__accountName"
SOURCES = "INDEXER_SOURCES"
PATIENT_KEY = "INDEXER_PATIENT_KEY"
TOPIC = "INDEXER_TOPIC_ENDPOINT"
QUIET = "INDEXER_QUIET_S"
MAX_WAIT = "INDEXER_MAX_WAIT_S"
RETENTION = "INDEXER_RETENTION_DAYS"
READING = "INDEXER_"  # INDEXER_MEMORY_MB and so on
MERGE = "INDEXER_MERGE_MB"
THUMBNAILS = "INDEXER_THUMBNAILS"
PROJECTS = "INDEXER_PROJECTS"
KEYS_SEE_ALL = "INDEXER_KEYS_SEE_ALL"
VIEWER = "INDEXER_VIEWER"
EASY_AUTH = "WEBSITE_AUTH_ENABLED"  # set by the platform


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment.

    Raises
    ------
    InvalidInputError
        Names are missing (all are listed) or cannot be used. Values are never repeated.
    """
    storage = environment.get(STORAGE) or environment.get(STORAGE_NAME, "")
    needed = {
        f"{STORAGE} (or {STORAGE_NAME})": storage,
        SOURCES: environment.get(SOURCES, ""),
        PATIENT_KEY: environment.get(PATIENT_KEY, ""),
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise InvalidInputError(f"settings are missing: {', '.join(missing)}")
    return Settings(
        storage=storage,
        sources=parse_sources(needed[SOURCES]),
        patient_secret=_secret(needed[PATIENT_KEY]),
        topic=environment.get(TOPIC, ""),
        quiet_s=_number(environment, QUIET, 30.0),
        max_wait_s=_number(environment, MAX_WAIT, 900.0),
        retention_days=_number(environment, RETENTION, 7.0),
        reading=read_reading(environment, READING),
        merge_mb=_number(environment, MERGE, 512.0),
        thumbnails=read_switch(environment, THUMBNAILS),
        access=_access(environment),
        easy_auth=read_easy_auth(environment),
        viewer=read_viewer(environment, VIEWER),
    )


def read_easy_auth(environment: Mapping[str, str]) -> bool:
    """Whether the platform signs callers in before the app sees them."""
    return environment.get(EASY_AUTH, "").lower() in {"true", "1"}


def _access(environment: Mapping[str, str]) -> Access:
    wish = environment.get(KEYS_SEE_ALL) or "off"
    if wish not in {"on", "off"}:
        raise InvalidInputError(f"{KEYS_SEE_ALL} is on or off")
    projects = parse_projects(environment.get(PROJECTS, ""), PROJECTS)
    return Access(projects=projects, keys_see_all=wish == "on")


def parse_sources(text: str) -> tuple[SourceSetting, ...]:
    """The value of `SOURCES`; at least one.

    Raises
    ------
    InvalidInputError
        It cannot be used; it is not repeated, for an account may be a connection string.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"{SOURCES} is not JSON") from error
    if not isinstance(entries, list) or not entries:
        raise InvalidInputError(f"{SOURCES} is a list with at least one source")
    return tuple(_source(entry) for entry in entries)


def _source(entry: Any) -> SourceSetting:
    known = {"scope", "account", "container", "prefix"}
    if not isinstance(entry, dict) or not set(entry) <= known:
        raise InvalidInputError(f"{SOURCES}: a source has scope, account, container and prefix")
    if not all(isinstance(value, str) for value in entry.values()):
        raise InvalidInputError(f"{SOURCES}: the values of a source are strings")
    if not all(entry.get(name) for name in ("scope", "account", "container")):
        raise InvalidInputError(f"{SOURCES}: a source needs scope, account and container")
    return SourceSetting(**entry)


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"{PATIENT_KEY} is not base64") from error
    if len(secret) < SECRET_MIN_BYTES:
        raise InvalidInputError(f"{PATIENT_KEY} holds fewer than {SECRET_MIN_BYTES} bytes")
    return secret


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InvalidInputError(f"{name} is a number, at least 0")
    return value
