"""Looking at a blob: make the rows say what the blob is now, and arm the series that it touches.

The blobs row of a URL is written last and names, in `claims`, every series partition that may ever
have held a row of this blob. A claim is made before the partition is written. So a look that was
overtaken (by an overwrite that moved the blob to another series, or by its deletion) leaves nothing
behind that the next look, or its own redelivery, does not find and clear.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from indexer_core.assembly import Assembly
from indexer_core.errors import ConflictError, InvalidInputError
from indexer_core.events import LookEvent, is_newer
from indexer_core.facts import InstanceFacts, to_json
from indexer_core.header import Rejected, read_header
from indexer_core.instance_lists import ROW_VERSION
from indexer_core.ports import (
    BlobProperties,
    Clock,
    PreconditionFailed,
    Row,
    RowStore,
    Written,
)
from indexer_core.rejects import Rejects
from indexer_core.sealed import check_row_version
from indexer_core.sources import Located, Sources
from indexer_core.uids import instance_key, series_key

# Raise it whenever headers are read differently: unchanged blobs are then read again.
FORMAT_VERSION = 1
_LOOKS = 16
# A look that is overtaken by more moves than this, while it is under way, is not allowed for.
_MAX_CLAIMS = 64
_ARCHIVED = "archived"
_UNREADABLE = "unreadable"
_HEALING = frozenset({_ARCHIVED, _UNREADABLE})  # these heal without a change of the blob's etag

SEEN, GONE, REJECTED, LOOKING = "seen", "gone", "rejected", "looking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look found, the series it belongs to, and the code of a rejection in `reason`.

    outcome: ``changed``, ``unchanged``, ``gone``, ``rejected``, ``stale``, ``foreign``, ``purged``.
    armed: series that this look is the first to touch since their last check, with the token of
    the check that it sent. read_s: when a header was read, from and to.
    """

    outcome: str
    series: str = ""
    reason: str = ""
    armed: Mapping[str, str] = field(default_factory=dict, compare=False)
    read_s: tuple[float, float] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    facts: InstanceFacts
    scope: str
    read_s: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gone:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bad:
    code: str
    reason: str


_Found = _Seen | _Gone | _Bad


