"""Pins: names on manifests, which keep them for as long as the name is there."""

import re

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import Manifest
from indexer_core.index.updates import Pin, Unpin, Update
from indexer_core.ports import Clock, Ids

# Never a number alone: wherever a manifest is asked for, a number means its number.
_NAME = re.compile(r"(?!\d+\Z)[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

COHORTS = "cohort:"
"""Begins the names of pins that saved cohorts hold; nobody else gives them or takes them off."""


class Pins:
    """The pins of one index."""

    def __init__(self, manifests: Manifests, clock: Clock, ids: Ids) -> None:
        self._manifests = manifests
        self._clock = clock
        self._ids = ids

    def pin(self, name: str, number: int) -> Committed:
        """Name a manifest; it is kept until the name is taken off.

        Raises
        ------
        InvalidInputError
            The name has odd characters, or is on another manifest.
        NotFoundError
            There is no such manifest any more, or it is about to expire.
        """
        if _NAME.fullmatch(name) is None:
            raise InvalidInputError(
                "the name of a pin has letters, digits and . _ : - (64 at most) and is no number"
            )
        if name.startswith(COHORTS):
            raise InvalidInputError(f"names that begin with {COHORTS} are those of saved cohorts")
        newest = self._manifests.newest()
        taken = [n for n, names in newest.pins.items() if name in names and n != number]
        if taken:
            raise InvalidInputError(
                f"{name} pins manifest {taken[0]}: unpin it first, or take another name"
            )
        return self.keep(name, number, newest)

    def keep(self, name: str, number: int, newest: Manifest) -> Committed:
        """Put a name on a manifest, whoever's it is, and whatever other manifest it is on.

        Raises
        ------
        NotFoundError
            There is no such manifest any more, or it is about to expire.
        """
        self._manifests.at(number)
        outcome = self._commit(Pin(number=number, name=name), "pin", newest)
        if isinstance(outcome, Abandoned):
            raise NotFoundError(outcome.reason)
        # A purge may have looked for names before this one came. It expires a manifest only as it
        # was then: written again it is safe, and where it has gone already the purge was faster.
        if not self._manifests.renew(number):
            self._commit(Unpin(number=number, name=name), "unpin", outcome.manifest)
            raise NotFoundError(f"manifest {number} expired just now: a purge rewrote the index")
        return outcome

    def unpin(self, name: str) -> Committed:
        """Take a name off.

        Raises
        ------
        NotFoundError
            It is on no manifest.
        InvalidInputError
            A saved cohort holds it.
        """
        newest = self._manifests.newest()
        number = number_of(newest, name)
        if name.startswith(COHORTS):
            title = "@".join(name.removeprefix(COHORTS).rsplit(":", 1))
            raise InvalidInputError(f"a saved cohort holds this pin: cohort delete {title}")
        return self.release(name, number, newest)

    def release(self, name: str, number: int, newest: Manifest) -> Committed:
        """Take a name off a manifest, whoever's it is; nothing changes where it is not there."""
        outcome = self._commit(Unpin(number=number, name=name), "unpin", newest)
        assert isinstance(outcome, Committed), "unpinning is never refused"
        return outcome

    def _commit(self, update: Update, reason: str, newest: Manifest) -> Committed | Abandoned:
        return commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=made_now(reason, self._clock.now_s()),
            known=newest,
        )


def number_of(newest: Manifest, text: str) -> int:
    """The manifest that a number, or the name of a pin, stands for.

    Raises
    ------
    NotFoundError
        No manifest has that name.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    for number, names in newest.pins.items():
        if text in names:
            return number
    raise NotFoundError(f"{text} is neither the number of a manifest nor the name of a pin")
