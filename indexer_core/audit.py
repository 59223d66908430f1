"""Who asked what kind of question, when, for what purpose, and how much was answered.

A record never holds words, values, UIDs or names. What was asked is a keyed hash: whoever has the
key can tell that two questions were the same one, and nobody can tell what it was.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import Ids, RowStore, Written

FORMAT_VERSION = 1
_PURPOSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}")
_LABEL = b"dicom-indexer audit v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One request.

    time_s: when it came, seconds since the Unix epoch. caller: an object id, or "key", "local".
    purpose: what the caller said. asked: keyed hash. fields: record fields that were filtered by.
    returned: series in the answer. manifest: None where no answer was made.
    """

    time_s: float
    caller: str
    operation: str
    purpose: str
    asked: str
    fields: tuple[str, ...]
    returned: int
    manifest: int | None
    status: int
    duration_ms: int


class Audit(Protocol):
    """Keeps records."""

    def append(self, record: AuditRecord) -> None:
        """Keep a record for good.

        Raises
        ------
        IndexerError
            It cannot be told that it was kept.
        """


class AuditRows:
    """Records in a table: one partition per day (UTC), keys in the order of time."""

    def __init__(self, rows: RowStore, ids: Ids) -> None:
        self._rows = rows
        self._ids = ids

    def append(self, record: AuditRecord) -> None:
        """Keep a record."""
        day = datetime.fromtimestamp(record.time_s, UTC).date().isoformat()
        values = {**asdict(record), "fields": ",".join(record.fields), "format": FORMAT_VERSION}
        kept = self._rows.insert(day, self._ids.new_id(), values)
        if not isinstance(kept, Written):
            raise UnavailableError("the audit record was not kept")

    def all(self) -> Iterator[AuditRecord]:
        """Every record, oldest day first."""
        for row in self._rows.scan():
            values = {key: row.values[key] for key in AuditRecord.__dataclass_fields__}
            fields = tuple(name for name in str(values["fields"]).split(",") if name)
            yield AuditRecord(**{**values, "fields": fields})


def audit_key(secret: bytes) -> bytes:
    """A key of its own from the secret of the index, so that no hash of another use is like one."""
    return hmac.new(secret, _LABEL, hashlib.sha256).digest()


def hash_of(asked: Mapping[str, Any], key: bytes) -> str:
    """Keyed hash of a question, as JSON with its names in order; hexadecimal, 32 digits."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]


def parse_purpose(text: str) -> str:
    """What a caller says a request is for.

    Raises
    ------
    InvalidInputError
        It could be something else than the name of a purpose.
    """
    if text and not _PURPOSE.fullmatch(text):
        raise InvalidInputError(
            "x-purpose is up to 64 letters, digits, blanks and . _ / -, such as the name of a study"
        )
    return text
