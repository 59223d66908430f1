"""Manifests in a blob store, and the commit loop: the only way that the index changes.

Load the newest manifest N, apply the update, put manifest N+1 if absent. Somebody else's N+1 is a
conflict: reload, revalidate, try again. A lost answer is not a conflict: read N+1 back, and the
commit id says whether it is ours.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.index.manifest import (
    EMPTY,
    Lineage,
    Manifest,
    Stub,
    dump_manifest,
    dump_stub,
    parse_manifest,
)
from indexer_core.index.updates import (
    Applied,
    Incomplete,
    Refused,
    Unchanged,
    Update,
    apply_update,
)
from indexer_core.ports import BlobEntry, BlobStore, PreconditionFailed, Written

PREFIX = "manifests/"
HINT = "latest-manifest"
_MAX_DIGITS = 18
_HINT_EVERY = 16  # rarely enough to cost nothing, often enough to keep the walk short


def manifest_name(number: int) -> str:
    """Blob name of manifest `number`; names sort in number order."""
    return f"{PREFIX}{number:012d}.json"


def number_of(name: str) -> int:
    """Number in the name of a manifest.

    Raises
    ------
    CorruptIndexError
        It is not such a name.
    """
    digits = name.removeprefix(PREFIX).removesuffix(".json")
    if not digits.isdigit() or manifest_name(int(digits)) != name:
        raise CorruptIndexError(f"{name}: not the name of a manifest")
    return int(digits)


def hinted_number(data: bytes) -> int | None:
    """The number that a hint names, None when it names none."""
    return int(data) if data.isdigit() and len(data) <= _MAX_DIGITS else None


def parse_numbered(data: bytes, number: int) -> Manifest | Stub:
    """The manifest or stub that was read under the name of `number`.

    Raises
    ------
    CorruptIndexError
        It is damaged, or another one.
    """
    name = manifest_name(number)
    parsed = parse_manifest(data, name)
    if parsed.number != number:
        # A copied or restored file: following it would walk in circles.
        raise CorruptIndexError(f"{name}: holds manifest {parsed.number}")
    return parsed


class Manifests:
    """The manifests of one index."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def read(self, number: int) -> Manifest | Stub | None:
        """Manifest `number`, its stub, or None when it was never written."""
        found = self._blobs.get(manifest_name(number))
        return None if found is None else parse_numbered(found.data, number)

    def read_tagged(self, number: int) -> tuple[Manifest, str] | None:
        """Manifest `number` with the etag it has now, for `expire`; None where there is none."""
        found = self._blobs.get(manifest_name(number))
        parsed = None if found is None else parse_numbered(found.data, number)
        return (parsed, found.etag) if found and isinstance(parsed, Manifest) else None

    def at(self, number: int) -> Manifest:
        """Manifest `number`.

        Raises
        ------
        NotFoundError
            It was never written or has expired.
        """
        if number == 0:
            return EMPTY
        found = self.read(number)
        if not isinstance(found, Manifest):
            state = "has expired" if isinstance(found, Stub) else "does not exist"
            raise NotFoundError(f"manifest {number} {state}")
        return found

    @contextmanager
    def unless_expired(self, manifest: Manifest) -> Iterator[None]:
        """Around reading the files of a manifest: they may be collected meanwhile.

        Raises
        ------
        NotFoundError
            Something was missing because the manifest has expired, or a purge has written it anew.
        """
        try:
            yield
        except CorruptIndexError as error:
            # Its stub, or what takes its place, is there before the first of its files goes.
            match self.read(manifest.number):
                case Stub():
                    raise NotFoundError(f"manifest {manifest.number} has expired") from error
                case Manifest() as now if set(now.files()) != set(manifest.files()):
                    reason = "was written anew by a purge: ask for it again"
                    raise NotFoundError(f"manifest {manifest.number} {reason}") from error
            raise

    def newest(self, known: Manifest = EMPTY) -> Manifest:
        """The newest manifest; one GET when `known` is still the newest.

        The hint is plain overwrite and may be stale: it only shortens the walk. Meeting a stub
        means that the walk began too far back, so it starts again from a listing. Who opens the
        index also looks one number further, so that a manifest that was taken away does not pass
        for the end of the walk.

        Raises
        ------
        CorruptIndexError
            A manifest on the way is damaged or missing.
        """
        current = known if known.number else self._from_hint()
        while True:
            found = self.read(current.number + 1)
            if found is None and (known.number or self.read(current.number + 2) is None):
                return current
            # Two commits may have been made since; what is still missing now is gone.
            found = found or self.read(current.number + 1)
            if found is None:
                name = manifest_name(current.number + 1)
                raise CorruptIndexError(f"{name}: missing although a later manifest is there")
            if isinstance(found, Stub):
                current = self._from_listing()
            elif found.follows(current):
                current = found
            else:
                raise CorruptIndexError(
                    f"{manifest_name(found.number)}: does not follow the manifest before it; one "
                    "of the two is from elsewhere, or others between were lost"
                )

    def listed(self) -> dict[int, BlobEntry]:
        """The manifests that have not expired, by number, ascending.

        Told by their sizes alone: in time nearly all are stubs, and none of them is read.
        """
        entries = {number_of(entry.name): entry for entry in self._blobs.list(PREFIX)}
        return {
            number: entry
            for number, entry in entries.items()
            if entry.properties.size_bytes != len(dump_stub(number))
        }

    def history(self) -> Iterator[Manifest]:
        """Retained manifests, oldest first; the last is the newest, whatever expires meanwhile."""
        known = EMPTY
        for number in self.listed():
            parsed = self.read(number)
            if isinstance(parsed, Manifest):  # it may have expired since it was listed
                known = parsed
                yield parsed
        # A purge expires all but what is newest by then, which the list did not have yet.
        newest = self.newest(known)
        while newest.number > known.number:
            known = newest
            yield newest
            newest = self.newest(newest)

    def expire(self, number: int, etag: str | None = None) -> bool:
        """Replace manifest `number` by its stub; False when it is none or has changed meanwhile.

        Only for manifests that the newest one does not retain (`Manifest.is_retained`), or, for a
        purge, does not pin: it gives the etag that the manifest had before it looked at the pins.
        """
        name = manifest_name(number)
        if etag is None:
            found = self.read_tagged(number)
            if found is None:
                return False
            etag = found[1]
        return isinstance(self._blobs.put_if_match(name, dump_stub(number), etag), Written)

    def renew(self, number: int) -> bool:
        """Write manifest `number` again as it is, so that its etag changes; False when it expired.

        After this no purge can expire it that looked at the pins before.
        """
        name = manifest_name(number)
        while True:
            found = self._blobs.get(name)
            if found is None or not isinstance(parse_numbered(found.data, number), Manifest):
                return False
            if isinstance(self._blobs.put_if_match(name, found.data, found.etag), Written):
                return True

    def rewrite(self, before: Manifest, after: Manifest) -> bool:
        """Put `after` in the place of `before`, for a purge alone; False when that has changed.

        Nothing else ever changes what a manifest says. It must be pinned: others expire instead.
        """
        name = manifest_name(before.number)
        data = dump_manifest(after)
        while True:
            found = self._blobs.get(name)
            if found is None:
                return False
            if found.data == data:
                return True
            if parse_numbered(found.data, before.number) != before:
                return False
            if isinstance(self._blobs.put_if_match(name, data, found.etag), Written):
                return True

    def put(self, manifest: Manifest) -> bool:
        """Create the manifest; False when another one has its number.

        Raises
        ------
        UnknownOutcomeError
            The answer was lost and the read-back failed too.
        """
        name = manifest_name(manifest.number)
        try:
            result = self._blobs.put_if_absent(name, dump_manifest(manifest))
        except UnknownOutcomeError:
            return self._is_ours(manifest)
        # A client that retried by itself sees its own first write as a conflict.
        if isinstance(result, PreconditionFailed):
            return self._is_ours(manifest)
        if manifest.number % _HINT_EVERY == 0:
            self._leave_hint(manifest.number)
        return True

    def renew_hint(self, newest: Manifest, *, keeps_past: bool = True) -> None:
        """See that the hint leads to what `newest` retains, or else to `newest` itself.

        For whoever is about to expire manifests: a hint that leads to a stub costs everybody who
        opens the index a listing of all stubs there ever were.
        """
        with suppress(UnavailableError, UnknownOutcomeError):
            found = self._blobs.get(HINT)
            number = None if found is None else hinted_number(found.data)
            if number is not None and not (keeps_past and newest.is_retained(number)):
                self._leave_hint(newest.number)

    def _leave_hint(self, number: int) -> None:
        # Whatever becomes of the hint, what it is for must not fail.
        with suppress(UnavailableError, UnknownOutcomeError):
            found = self._blobs.get(HINT)
            data = str(number).encode()
            if found is None:
                self._blobs.put_if_absent(HINT, data)
            elif found.data != data:
                self._blobs.put_if_match(HINT, data, found.etag)

    def _is_ours(self, manifest: Manifest) -> bool:
        found = self.read(manifest.number)
        return isinstance(found, Manifest) and found.commit_id == manifest.commit_id

    def _from_hint(self) -> Manifest:
        found = self._blobs.get(HINT)
        number = None if found is None else hinted_number(found.data)
        if number is None:
            return self._from_listing()
        hinted = self.read(number)
        return hinted if isinstance(hinted, Manifest) else self._from_listing()

    def _from_listing(self) -> Manifest:
        names: list[str] = []
        while True:
            before, names = names, [entry.name for entry in self._blobs.list(PREFIX)]
            for name in reversed(names):
                parsed = self.read(number_of(name))
                if isinstance(parsed, Manifest):
                    return parsed
            if not names:
                return EMPTY
            # What was listed may all have been followed and have expired since: names only come.
            if names == before:
                raise CorruptIndexError("every manifest has expired; the newest one must never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The update is in manifest `manifest`; `changed` is False when it already was."""

    manifest: Manifest
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """The update could not be made any more; nothing was changed."""

    reason: str


Complete = Callable[[Manifest, Update, Incomplete], Update]


def commit(
    manifests: Manifests,
    update: Update,
    *,
    commit_id: str,
    lineage: Lineage,
    complete: Complete | None = None,
    known: Manifest = EMPTY,
    budget: int = 64,
) -> Committed | Abandoned:
    """Commit an update.

    Parameters
    ----------
    commit_id
        Fresh per commit and stable across its retries; an attempt whose answer was lost is
        recognised by it.
    complete
        Makes the files that revalidation found missing and returns the amended update.
    known
        A manifest of this index, the newer the better: the walk to the newest begins there.
    budget
        Attempts before giving up.

    Raises
    ------
    ConflictError
        Others won `budget` races in a row.
    """
    newest = known
    for _ in range(budget):
        newest = manifests.newest(newest)
        if newest.commit_id == commit_id:
            return Committed(manifest=newest, changed=True)
        outcome = apply_update(newest, update)
        match outcome:
            case Unchanged():
                return Committed(manifest=newest, changed=False)
            case Refused(reason=reason):
                return Abandoned(reason=reason)
            case Incomplete():
                if complete is None:
                    return Abandoned(reason="files are missing that this commit cannot make")
                update = complete(newest, update, outcome)
            case Applied(manifest=content):
                candidate = replace(
                    content,
                    number=newest.number + 1,
                    commit_id=commit_id,
                    parent_commit=newest.commit_id,
                    lineage=lineage,
                )
                if manifests.put(candidate):
                    return Committed(manifest=candidate, changed=True)
    raise ConflictError(f"lost {budget} commit races in a row; try again later")
