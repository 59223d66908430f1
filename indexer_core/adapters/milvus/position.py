"""How far the collections have followed the manifests: one small blob beside the manifests.

Milvus has no compare-and-set, the blob store has. Whoever searches reads the position and sees the
state that it names, whatever a follower is writing meanwhile.

The same blob says under ``following`` who writes, and what is unfinished: see
`indexer_core.adapters.milvus.ledger`. In one blob because a claim that is taken over then changes
the etag that the one before would move the position with: whoever was outrun cannot move it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from indexer_core.errors import CorruptIndexError
from indexer_core.ports import BlobReader

FORMAT_VERSION = 1
FOLLOWING = "following"


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
    states
        Manifest numbers whose states the collections hold, ascending; the last is `applied`. A
        follower that was behind goes to the newest manifest at once: those between are not there.
    """

    generation: str = ""
    applied: int = 0
    floor: int = 0
    spaces: Mapping[str, FollowedSpace] = field(default_factory=dict)
    projection_version: str | None = None
    n_series: int = 0
    states: tuple[int, ...] = ()


def position_name(prefix: str) -> str:
    """The blob of the position of the collections with this prefix."""
    return f"milvus/{prefix}/position.json"


def dump_position(position: Position, following: Mapping[str, Any] | None = None) -> bytes:
    """Canonical JSON with ``formatVersion``; `following` is for followers alone."""
    body: dict[str, Any] = {"formatVersion": FORMAT_VERSION, **asdict(position)}
    if following:
        body[FOLLOWING] = dict(following)
    return json.dumps(body, sort_keys=True).encode()


def parse_position(data: bytes, name: str) -> Position:
    """What `dump_position` wrote.

    Raises
    ------
    CorruptIndexError
        The bytes are none, or of a later version.
    """
    return parse_parts(data, name)[0]


def parse_parts(data: bytes, name: str) -> tuple[Position, dict[str, Any]]:
    """The same with what is for followers alone.

    Raises
    ------
    CorruptIndexError
        As `parse_position`.
    """
    try:
        body: dict[str, Any] = json.loads(data)
        if body.pop("formatVersion") != FORMAT_VERSION:
            raise CorruptIndexError(f"{name}: written by another version of this software")
        following = dict(body.pop(FOLLOWING, {}))
        spaces = {key: FollowedSpace(**said) for key, said in body.pop("spaces").items()}
        states = tuple(body.pop("states"))
        return Position(spaces=spaces, states=states, **body), following
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIndexError(f"{name}: not a position") from error


def read_position(blobs: BlobReader, prefix: str) -> Position:
    """The position now; before anything was followed, the empty one."""
    name = position_name(prefix)
    found = blobs.get(name)
    return Position() if found is None else parse_position(found.data, name)
