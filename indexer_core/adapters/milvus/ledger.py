"""Who follows the manifests, and what is unfinished: beside the position, by compare-and-set.

One follower writes at a time: whoever holds the claim, which runs out unless it is renewed. Milvus
refuses nobody, so a follower asks `Ledger.writing` before every request, whose time limit is a
small part of the claim. One that slept through its claim in the middle of a request learns it
afterwards: it can move nothing any more, and it says in the blob that the collections are in doubt.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from indexer_core.adapters.milvus.position import (
    FollowedSpace,
    Position,
    dump_position,
    parse_parts,
    position_name,
)
from indexer_core.errors import ConflictError, CorruptIndexError, UnknownOutcomeError
from indexer_core.ports import BlobStore, Clock, PreconditionFailed, Written

_ATTEMPTS = 16
_RENEWED_AFTER = 0.25  # of the claim


class ClaimLostError(ConflictError):
    """Another follower has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """Collections that are being filled to take the place of those in use.

    `is_created`: whether all of them are there; until then what is there may be half made.
    """

    generation: str
    spaces: Mapping[str, FollowedSpace]
    is_created: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What followers tell each other.

    Parameters
    ----------
    owner, until_s
        Who holds the claim and until when, in seconds since the epoch; "" and 0: nobody does.
    digest
        Of the manifest that was applied, as it was then: a purge writes manifests anew.
    attempts
        Numbers of the manifests that were being applied when an attempt ended unfinished, and of
        those later than the position that were heeded: what they suppress may be gone already.
    attempted
        Digest of the manifest that the last unfinished attempt was for, and no other has left
        anything; "": there was none.
    in_doubt
        Somebody may have written without holding the claim, or has asked for it: every series is
        to be compared.
    is_rebuild_wanted
        Somebody has asked for new collections.
    building
        Collections that are being filled.
    retired
        Generations that readers may still be asking, with when they were replaced.
    moved_s
        When the position was moved to each of its `states`.
    swept
        Entities that had died by this manifest are deleted.
    unanswered_s
        When a write was last not answered: it may be made after all, as long as a claim lasts; then
        its series are to be looked at again. 0: every one was answered, or looked at.
    index_id
        In the names of the collections that followers of this position made, and of no others:
        those alone are written to and dropped.
    place
        Digest of where the blob store lies that this position is in: a copy of it lies elsewhere.
    """

    owner: str = ""
    until_s: float = 0.0
    digest: str = ""
    attempts: tuple[int, ...] = ()
    attempted: str = ""
    in_doubt: bool = False
    is_rebuild_wanted: bool = False
    building: Building | None = None
    retired: Mapping[str, float] = field(default_factory=dict)
    moved_s: tuple[float, ...] = ()
    swept: int = 0
    unanswered_s: float = 0.0
    index_id: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All that the blob says."""

    position: Position = field(default_factory=Position)
    following: Following = field(default_factory=Following)

    def noted(self, **changes: Any) -> "Entry":
        """The same with changes of what followers tell each other."""
        return replace(self, following=replace(self.following, **changes))


