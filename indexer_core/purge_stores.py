"""The stores of a program, as a purge sees them: queues, tables, instance lists, the text cache,
thumbnails.

Their order matters (`purger_of`): what tells the names of a series, that is where its blobs lie and
what its UIDs are, is erased after everything that is found by those names. So a run that was killed
finds what it needs for as long as it needs it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote

from indexer_core.assembly import MARKER, Assembly
from indexer_core.cohorts.erasure import SavedCohorts
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.events import parse_events
from indexer_core.index.aside import PREFIX as QUARANTINE
from indexer_core.index.commit import PREFIX as MANIFESTS
from indexer_core.index.commit import Manifests
from indexer_core.index.erasure import Segments, suppress
from indexer_core.instance_lists import LISTS, AssembledInstance, named_by, parse_list
from indexer_core.messages import parse_check, parse_ready
from indexer_core.ports import (
    BlobStore,
    Ids,
    QueueMessage,
    Row,
    RowStore,
    VectorFiles,
    WorkQueue,
    Written,
)
from indexer_core.purge import Erased, Hiding, PurgeableStore, PurgePolicy, Purger, Subject
from indexer_core.rejects import SERIES
from indexer_core.sources import Sources
from indexer_core.stores import Stores
from indexer_core.text_cache import forget_everywhere
from indexer_core.thumbnails import thumbnail_prefix

_BATCH = 32
_VISIBILITY_S = 600.0

IsNamed = Callable[[str, Subject], bool]


def is_named(body: str, subject: Subject, sources: Sources) -> bool:
    """Whether a message names a series, one of its blobs, or an identifier of it."""
    try:
        urls = [event.url for event in parse_events(body)]
    except InvalidInputError:
        return _is_named_otherwise(body, subject)
    located = [sources.locate(url) for url in urls]
    known = {found.url for found in located if found is not None}
    return not subject.urls.isdisjoint(known.union(urls))


def _is_named_otherwise(body: str, subject: Subject) -> bool:
    for parse in (parse_ready, parse_check):
        try:
            return parse(body).series in subject.series
        except InvalidInputError:
            pass
    return subject.is_named_in(body)


class _NamedElsewhere:
    """A store that holds what belongs to a series, and does not know to which."""

    def find(self, series: frozenset[str]) -> Subject:
        """Nothing: others tell the names."""
        del series
        return Subject()


class Messages(_NamedElsewhere):
    """Messages of one queue. Those in somebody's hands are not seen, and come back unless done."""

    def __init__(
        self,
        name: str,
        queue: WorkQueue,
        sources: Sources,
        handle: Callable[[str], object] | None = None,
    ) -> None:
        """With `handle`, a message is handled before it goes: what it asks for must not be lost."""
        self._kind = f"messages of {name}"
        self._queue = queue
        self._sources = sources
        self._handle = handle

    def erase(self, subject: Subject) -> Erased:
        """Take every message up once, and put back those that do not name it."""
        n_left, n_erased = self._queue.length(), 0
        others: list[QueueMessage] = []
        while n_left > 0 and (messages := self._queue.receive(_BATCH, _VISIBILITY_S)):
            n_left -= len(messages)
            for message in messages:
                if not is_named(message.body, subject, self._sources):
                    others.append(message)
                    continue
                if self._handle is not None:
                    self._handle(message.body)
                n_erased += self._queue.delete(message)
        for message in others:
            self._queue.extend(message, 0.0)
        return Erased(counts={self._kind: n_erased})


class RejectRows(_NamedElsewhere):
    """Blobs, messages and series that were set aside."""

    def __init__(self, rows: RowStore, sources: Sources) -> None:
        self._rows = rows
        self._sources = sources

    def erase(self, subject: Subject) -> Erased:
        """Delete the rows that name it."""
        found = [row for row in self._rows.scan() if self._is_named(row, subject)]
        return Erased(counts={"rejects": sum(self._rows.delete(row) for row in found)})

    def _is_named(self, row: Row, subject: Subject) -> bool:
        if row.partition == SERIES:
            return row.key in subject.series
        if "url" in row.values:
            return row.values["url"] in subject.urls
        return is_named(str(row.values.get("body", "")), subject, self._sources)


