"""Where blobs may be read from: an event must never make us fetch from elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from indexer_core.ports import BlobReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A blob inside a configured source. `url` is canonical: equal blobs have equal URLs."""

    scope: str
    url: str
    name: str
    store: BlobReader


class Source(Protocol):
    """One configured container, prefix or folder."""

    def locate(self, url: str) -> Located | None:
        """The blob, or None when the URL is not inside this source. Makes no request."""


class Sources:
    """All configured sources; the first that holds a URL wins."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def locate(self, url: str) -> Located | None:
        """The blob, or None when no configured source holds it."""
        for source in self._sources:
            located = source.locate(url)
            if located is not None:
                return located
        return None