class Ledger:
    """The blob, and the claim of one follower.

    Parameters
    ----------
    owner
        A name that no other follower has.
    claim_s
        How long a claim lasts. Clocks of machines that follow one index must differ by less than
        three quarters of it, less a request's time limit.
    """

    def __init__(
        self, blobs: BlobStore, prefix: str, *, clock: Clock, owner: str, claim_s: float
    ) -> None:
        self._blobs = blobs
        self._name = position_name(prefix)
        self._clock = clock
        self._owner = owner
        self._claim_s = claim_s
        self._etag: str | None = None
        self._is_late = False
        self.entry = Entry()

    def read(self) -> Entry:
        """What the blob says now."""
        found = self._blobs.get(self._name)
        self._etag = None if found is None else found.etag
        self.entry = Entry() if found is None else _parsed(found.data, self._name)
        return self.entry

    def take(self) -> bool:
        """Take the claim as of the last `read`; False where another holds it."""
        following, now_s = self.entry.following, self._clock.now_s()
        if following.owner not in ("", self._owner) and following.until_s > now_s:
            return False
        self._is_late = False
        return self._put(self._claimed(self.entry))

    def write(self, entry: Entry) -> None:
        """Write while holding the claim, which is renewed by it.

        Raises
        ------
        ClaimLostError
            Another has taken it over; nothing was written but a doubt, where there is one.
        """
        if not self._put(self._claimed(entry)):
            self._lose()
        self._is_late = False  # nobody wrote between, whatever the time was

    def change(self, entry: Entry) -> None:
        """`write` it, where it says something else than the blob does."""
        if entry != self.entry:
            self.write(entry)

    def note_unanswered(self) -> float:
        """Say that a write was not answered just now; when that is."""
        now_s = self._clock.now_s()
        self.write(self.entry.noted(unanswered_s=now_s))
        return now_s

    def has_landed(self) -> bool:
        """Whether there was a write without an answer, which is made by now if it ever is."""
        at_s = self.entry.following.unanswered_s
        return bool(at_s) and at_s + self._claim_s <= self._clock.now_s()

    def keep(self) -> None:
        """Renew the claim where it has run for a while: before whatever may take long.

        Raises
        ------
        ClaimLostError
            Another has taken the claim over.
        """
        left_s = self.entry.following.until_s - self._clock.now_s()
        if left_s < self._claim_s * (1 - _RENEWED_AFTER):
            self.write(self.entry)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around one request to Milvus that changes something.

        Raises
        ------
        ClaimLostError
            Another has taken the claim over; nothing is to be written.
        """
        self.keep()
        try:
            yield
        finally:
            # Whatever became of it: it may have been answered, or made, after the claim ran out.
            self._is_late |= self._clock.now_s() > self.entry.following.until_s

    def give_up(self) -> None:
        """Let others follow at once; nothing where the claim is lost."""
        if not self._put(self.entry.noted(owner="", until_s=0.0)) and self._is_late:
            self.note(in_doubt=True)

    def note(self, **changes: Any) -> None:
        """Change what followers tell each other, whoever holds the claim.

        Raises
        ------
        ConflictError
            Others kept writing.
        """
        for _ in range(_ATTEMPTS):
            if self._put(self.read().noted(**changes)):
                return
        raise ConflictError("others kept writing the position; try again later")

    def _claimed(self, entry: Entry) -> Entry:
        return entry.noted(owner=self._owner, until_s=self._clock.now_s() + self._claim_s)

    def _lose(self) -> None:
        if self._is_late:
            self.note(in_doubt=True)
        raise ClaimLostError("another follower has taken over")

    def _put(self, entry: Entry) -> bool:
        data = _dumped(entry)
        for _ in range(_ATTEMPTS):
            try:
                result = (
                    self._blobs.put_if_absent(self._name, data)
                    if self._etag is None
                    else self._blobs.put_if_match(self._name, data, self._etag)
                )
            except UnknownOutcomeError:
                found = self._blobs.get(self._name)
                etag = None if found is None else found.etag
                if etag == self._etag:
                    continue
                # No two followers write the same: the owner is in it, or whoever wrote it meant it.
                is_ours = found is not None and found.data == data
                result = Written(etag=found.etag) if is_ours and found else PreconditionFailed()
            if isinstance(result, PreconditionFailed):
                return False
            self._etag, self.entry = result.etag, entry
            return True
        raise UnknownOutcomeError("the position was written, and whether it was is not known")


def _dumped(entry: Entry) -> bytes:
    return dump_position(entry.position, asdict(entry.following))


def _parsed(data: bytes, name: str) -> Entry:
    position, said = parse_parts(data, name)
    try:
        building = said.pop("building", None)
        if building is not None:
            spaces = {key: FollowedSpace(**one) for key, one in building.pop("spaces").items()}
            said["building"] = Building(spaces=spaces, **building)
        for key in ("attempts", "moved_s"):
            said[key] = tuple(said.get(key, ()))
        return Entry(position=position, following=Following(**said))
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise CorruptIndexError(f"{name}: not a position") from error