class Looker:
    """Looks at blobs of the configured sources."""

    def __init__(
        self,
        *,
        sources: Sources,
        blobs: RowStore,
        instances: RowStore,
        rejects: Rejects,
        assembly: Assembly,
        clock: Clock,
        patient_secret: bytes,
    ) -> None:
        self._sources = sources
        self._blobs = blobs
        self._instances = instances
        self._rejects = rejects
        self._assembly = assembly
        self._clock = clock
        self._secret = patient_secret

    def look(self, event: LookEvent) -> Looked:
        """Bring the rows up to what the blob is now; safe to repeat and to run twice at once.

        Raises
        ------
        ConflictError
            The blob changed under every one of several looks.
        UnavailableError
            A store cannot answer now.
        """
        located = self._sources.locate(event.url)
        if located is None:
            return Looked(outcome="foreign", reason="notConfigured")
        key = instance_key(located.url)
        for _ in range(_LOOKS):
            row = self._blobs.get(_shard(key), key)
            if row is not None:
                check_row_version(row.values, FORMAT_VERSION, "a blobs row")
            if row is not None and _is_stale(row, event) and self._is_settled(row, key):
                return Looked(outcome="stale", series=row.values["series"])
            looked = self._once(located, key, row, event)
            if looked is not None:
                return looked
        raise ConflictError("the blob changed under every look; it will be looked at again")

    def _once(self, located: Located, key: str, row: Row | None, event: LookEvent) -> Looked | None:
        try:
            properties = located.store.properties(located.name)
        except InvalidInputError as error:  # there, but not for us
            bad = _Bad(code=_UNREADABLE, reason=str(error))
            return self._absent(located, key, row, REJECTED, bad, event, None)
        if properties is not None and row is not None and _is_same(row, properties):
            return self._settle_again(located, key, row, properties, event)
        found = self._read(located, properties)
        if found is None:
            return None
        match found:
            case _Seen():
                assert properties is not None
                return self._seen(located, key, row, properties, found, event)
            case _Gone():
                return self._absent(located, key, row, GONE, None, event, properties)
            case _Bad():
                return self._absent(located, key, row, REJECTED, found, event, properties)

    def _read(self, located: Located, properties: BlobProperties | None) -> _Found | None:
        if properties is None:
            return _Gone()
        if properties.archived:
            return _Bad(code=_ARCHIVED, reason="archived: it heals when it is rehydrated")
        source = _Ranges(located, properties)
        begun_s = self._clock.now_s()
        try:
            header = read_header(source, self._secret)
        except InvalidInputError as error:  # the store will not let us read it
            return _Bad(code=_UNREADABLE, reason=str(error))
        if source.overtaken:
            return None
        if isinstance(header, Rejected):
            return _Bad(code=header.reason.value, reason=header.sentence)
        return _Seen(facts=header, scope=located.scope, read_s=(begun_s, self._clock.now_s()))

    def _seen(
        self,
        located: Located,
        key: str,
        row: Row | None,
        properties: BlobProperties,
        found: _Seen,
        event: LookEvent,
    ) -> Looked | None:
        facts = found.facts
        series = series_key(found.scope, facts.study_instance_uid, facts.series_instance_uid)
        if self._assembly.is_purged(series):
            return self._purged(located, key, row)
        claimed = self._claim(located, key, row, series)
        if claimed is None:
            return None
        others = [other for other in _claims(claimed) if other != series]
        armed = self._withdraw_all(others, key, _settled_in(row))
        if armed is None:
            return None
        now_s = self._clock.now_s()
        values = {
            "format_version": ROW_VERSION,
            "url": located.url,
            "etag": properties.etag,
            "content": content_of(properties),
            "scope": found.scope,
            "sop": facts.sop_instance_uid,
            "facts": json.dumps(to_json(facts), separators=(",", ":")),
            "seen_s": now_s,
            # By clocks of two machines; nothing is uploaded after it was seen.
            "event_s": now_s if event.time_s is None else min(event.time_s, now_s),
            "gone": False,
        }
        if not self._write_instance(series, key, values):
            return None
        armed |= _armed(series, self._assembly.arm(series))
        settled = {
            "url": located.url,  # a row of a purged series had lost it
            "state": SEEN,
            "series": series,
            "etag": properties.etag,
            "content": content_of(properties),
            "size_bytes": properties.size_bytes,
            "reason": "",
            "format_version": FORMAT_VERSION,
            **_sequence(event),
        }
        # Known before the blobs row says so: one that another look files after that is not ours.
        reject = self._rejects.find_blob(located.scope, key)
        if isinstance(self._blobs.merge(claimed, settled), PreconditionFailed):
            return None
        if reject is not None:
            self._rejects.drop(reject)
        return Looked(outcome="changed", series=series, armed=armed, read_s=found.read_s)

    def _absent(
        self,
        located: Located,
        key: str,
        row: Row | None,
        state: str,
        bad: _Bad | None,
        event: LookEvent,
        properties: BlobProperties | None,
    ) -> Looked | None:
        armed = {} if row is None else self._withdraw_all(_claims(row), key, _settled_in(row))
        if armed is None:
            return None
        reason = "" if bad is None else bad.code
        if bad is not None:
            self._rejects.blob(located.scope, key, located.url, bad.code, bad.reason)
        settled = {
            **({} if bad is None else {"url": located.url}),
            "state": state,
            "series": "",
            "etag": "" if properties is None else properties.etag,
            "content": "" if properties is None else content_of(properties),
            "size_bytes": 0 if properties is None else properties.size_bytes,
            "reason": reason,
            "format_version": FORMAT_VERSION,
            **_sequence(event),
        }
        if row is None:
            written = self._blobs.insert(_shard(key), key, {**_new_row(located), **settled})
        else:
            written = self._blobs.merge(row, settled)
        if isinstance(written, PreconditionFailed):
            return None
        if bad is None:
            self._rejects.heal_blob(located.scope, key)
        return Looked(outcome=state, reason=reason, armed=armed)

    def _purged(self, located: Located, key: str, row: Row | None) -> Looked | None:
        """Keep nothing of a blob of a purged series, not even where it lies.

        What is left is the key of its row, and the claims: a look that was overtaken must notice,
        and what it wrote to one of them must be found.
        """
        armed = {} if row is None else self._withdraw_all(_claims(row), key, _settled_in(row))
        if armed is None:
            return None
        nothing = {**_new_row(located), "state": GONE, "url": ""}
        if row is None:
            written = self._blobs.insert(_shard(key), key, nothing)
        else:
            written = self._blobs.merge(row, {**nothing, "claims": row.values["claims"]})
        if isinstance(written, PreconditionFailed):
            return None
        self._rejects.heal_blob(located.scope, key)
        return Looked(outcome="purged", armed=armed)

    def _settle_again(
        self,
        located: Located,
        key: str,
        row: Row,
        properties: BlobProperties,
        event: LookEvent,
    ) -> Looked | None:
        # The rows may be behind although the blob is not: a crash, or a look that was overtaken.
        series = row.values["series"]
        others = [other for other in _claims(row) if other != series]
        armed = self._withdraw_all(others, key, series)
        if armed is None:
            return None
        if series:
            instance = self._instances.get(series, key)
            if instance is None or not _is_of(instance, properties):
                return self._reread(located, key, row, properties, event)
            armed |= _armed(series, self._assembly.arm(series))
            self._rejects.heal_blob(
                located.scope, key
            )  # a crash may have left it behind the blobs row
        return Looked(
            outcome=REJECTED if row.values["state"] == REJECTED else "unchanged",
            series=series,
            reason=row.values["reason"],
            armed=armed,
        )

    def _reread(
        self,
        located: Located,
        key: str,
        row: Row,
        properties: BlobProperties,
        event: LookEvent,
    ) -> Looked | None:
        found = self._read(located, properties)
        if not isinstance(found, _Seen):
            return None
        return self._seen(located, key, row, properties, found, event)

    def _is_settled(self, row: Row, key: str) -> bool:
        """Whether the partitions say what the blobs row says; an overtaken look may differ."""
        series = str(row.values["series"])
        others = [other for other in _claims(row) if other != series]
        if any(self._instances.get(other, key) is not None for other in others):
            return False
        if not series:
            return True
        instance = self._instances.get(series, key)
        return (
            instance is not None
            and not instance.values["gone"]
            and bool(instance.values["etag"] == row.values["etag"])
        )

    def forget(self, url: str) -> bool:
        """Have the next look read the blob anew although it has not changed; for `replay`."""
        located = self._sources.locate(url)
        if located is None:
            return False
        key = instance_key(located.url)
        row = self._blobs.get(_shard(key), key)
        return row is None or isinstance(
            self._blobs.merge(row, {"etag": "", "sequencer": ""}), Written
        )

    def _claim(self, located: Located, key: str, row: Row | None, series: str) -> Row | None:
        """The blobs row, now naming the series among its claims; None when it changed meanwhile."""
        if row is not None and series in _claims(row):
            return row
        claims = [] if row is None else _claims(row)[1 - _MAX_CLAIMS :]
        values = {"claims": json.dumps([*claims, series])}
        if row is None:
            created = {**_new_row(located), **values}
            written = self._blobs.insert(_shard(key), key, created)
            before: Mapping[str, Any] = created
        else:
            written = self._blobs.merge(row, values)
            before = row.values
        if isinstance(written, PreconditionFailed):
            return None
        return Row(partition=_shard(key), key=key, values={**before, **values}, etag=written.etag)

    def _withdraw_all(self, claims: list[str], key: str, settled: str) -> dict[str, str] | None:
        """Take the blob out of these series and arm them: `Looked.armed`.

        None when another look interferes.
        """
        armed: dict[str, str] = {}
        for series in claims:
            token = self._withdraw(series, key, is_last=series == settled)
            if token is None:
                return None
            armed |= _armed(series, token)
        return armed

    def _withdraw(self, series: str, key: str, *, is_last: bool) -> str | None:
        row = self._instances.get(series, key)
        if row is None:
            return self._assembly.arm(series) if is_last else ""
        if not row.values["gone"]:
            written = self._instances.merge(row, {"gone": True})
            if isinstance(written, PreconditionFailed):
                return None
            row = Row(partition=series, key=key, values=row.values, etag=written.etag)
        # Marked first, deleted last: a crash in between leaves a row that says what is to be done.
        token = self._assembly.arm(series)
        return token if self._instances.delete(row) else None

    def _write_instance(self, series: str, key: str, values: Mapping[str, Any]) -> bool:
        row = self._instances.get(series, key)
        if row is None:
            written = self._instances.insert(series, key, values)
        else:
            written = self._instances.merge(row, values)
        return isinstance(written, Written)