class JobRows(_NamedElsewhere):
    """Interrupted jobs, which continue behind the name of a blob."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows

    def erase(self, subject: Subject) -> Erased:
        """Have a job begin anew that stopped at one of the blobs: a second look changes nothing."""
        paths = [unquote(url) for url in subject.urls]
        n_erased = 0
        for row in self._rows.scan():
            names = set(_names_in(str(row.values.get("cursor", ""))))
            if any(path == name or path.endswith(f"/{name}") for name in names for path in paths):
                anew = self._rows.merge(row, {"cursor": "", "n_enqueued": 0})
                n_erased += isinstance(anew, Written)
        return Erased(counts={"places of interrupted jobs": n_erased})


def _names_in(cursor: str) -> Iterator[str]:
    """Blob names in a cursor: a URL, or a continuation token with parts in base64."""
    if cursor:
        yield unquote(cursor)
    for part in cursor.split("!"):
        padded = part.replace("-", "=")
        try:
            decoded = base64.b64decode(padded, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
        yield from filter(None, decoded.split("!"))


class BlobRows:
    """What is known of single blobs."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows

    def find(self, series: frozenset[str]) -> Subject:
        """Where the blobs lie that are, or last were, of these series."""
        urls = {str(row.values["url"]) for row in self._rows.scan() if _is_of(row, series)}
        return Subject(urls=frozenset(urls - {""}))

    def erase(self, subject: Subject) -> Erased:
        """Delete the rows of its blobs; where a blob is of another series now, only the mention."""
        n_erased = 0
        for row in self._rows.scan():
            if _is_of(row, subject.series):
                n_erased += self._rows.delete(row)
                continue
            claims = _claims(row)
            kept = [key for key in claims if key not in subject.series]
            if kept != claims:
                forgotten = self._rows.merge(row, {"claims": json.dumps(kept)})
                n_erased += isinstance(forgotten, Written)
        return Erased(counts={"blob rows": n_erased})


def _is_of(row: Row, series: frozenset[str]) -> bool:
    current = str(row.values["series"])
    if current:
        return current in series
    # Gone, or set aside: whatever it once was, it is nothing else now.
    return not series.isdisjoint(_claims(row))


def _claims(row: Row) -> list[str]:
    claims: list[str] = json.loads(row.values["claims"])
    return claims


class InstanceRows:
    """The instances of each series; the marker stays: it says that nothing is to be kept."""

    def __init__(self, instances: RowStore, open_series: RowStore) -> None:
        self._instances = instances
        self._open = open_series

    def find(self, series: frozenset[str]) -> Subject:
        """URLs and UIDs of the instances."""
        urls: set[str] = set()
        uids: set[str] = set()
        for row in self._rows_of(series):
            facts = json.loads(row.values["facts"])
            urls.add(row.values["url"])
            uids |= {facts["series_instance_uid"], facts["sop_instance_uid"], row.values["sop"]}
        return Subject(urls=frozenset(urls), uids=frozenset(uids))

    def erase(self, subject: Subject) -> Erased:
        """Delete the rows."""
        n_rows = sum(self._instances.delete(row) for row in list(self._rows_of(subject.series)))
        waiting = [row for row in self._open.scan() if row.key in subject.series]
        n_open = sum(self._open.delete(row) for row in waiting)
        return Erased(counts={"instance rows": n_rows, "open series": n_open})

    def _rows_of(self, series: frozenset[str]) -> Iterator[Row]:
        for key in sorted(series):
            yield from (row for row in self._instances.query(key) if row.key != MARKER)


