"""Setting damaged files aside, for people: copied before anything is put in their place."""

from indexer_core.ports import BlobStore, Ids

PREFIX = "quarantine/"


class Aside:
    """The place where one repair keeps what it takes out."""

    def __init__(self, blobs: BlobStore, ids: Ids) -> None:
        self._blobs = blobs
        self._folder = f"{PREFIX}{ids.new_id()}/"
        self.names: list[str] = []

    def keep(self, name: str) -> None:
        """Keep a copy of a blob; nothing where it is missing."""
        found = self._blobs.get(name)
        kept = f"{self._folder}{name}"
        if found is not None and kept not in self.names:
            self._blobs.put_if_absent(kept, found.data)
            self.names.append(kept)

    def move(self, name: str) -> None:
        """Keep a copy of a blob and delete it where it was."""
        self.keep(name)
        self._blobs.delete(name)


def put_back(blobs: BlobStore, name: str, data: bytes) -> None:
    """Write a blob in place of a damaged or missing one of its name.

    Who came first has mended it, too: there is only one content that a name can have.
    """
    found = blobs.get(name)
    if found is None:
        blobs.put_if_absent(name, data)
    elif found.data != data:
        blobs.put_if_match(name, data, found.etag)