class _Ranges:
    """Byte ranges of one version of a blob, for the header reader."""

    def __init__(self, located: Located, properties: BlobProperties) -> None:
        self._located = located
        self._etag = properties.etag
        self.size_bytes = properties.size_bytes
        self.overtaken = False

    def read(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length), empty once the blob has changed."""
        found = self._located.store.get_range(
            self._located.name, offset, length, if_match=self._etag
        )
        if found is None or isinstance(found, PreconditionFailed):
            self.overtaken = True
            return b""
        return found.data


def content_of(properties: BlobProperties) -> str:
    """What stands for the content in a digest: the stored hash if there is one, else the etag."""
    return properties.content_digest or properties.etag


def _is_stale(row: Row, event: LookEvent) -> bool:
    known = row.values["sequencer"]
    if not known or event.sequencer is None or row.values["state"] == LOOKING:
        return False
    return not is_newer(event.sequencer, known)


def _is_same(row: Row, properties: BlobProperties) -> bool:
    if row.values["reason"] in _HEALING or row.values["format_version"] != FORMAT_VERSION:
        return False
    return row.values["state"] in (SEEN, REJECTED) and row.values["etag"] == properties.etag


def _is_of(instance: Row, properties: BlobProperties) -> bool:
    return not instance.values["gone"] and bool(instance.values["etag"] == properties.etag)


def _armed(series: str, token: str) -> dict[str, str]:
    return {series: token} if token else {}


def _settled_in(row: Row | None) -> str:
    return "" if row is None else str(row.values["series"])


def _claims(row: Row) -> list[str]:
    claims: list[str] = json.loads(row.values["claims"])
    return claims


def _new_row(located: Located) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "url": located.url,
        "scope": located.scope,
        "state": LOOKING,
        "series": "",
        "claims": "[]",
        "etag": "",
        "content": "",
        "size_bytes": 0,
        "sequencer": "",
        "reason": "",
    }


def _sequence(event: LookEvent) -> dict[str, str]:
    return {} if event.sequencer is None else {"sequencer": event.sequencer}


def _shard(key: str) -> str:
    return key[:2]
