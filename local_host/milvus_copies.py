"""What a Milvus that follows the index still has of purged series: a purge can only tell of it.

A follower deletes series that are hidden, whoever hid them, and it may be behind or not run. Which
collections there are is said by the positions beside the manifests, so nothing is asked of Milvus,
and its client is not needed.
"""

from collections.abc import Iterator

from indexer_core.adapters.milvus.position import parse_parts, position_name
from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Manifests
from indexer_core.ports import BlobStore
from indexer_core.purge import Erased, Subject
from indexer_core.purge_receipts import Remaining

_FOLDER = "milvus/"
_STRANGERS = (
    "entities in collections that dicom-indexer milvus status lists as of another index, if it "
    "lists any: drop those that were this index's by hand"
)


class MilvusCopies:
    """Implements `indexer_core.purge.PurgeableStore`; erases nothing.

    Parameters
    ----------
    blobs
        Where the manifests and the positions lie.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def find(self, series: frozenset[str]) -> Subject:
        """Nothing: all that collections know, segments know as well."""
        del series
        return Subject()

    def erase(self, subject: Subject) -> Erased:
        """Tell what is left in which collections, and what to do about it."""
        del subject
        left = tuple(self._left())
        return Erased(counts={}, remaining=(*left, Remaining(what=_STRANGERS)) if left else ())

    def _left(self) -> Iterator[Remaining]:
        newest = Manifests(self._blobs).newest().number
        for blob in self._blobs.list(_FOLDER):
            prefix = blob.name.removeprefix(_FOLDER).partition("/")[0]
            found = self._blobs.get(blob.name)
            if blob.name != position_name(prefix) or found is None:
                continue
            try:
                position, following = parse_parts(found.data, blob.name)
            except CorruptIndexError:
                yield Remaining(what=f"{_entities(prefix)}, whose position cannot be read")
                continue
            if not position.generation and not following.get("building"):
                continue
            yield Remaining(what=_told(prefix, position.applied, newest))


def _told(prefix: str, applied: int, newest: int) -> str:
    if applied < newest:
        return (
            f"{_entities(prefix)}, which has followed to manifest {applied}: gone once "
            f"dicom-indexer milvus status says that manifest {newest} or a later one can be "
            "searched; run dicom-indexer milvus follow"
        )
    return (
        f"{_entities(prefix)}, are deleted; the files of Milvus lose them when it compacts, its "
        "backups when they expire"
    )


def _entities(prefix: str) -> str:
    return f"entities of the series in Milvus, prefix {prefix}"
