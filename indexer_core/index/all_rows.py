"""The rows of every retained manifest: what a purge looks through."""

from collections.abc import Iterator

import pyarrow as pa

from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Manifests
from indexer_core.index.files import read_file
from indexer_core.index.rows import table_of
from indexer_core.ports import BlobStore


def tables_in_history(blobs: BlobStore, *, skips_damaged: bool = False) -> Iterator[pa.Table]:
    """Every rows file that a retained manifest names, each once.

    A purge of other series may take a file away before it is read: whatever has taken its place by
    then is read as well.

    Raises
    ------
    CorruptIndexError
        A file is missing or damaged and still named, after all others have been told.
    """
    manifests = Manifests(blobs)
    done: set[str] = set()
    lost: dict[str, CorruptIndexError] = {}
    is_complete = False
    while not is_complete:
        files = {s.rows.name: s.rows for m in manifests.history() for s in m.segments}
        lost = {name: error for name, error in lost.items() if name in files}
        is_complete = True
        for name in files.keys() - done:
            done.add(name)
            try:
                table = table_of(read_file(blobs, files[name]), name)
            except CorruptIndexError as error:
                lost[name] = error
                is_complete = False
            else:
                yield table
    if lost and not skips_damaged:
        raise next(iter(lost.values()))
