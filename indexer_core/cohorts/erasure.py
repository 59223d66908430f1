"""Cohorts as a purge sees them: every version that holds a series is written anew without it."""

import re

from indexer_core.cohorts.model import (
    ERASED,
    FORMAT_VERSION,
    Cohort,
    Deleted,
    dump,
    without,
)
from indexer_core.cohorts.store import PREFIX, parse_named
from indexer_core.errors import CorruptIndexError
from indexer_core.ports import BlobStore, Written
from indexer_core.purge import Erased, Subject
from indexer_core.sealed import is_of_newer_format


class SavedCohorts:
    """Saved cohorts (`indexer_core.purge.PurgeableStore`).

    The digest of a cohort stays what it was, and its count of erased series says that it does not
    prove the content any more.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def find(self, series: frozenset[str]) -> Subject:
        """The Series Instance UIDs that cohorts know these series by."""
        uids: set[str] = set()
        for entry in self._blobs.list(PREFIX):
            found = self._blobs.get(entry.name)
            stored = None if found is None else _readable(found.data, entry.name)
            if isinstance(stored, Cohort):
                uids.update(m.series_instance_uid for m in stored.members if m.series_key in series)
        return Subject(uids=frozenset(uids))

    def erase(self, subject: Subject) -> Erased:
        """Take the series out of members, and their names out of questions.

        Raises
        ------
        CorruptIndexError
            A cohort is newer than this software.
        """
        rewritten = damaged = 0
        pattern = _names(subject)

        def redact(text: str) -> str:
            return text if pattern is None else pattern.sub(ERASED, text)

        for entry in self._blobs.list(PREFIX):
            while (found := self._blobs.get(entry.name)) is not None:
                stored = _readable(found.data, entry.name)
                if isinstance(stored, Deleted):
                    break
                if stored is None:
                    # What it holds nobody can tell for sure.
                    damaged += self._blobs.delete(entry.name, if_match=found.etag)
                    continue
                after = without(stored, subject.series, redact)
                if after == stored:
                    break
                written = self._blobs.put_if_match(entry.name, dump(after), found.etag)
                rewritten += isinstance(written, Written)
        return Erased(counts={"cohorts": rewritten, "damaged cohorts": damaged})


def _readable(data: bytes, name: str) -> Cohort | Deleted | None:
    """What is stored; None where it is damaged."""
    try:
        return parse_named(data, name)
    except CorruptIndexError:
        if is_of_newer_format(data, FORMAT_VERSION):
            raise
        return None


def _names(subject: Subject) -> re.Pattern[str] | None:
    """Any name of the series, and no longer name that begins or ends like one."""
    named = filter(None, (*subject.series, *subject.uids, *subject.urls))
    names = sorted(named, key=len, reverse=True)
    if not names:
        return None
    either = "|".join(map(re.escape, names))
    return re.compile(rf"(?<![\w.])(?:{either})(?!\.?\w)", re.IGNORECASE)
