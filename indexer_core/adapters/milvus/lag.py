"""How far the collections are behind the manifests."""

from collections.abc import Mapping
from dataclasses import dataclass

from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import count, load
from indexer_core.adapters.milvus.collections import counts_at, generations_of, is_own
from indexer_core.adapters.milvus.ledger import Ledger
from indexer_core.adapters.milvus.schema import BORN, DIED, SERIES, Names
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.ports import BlobStore, Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far the collections have followed.

    Parameters
    ----------
    applied, newest
        Numbers of the manifest that can be searched, and of the newest one.
    behind_s
        Age of the oldest manifest that cannot be searched yet; 0: there is none.
    states
        Numbers of the manifests that can be searched.
    generation
        Of the collections; "" before the first was built.
    is_building
        Whether others are being filled.
    is_in_doubt
        Whether the next step compares every series.
    follower
        Who holds the claim; "": nobody.
    n_series
        Searchable series.
    entities, dead
        By collection: what counts, and what is kept for earlier states alone.
    missing
        Collections that the position names and Milvus does not have.
    strangers
        Collections with this prefix that are not this index's: no follower of it touches them.
    """

    applied: int
    newest: int
    behind_s: float
    states: tuple[int, ...]
    generation: str
    is_building: bool
    is_in_doubt: bool
    follower: str
    n_series: int
    entities: Mapping[str, int]
    dead: Mapping[str, int]
    missing: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def n_behind(self) -> int:
        """Manifests that cannot be searched yet."""
        return self.newest - self.applied


def lag_of(client: MilvusClient, blobs: BlobStore, *, prefix: str, clock: Clock) -> Lag:
    """How far the collections are.

    Raises
    ------
    UnavailableError
        Milvus does not answer.
    """
    entry = Ledger(blobs, prefix, clock=clock, owner="", claim_s=0.0).read()
    position, following = entry.position, entry.following
    manifests, now_s = Manifests(blobs), clock.now_s()
    newest = manifests.newest()
    generations = generations_of(client, prefix)
    there = {
        Names(prefix=prefix, generation=generation).collection(kind)
        for generation, kinds in generations.items()
        for kind in kinds
    }
    names = Names(prefix=prefix, generation=position.generation)
    kinds = (SERIES, *position.spaces) if position.generation else ()
    wanted = {kind: names.collection(kind) for kind in kinds}
    found = {kind: name for kind, name in wanted.items() if name in there}
    load(client, found.values())
    counts = counts_at(position.applied)
    entities = {kind: count(client, name, counts) for kind, name in found.items()}
    dead = f"{BORN} <= {position.applied} and {DIED} <= {position.applied}"
    return Lag(
        applied=position.applied,
        newest=newest.number,
        behind_s=_behind_s(manifests, position.applied, newest, now_s),
        states=position.states,
        generation=position.generation,
        is_building=following.building is not None or following.is_rebuild_wanted,
        is_in_doubt=following.in_doubt,
        follower=following.owner if following.until_s > now_s else "",
        n_series=position.n_series,
        entities=entities,
        dead={kind: count(client, name, dead) for kind, name in found.items()},
        missing=tuple(kind for kind in wanted if kind not in found),
        strangers=tuple(
            Names(prefix=prefix, generation=generation).collection(kind)
            for generation, kinds in sorted(generations.items())
            for kind in sorted(kinds)
            if not is_own(generation, following.index_id)
        ),
    )


def _behind_s(manifests: Manifests, applied: int, newest: Manifest, now_s: float) -> float:
    if applied >= newest.number:
        return 0.0
    first = manifests.read(applied + 1)  # it may have expired: then the lag is more than is told
    oldest = first if isinstance(first, Manifest) else newest
    return max(0.0, now_s - oldest.lineage.created_s)
