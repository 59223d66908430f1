"""How far the collections have followed the manifests: one small blob beside the manifests.

Milvus has no compare-and-set, the blob store has. Whoever searches reads the position and sees the
state that it names, whatever a follower is writing meanwhile.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from indexer_core.errors import CorruptIndexError
from indexer_core.ports import BlobReader

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedSpace:
    """Whose vectors a collection holds."""

    encoder: str
    dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What can be searched.

    Parameters
    ----------
    generation
        Of the collections; "" before the first was built.
    applied
        Number of the manifest that they are equal to.
    floor
        Lowest manifest number that can be searched: the dead of earlier ones are swept.
    spaces
        By name (`text`, `image`); a space that the index does not have yet is missing.
    projection_version
        Of the map whose places the collection has; None where there is none.
    n_series
        Searchable series at `applied`.
    """

    generation: str = ""
    applied: int = 0
    floor: int = 0
    spaces: Mapping[str, FollowedSpace] = field(default_factory=dict)
    projection_version: str | None = None
    n_series: int = 0


def position_name(prefix: str) -> str:
    """The blob of the position of the collections with this prefix."""
    return f"milvus/{prefix}/position.json"


def dump_position(position: Position) -> bytes:
    """Canonical JSON with ``formatVersion``."""
    return json.dumps(
        {"formatVersion": FORMAT_VERSION, **asdict(position)}, sort_keys=True
    ).encode()


def parse_position(data: bytes, name: str) -> Position:
    """What `dump_position` wrote.

    Raises
    ------
    CorruptIndexError
        The bytes are none, or of a later version.
    """
    try:
        body: dict[str, Any] = json.loads(data)
        if body.pop("formatVersion") != FORMAT_VERSION:
            raise CorruptIndexError(f"{name}: written by another version of this software")
        spaces = {key: FollowedSpace(**said) for key, said in body.pop("spaces").items()}
        return Position(spaces=spaces, **body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIndexError(f"{name}: not a position") from error


def read_position(blobs: BlobReader, prefix: str) -> Position:
    """The position now; before anything was followed, the empty one."""
    name = position_name(prefix)
    found = blobs.get(name)
    return Position() if found is None else parse_position(found.data, name)
