"""Saved cohorts: blobs that are written once, each of which pins the manifest it was drawn from.

Saving pins first and writes then; deleting puts a `Deleted` in the place of the cohort first and
unpins then. So a cohort that is there has its pin, wherever a program was killed; what a kill may
leave is a pin without a cohort, which costs space and is taken off by the next `sweep`.

A purge hides a series, waits out its grace, and then erases. Whoever saves looks again after the
write: what was hidden meanwhile is saved anew without it, so that a cohort which was on its way
does not bring an erased series back.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from indexer_core.cohorts.model import (
    MAX_TEXT_CHARACTERS,
    Cohort,
    Deleted,
    Draft,
    check_name,
    digest_of,
    dump,
    parse,
)
from indexer_core.cohorts.pinned import pin_name, pinned_cohorts, pins_of
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    InvalidInputError,
    NotFoundError,
    UnknownOutcomeError,
)
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import Pins
from indexer_core.ports import BlobStore, Clock, Ids, Written

PREFIX = "cohorts/"

_ATTEMPTS = 16
_BLOB = re.compile(rf"{PREFIX}([^/]+)/(\d{{6,}})\.json")


def blob_name(name: str, version: int) -> str:
    """Where a version of a cohort lies; names sort in the order of versions."""
    return f"{PREFIX}{name}/{version:06d}.json"


class Cohorts:
    """The saved cohorts of one index."""

    def __init__(self, blobs: BlobStore, clock: Clock, ids: Ids) -> None:
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._pins = Pins(self._manifests, clock, ids)
        self._clock = clock
        self._ids = ids

    def save(
        self,
        name: str,
        draw: Callable[[], Draft],
        *,
        purpose: str = "",
        created_by: str = "",
    ) -> Cohort:
        """Save what `draw` gives as the next version of a name.

        Parameters
        ----------
        draw
            Draws it from the newest manifest; again, where that was overtaken.

        Raises
        ------
        InvalidInputError
            It cannot be a name, or the purpose is too long.
        ConflictError
            Others won too many races.
        """
        check_name(name)
        if max(len(purpose), len(created_by)) > MAX_TEXT_CHARACTERS:
            raise InvalidInputError(f"a purpose has {MAX_TEXT_CHARACTERS} characters at most")
        save_id = self._ids.new_id()
        for _ in range(_ATTEMPTS):
            draft = draw()
            newest = self._manifests.newest()
            version = self._next_version(name, newest)
            try:
                pinned = self._pins.keep(pin_name(name, version), draft.manifest, newest)
            except NotFoundError:
                continue  # it expired since it was drawn
            cohort = Cohort(
                **{field.name: getattr(draft, field.name) for field in fields(Draft)},
                name=name,
                version=version,
                save_id=save_id,
                created_s=self._clock.now_s(),
                purpose=purpose,
                created_by=created_by,
            )
            cohort = replace(cohort, digest=digest_of(cohort))
            if draft.keys & pinned.manifest.suppressed or not self._is_put(cohort):
                self._give_up(name, version, draft.manifest)
                continue
            # A purge that has hidden more since may have looked for cohorts before this one.
            if not draft.keys & self._manifests.newest(pinned.manifest).suppressed:
                return cohort
            self._retire(name, version)
        raise ConflictError("others kept changing what is to be saved; try again later")

    def load(self, name: str, version: int | None = None) -> Cohort:
        """A cohort; the newest version that there is, if none is asked for.

        Raises
        ------
        NotFoundError
            There is none.
        CorruptIndexError
            It is damaged, or newer than this software.
        """
        check_name(name)
        versions = self.versions(name)[::-1] if version is None else [version]
        for number in versions:
            match self._read(name, number):
                case Cohort() as found:
                    return found
                case Deleted() if version is not None:
                    raise NotFoundError(f"cohort {name}@{version} was deleted")
        raise _no_such_cohort(name, version)

    def all(self, *, with_damaged: bool = True) -> Iterator[Cohort]:
        """Every version of every cohort, by name and version.

        Parameters
        ----------
        with_damaged
            Whether one that cannot be read ends it; else it is passed over.

        Raises
        ------
        CorruptIndexError
            One is damaged, or newer than this software.
        """
        return self._all_below(PREFIX, with_damaged=with_damaged)

    def of_name(self, name: str) -> Iterator[Cohort]:
        """Every version of a name that can be read."""
        return self._all_below(f"{PREFIX}{check_name(name)}/", with_damaged=False)

    def _all_below(self, prefix: str, *, with_damaged: bool) -> Iterator[Cohort]:
        for entry in self._blobs.list(prefix):
            try:
                found = self._read(*_parts_of(entry.name))
            except (CorruptIndexError, InvalidInputError):
                if with_damaged:
                    raise
                continue
            if isinstance(found, Cohort):
                yield found

    def versions(self, name: str) -> list[int]:
        """The versions that were ever given, ascending."""
        return [_parts_of(entry.name)[1] for entry in self._blobs.list(f"{PREFIX}{name}/")]

    def delete(self, name: str, version: int | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        Raises
        ------
        NotFoundError
            There is none.
        """
        versions = self.versions(check_name(name)) if version is None else [version]
        n_deleted = sum(self._retire(name, number) for number in versions)
        self.sweep()  # also where there was none: an earlier attempt may have been killed
        if not n_deleted:
            raise _no_such_cohort(name, version)
        return n_deleted

    def sweep(self) -> int:
        """Take off the pins that killed programs left without a cohort; how many.

        A version that was pinned and not written is given up first: whoever is about to write it,
        slowly, takes the next one.
        """
        pins = list(pins_of(self._manifests.newest()))
        return sum(self._give_up(name, version, number) for number, name, version in pins)

    def _next_version(self, name: str, newest: Manifest) -> int:
        pinned = pinned_cohorts(newest).get(name, ())
        return max((*self.versions(name), *pinned), default=0) + 1

    def _is_put(self, cohort: Cohort) -> bool:
        """Write it; False where something else has its name."""
        blob, data = blob_name(cohort.name, cohort.version), dump(cohort)
        try:
            written = isinstance(self._blobs.put_if_absent(blob, data), Written)
        except UnknownOutcomeError:
            written = False
        if written:
            return True
        # A lost answer, or a client that retried by itself: what is there may be ours.
        found = self._blobs.get(blob)
        return found is not None and found.data == data

    def _retire(self, name: str, version: int) -> bool:
        """Delete a version for good; False where there is none."""
        blob = blob_name(name, version)
        gone = dump(Deleted(name=name, version=version, deleted_s=self._clock.now_s()))
        while (found := self._blobs.get(blob)) is not None:
            try:
                stored = parse(found.data, blob)
            except CorruptIndexError:
                stored = None  # damaged: nobody can use it
            if isinstance(stored, Deleted):
                return False
            if not isinstance(self._blobs.put_if_match(blob, gone, found.etag), Written):
                continue
            for number, other, pinned in list(pins_of(self._manifests.newest())):
                if (other, pinned) == (name, version):
                    self._give_up(name, version, number)
            return True
        return False

    def _give_up(self, name: str, version: int, number: int) -> bool:
        """Take its pin off a manifest, unless a cohort needs it: whether it came off.

        The version is taken first, so that nobody writes a cohort who believes it to be pinned.
        """
        gone = Deleted(name=name, version=version, deleted_s=self._clock.now_s())
        self._blobs.put_if_absent(blob_name(name, version), dump(gone))
        found = self._read(name, version)
        if isinstance(found, Cohort) and found.manifest == number:
            return False
        self._pins.release(pin_name(name, version), number, self._manifests.newest())
        return True

    def _read(self, name: str, version: int) -> Cohort | Deleted | None:
        blob = blob_name(name, version)
        found = self._blobs.get(blob)
        if found is None:
            return None
        return parse_named(found.data, blob)


def parse_named(data: bytes, blob: str) -> Cohort | Deleted:
    """The cohort, or what stands in its place, that was read under a name.

    Raises
    ------
    CorruptIndexError
        It is damaged, newer than this software, or another one.
    """
    stored = parse(data, blob)
    if (stored.name, stored.version) != _parts_of(blob):
        raise CorruptIndexError(f"{blob}: holds another cohort")
    return stored


def _no_such_cohort(name: str, version: int | None) -> NotFoundError:
    title = name if version is None else f"{name}@{version}"
    return NotFoundError(f"there is no cohort {title}: cohort list shows all")


def _parts_of(blob: str) -> tuple[str, int]:
    """Name and version in the name of a blob.

    Raises
    ------
    CorruptIndexError
        It is not one of a cohort.
    """
    match = _BLOB.fullmatch(blob)
    if match is None or blob_name(match[1], int(match[2])) != blob:
        raise CorruptIndexError(f"{blob}: not the name of a cohort")
    return match[1], int(match[2])