class InstanceLists:
    """The instance lists that were handed on, of every content that a series has had."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def find(self, series: frozenset[str]) -> Subject:
        """URLs and UIDs of all instances that ever were in a list."""
        urls: set[str] = set()
        uids: set[str] = set()
        for key in sorted(series):
            for name in self._names(key):
                for instance in self._instances_in(name):
                    urls.add(instance.url)
                    uids |= {instance.facts.series_instance_uid, instance.facts.sop_instance_uid}
        return Subject(urls=frozenset(urls), uids=frozenset(uids))

    def erase(self, subject: Subject) -> Erased:
        """Delete the lists."""
        names = [name for key in sorted(subject.series) for name in self._names(key)]
        return Erased(counts={"instance lists": sum(self._blobs.delete(name) for name in names)})

    def _instances_in(self, name: str) -> tuple[AssembledInstance, ...]:
        found = self._blobs.get(name)
        try:
            return () if found is None else parse_list(found.data, *named_by(name)).instances
        except CorruptIndexError:
            return ()  # it is erased all the same

    def _names(self, series: str) -> list[str]:
        return [entry.name for entry in self._blobs.list(f"{LISTS}{series}/")]


class TextVectors(_NamedElsewhere):
    """The cache of text vectors. A text that another series has, too, is embedded once more."""

    def __init__(self, blobs: BlobStore, ids: Ids) -> None:
        self._blobs = blobs
        self._ids = ids

    def erase(self, subject: Subject) -> Erased:
        """Forget the texts, under every encoder."""
        n_files = forget_everywhere(self._blobs, self._ids, subject.texts)
        return Erased(counts={"files of cached text vectors": n_files})


class Pictures(_NamedElsewhere):
    """Thumbnails of every revision of a series."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def erase(self, subject: Subject) -> Erased:
        """Delete them."""
        names = [
            entry.name
            for key in sorted(subject.series)
            for entry in self._blobs.list(thumbnail_prefix(key))
        ]
        return Erased(counts={"thumbnails": sum(self._blobs.delete(name) for name in names)})


class Quarantine(_NamedElsewhere):
    """Damaged files that a repair has kept for people. What is in them nobody can tell for sure."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def erase(self, subject: Subject) -> Erased:
        """Delete whatever may hold the series: all but manifests, and the lists of others."""
        names = [entry.name for entry in self._blobs.list(QUARANTINE)]
        wanted = [name for name in names if _may_hold(name, subject.series)]
        n_erased = sum(self._blobs.delete(name) for name in wanted)
        return Erased(counts={"damaged files kept by repairs": n_erased})


def _may_hold(name: str, series: frozenset[str]) -> bool:
    kept = name.removeprefix(QUARANTINE).partition("/")[2]
    if kept.startswith(MANIFESTS):
        return False
    try:
        return named_by(kept)[0] in series
    except CorruptIndexError:
        return True


def purger_of(
    stores: Stores,
    *,
    vector_files: VectorFiles,
    assembly: Assembly,
    handle_event: Callable[[str], object],
    policy: PurgePolicy,
    further: Sequence[PurgeableStore] = (),
    scrub: Callable[[], None] = lambda: None,
) -> Purger:
    """What purges the stores of a program.

    Parameters
    ----------
    handle_event
        Does what a message of ``blob-events`` asks for.
    further
        Stores of this kind of program alone; nothing is found by names that they tell.
    scrub
        Makes unreadable what the stores have only let go of.
    """
    manifests = Manifests(stores.index)

    def hide(series: frozenset[str]) -> None:
        suppress(manifests, series, clock=stores.clock, ids=stores.ids)

    def all_stores(behind_s: float) -> Sequence[PurgeableStore]:
        segments = Segments(
            stores.index, vector_files, clock=stores.clock, ids=stores.ids, behind_s=behind_s
        )
        return (*further, *_in_order(stores, handle_event), segments)

    return Purger(
        stores.index,
        hiding=Hiding(
            hide=hide,
            close=assembly.close_for_good,
            hidden=lambda: manifests.newest().suppressed,
        ),
        stores=all_stores,
        scrub=scrub,
        clock=stores.clock,
        ids=stores.ids,
        policy=policy,
    )


def _in_order(stores: Stores, handle_event: Callable[[str], object]) -> Iterator[PurgeableStore]:
    """Those that tell names last."""
    queues = {
        "series-check": stores.series_checks,
        "series-ready": stores.series_ready,
        "poison": stores.poison,
    }
    yield Messages("blob-events", stores.blob_events, stores.sources, handle_event)
    for name, queue in queues.items():
        yield Messages(name, queue, stores.sources)
    yield RejectRows(stores.reject_rows, stores.sources)
    yield JobRows(stores.jobs)
    yield TextVectors(stores.index, stores.ids)
    yield Pictures(stores.index)
    yield Quarantine(stores.index)
    yield SavedCohorts(stores.index)
    yield BlobRows(stores.blobs)
    yield InstanceRows(stores.instances, stores.open_series)
    yield InstanceLists(stores.index)
