"""The files of maps beside the index: their encoders, and what they are carried on from."""

import hashlib
import re

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.files import read_file
from indexer_core.index.manifest import FileRef, Projection
from indexer_core.map_state import MapState
from indexer_core.ports import BlobStore
from indexer_core.projector import Projector

PREFIX = "projections/"
STATE_PREFIX = "maps/"

_NAMED_BY_CONTENT = re.compile(re.escape(PREFIX) + r"[0-9a-f]{64}\.projector")


def put_projector(blobs: BlobStore, projector: Projector, write_id: str) -> Projection:
    """Leave a projector beside the index, before a manifest names it.

    Under a name of its own each time: the collector could delete one that another writer has left
    just when this one counts on it.
    """
    data = projector.to_bytes()
    digest = hashlib.sha256(data).hexdigest()
    name = f"{PREFIX}{write_id}-{digest}.projector"
    blobs.put_if_absent(name, data)
    file = FileRef(name=name, sha256=digest, size_bytes=len(data))
    return Projection(version=projector.version, encoder_id=projector.encoder_id, file=file)


def is_named_by_content(name: str) -> bool:
    """Whether this is the file of a projector as they were once named, without a write id.

    No program gives such names any more, so no manifest will name one that none names now.
    """
    return _NAMED_BY_CONTENT.fullmatch(name) is not None


def put_state(blobs: BlobStore, state: MapState, write_id: str) -> FileRef:
    """Leave the state of a map beside the index, before a manifest names it.

    Under a name of its own each time: it holds series, so it is collected and purged.
    """
    data = state.to_bytes()
    digest = hashlib.sha256(data).hexdigest()
    name = f"{STATE_PREFIX}{write_id}-{digest}.map"
    blobs.put_if_absent(name, data)
    return FileRef(name=name, sha256=digest, size_bytes=len(data))


def load_map(blobs: BlobStore, projection: Projection) -> tuple[Projector, MapState | None]:
    """A map that a manifest names: its encoder, and its state where it was fitted.

    Raises
    ------
    CorruptIndexError
        A file of it is missing or damaged.
    InvalidInputError
        Its state is of a newer format.
    """
    projector = load_projector(blobs, projection.file)
    return projector, None if projection.state is None else load_state(blobs, projection.state)


def load_projector(blobs: BlobStore, file: FileRef) -> Projector:
    """The encoder in a file.

    Raises
    ------
    CorruptIndexError
        It is missing or damaged.
    """
    try:
        return Projector.from_bytes(read_file(blobs, file))
    except InvalidInputError as error:
        raise CorruptIndexError(f"{file.name}: {error}") from error


def load_state(blobs: BlobStore, file: FileRef) -> MapState:
    """The state in a file.

    Raises
    ------
    CorruptIndexError
        It is missing or damaged.
    InvalidInputError
        It is whole, but of a newer format: nobody may take it for damaged, and drop it.
    """
    try:
        return MapState.from_bytes(read_file(blobs, file))
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.name}: {error}; upgrade dicom-indexer") from error
