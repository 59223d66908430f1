"""The folders that the user asked to index: the only places that a URL may lead to."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from indexer_core.adapters.local_files import LocalFiles, is_below, path_of, place_of, url_of
from indexer_core.errors import InvalidInputError
from indexer_core.ports import RowStore
from indexer_core.purge import Erased, Subject
from indexer_core.sources import Located

SCOPE = "local"


class LocalSource:
    """Files below the indexed folders; implements `indexer_core.sources.Source`."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows
        self._files: LocalFiles | None = None
        self._paths: tuple[Path, ...] = ()
        self._roots: tuple[str, ...] = ()

    def add(self, paths: Iterable[Path]) -> None:
        """Remember folders or files as indexed."""
        for path in paths:
            url = url_of(path)
            key = hashlib.sha256(url.encode()).hexdigest()
            self._rows.insert(SCOPE, key, {"url": url})
        self._load()

    @property
    def paths(self) -> tuple[Path, ...]:
        """What is indexed."""
        if self._files is None:
            self._load()
        return self._paths

    def find(self, series: frozenset[str]) -> Subject:
        """Nothing: a folder does not know what is in it (`indexer_core.purge.PurgeableStore`)."""
        del series
        return Subject()

    def erase(self, subject: Subject) -> Erased:
        """Forget the files that were named one by one and are of a purged series."""
        named = [row for row in self._rows.query(SCOPE) if row.values["url"] in subject.urls]
        n_erased = sum(self._rows.delete(row) for row in named)
        if n_erased:
            self._load()
        return Erased(counts={"files named to be indexed": n_erased})

    def locate(self, url: str) -> Located | None:
        """The file of a URL, when it lies below an indexed folder."""
        files = self._files or self._load()
        try:
            place = os.path.abspath(place_of(url))  # noqa: PTH100 - see place_of
        except InvalidInputError:
            return None
        if not any(is_below(place, root) for root in self._roots):
            return None
        canonical = url_of(place)
        return Located(scope=SCOPE, url=canonical, name=canonical, store=files)

    def _load(self) -> LocalFiles:
        # Only when it is first asked: searching opens no state database.
        self._paths = tuple(path_of(row.values["url"]) for row in self._rows.query(SCOPE))
        self._roots = tuple(map(str, self._paths))
        self._files = LocalFiles(self._paths)
        return self._files
