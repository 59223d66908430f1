"""Telling the world of every map that is put in force, at least once.

What was told last is kept beside the index, and whoever looks after the map compares the map in
force with it. So one that was published by a process which died before it could tell is told by the
next; one that was overtaken before that never is.
"""

from indexer_core.announcements import Announcer, projection_published
from indexer_core.errors import CorruptIndexError
from indexer_core.index.manifest import Manifest, Projection
from indexer_core.index.map_versions import is_placeholder
from indexer_core.ports import BlobStore
from indexer_core.sealed import seal, unseal

MARK = "last-announced-map"
FORMAT_VERSION = 1


class MapAnnouncements:
    """Those of one index; remembers what was told, so that the store is asked once a map."""

    def __init__(self, blobs: BlobStore, announcer: Announcer) -> None:
        self._blobs = blobs
        self._announcer = announcer
        self._told: str | None = None

    def tell(self, manifest: Manifest) -> None:
        """Tell of the map in force, unless that was done; two at once both tell.

        The map of a new index is none that anybody waits for.
        """
        projection = manifest.projection
        if projection is None or is_placeholder(projection.version):
            return
        identity = _identity(projection)
        if self._told == identity:
            return
        found = self._blobs.get(MARK)
        if found is None or _read(found.data) != identity:
            told = projection_published(projection.version, manifest.number)
            self._announcer.announce([told])
            data = seal({"format_version": FORMAT_VERSION, "map": identity})
            # Where another one was quicker, the next look tells whether it meant the same map.
            if found is None:
                self._blobs.put_if_absent(MARK, data)
            else:
                self._blobs.put_if_match(MARK, data, found.etag)
        else:
            self._told = identity


def _identity(projection: Projection) -> str:
    """Not the version alone: after a loss the same one may be given to another map."""
    return f"{projection.version} {projection.file.sha256}"


def _read(data: bytes) -> str | None:
    try:
        return str(unseal(data, MARK, FORMAT_VERSION)["map"])
    except (CorruptIndexError, KeyError):
        return None  # then it is told again
