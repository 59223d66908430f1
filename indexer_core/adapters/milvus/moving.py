"""How the position moves, and which states stay searchable: pure functions of an entry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from indexer_core.adapters.milvus.collections import is_own
from indexer_core.adapters.milvus.contents import Contents
from indexer_core.adapters.milvus.ledger import Entry
from indexer_core.adapters.milvus.position import Position
from indexer_core.index.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowPolicy:
    """How an index is followed.

    Parameters
    ----------
    timeout_s
        Of one request to Milvus; a claim lasts four times as long.
    batch
        Series that are looked at together.
    keep_s
        How long a state that was followed by another can still be searched, at least: pages of an
        answer are of one state. States are given up some at a time, up to twice as late, because
        Milvus looks through the collections for their dead.
    keep_states
        How many of them there are, at most twice that: the position names all of them.
    retire_s
        How long collections stay that others have replaced: readers ask them until they look at
        the position.
    heed_s
        How often it is looked for series to hide between two batches of a long step.
    """

    timeout_s: float = 30.0
    batch: int = 200
    keep_s: float = 900.0
    keep_states: int = 1_000
    retire_s: float = 300.0
    heed_s: float = 10.0

    @property
    def claim_s(self) -> float:
        """How long a claim lasts."""
        return 4 * self.timeout_s


def digest_of(manifest: Manifest) -> str:
    """Which content a manifest has: a purge, or a backup, may put another under its number."""
    names = [manifest.commit_id, *(file.name for file in manifest.files())]
    names += sorted(manifest.suppressed)
    return sha256("\n".join(names).encode()).hexdigest()


def moved(entry: Entry, contents: Contents, digest: str, now_s: float, *, keeps: bool) -> Entry:
    """The entry once the collections of its position are equal to a manifest.

    Parameters
    ----------
    digest
        Of the manifest.
    keeps
        Whether the states before can still be told; else what was dead in them is to go.
    """
    position, following = entry.position, entry.following
    before = zip(position.states, following.moved_s, strict=True)
    kept = [each for each in before if keeps and each[0] < contents.number]
    states = (*(number for number, _ in kept), contents.number)
    return Entry(
        position=Position(
            generation=position.generation,
            applied=contents.number,
            floor=states[0],
            spaces=contents.spaces,
            projection_version=contents.projection_version,
            n_series=contents.n_series,
            states=states,
        ),
        following=replace(
            following,
            digest=digest,
            attempts=tuple(each for each in following.attempts if each > contents.number),
            attempted="",
            in_doubt=False,
            # A late writer may have left dead that are older than those that were swept.
            swept=0 if following.in_doubt else following.swept,
            moved_s=(*(at_s for _, at_s in kept), now_s),
        ),
    )


def trimmed(entry: Entry, policy: FollowPolicy, now_s: float) -> Entry:
    """The same without the states that are not to be searched any more."""
    moved_s = entry.following.moved_s
    if not _n_outlived(moved_s, 2 * policy.keep_states, now_s - 2 * policy.keep_s):
        return entry
    return _without(entry, _n_outlived(moved_s, policy.keep_states, now_s - policy.keep_s))


def _n_outlived(moved_s: Sequence[float], most: int, since_s: float) -> int:
    """States that were followed before a time, or by so many others."""
    n_earlier = max(0, len(moved_s) - 1)
    n_gone = max(0, n_earlier - most)
    while n_gone < n_earlier and moved_s[n_gone + 1] < since_s:
        n_gone += 1
    return n_gone


def alone(entry: Entry) -> Entry:
    """The same with the state in use alone."""
    return _without(entry, max(0, len(entry.position.states) - 1))


def replaced(entry: Entry, generation: str, now_s: float) -> Entry:
    """The same with another generation in use, and nothing being built."""
    old = entry.position.generation
    retired: Mapping[str, float] = {**entry.following.retired, **({old: now_s} if old else {})}
    position = replace(entry.position, generation=generation)
    return replace(entry.noted(building=None, retired=retired, swept=0), position=position)


def placed(entry: Entry, address: str) -> Entry:
    """The same in the blob store at an address; in a copy of another it owns no collections."""
    place = sha256(address.encode()).hexdigest()
    is_copy = entry.following.place not in ("", place)
    return (disowned(entry) if is_copy else entry).noted(place=place)


def disowned(entry: Entry) -> Entry:
    """The same with no collections of its own: those that it names are of one who goes on."""
    return entry.noted(
        index_id="", building=None, retired={}, attempts=(), attempted="", unanswered_s=0.0
    )


def used_generations(entry: Entry, policy: FollowPolicy, now_s: float) -> set[str]:
    """Own generations whose collections somebody may need."""
    building = entry.following.building
    used = {at for at, at_s in entry.following.retired.items() if at_s + policy.retire_s > now_s}
    used |= {entry.position.generation} | ({building.generation} if building else set())
    return {each for each in used if is_own(each, entry.following.index_id)}


def _without(entry: Entry, n_states: int) -> Entry:
    if not n_states:
        return entry
    states = entry.position.states[n_states:]
    position = replace(entry.position, states=states, floor=states[0])
    return replace(entry.noted(moved_s=entry.following.moved_s[n_states:]), position=position)
