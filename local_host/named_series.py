"""Series as people name them: by UID, by key, or by the end of a UID that a table shows."""

from typing import TYPE_CHECKING

from indexer_core.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from indexer_core.index.reader import Reader, Snapshot

_CUT_OFF = ("\u2026", "...")
_SHORTEST_ENDING = 4


def is_ending(text: str) -> bool:
    """Whether that is the end of a UID, behind an ellipsis."""
    return text.strip().startswith(_CUT_OFF)


def whole_uid(snapshot: "Snapshot", text: str) -> str:
    """The UID that is meant; one behind an ellipsis is completed, any other is as it is.

    Raises
    ------
    InvalidInputError
        Several series end so.
    NotFoundError
        None does.
    """
    from indexer_core.search import uids_ending_in

    text = text.strip()
    if not is_ending(text):
        return text
    ending = text.lstrip("\u2026.")
    if len(ending) < _SHORTEST_ENDING:
        raise InvalidInputError(f"give at least {_SHORTEST_ENDING} characters of the UID's end")
    found = uids_ending_in(snapshot, ending)
    if not found:
        raise NotFoundError("no indexed series has a UID that ends so; export lists them all")
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} series have a UID that ends so: give more of it; export lists them all"
        )
    return next(iter(found))


def keys_named(reader: "Reader", text: str) -> frozenset[str]:
    """Keys of the series that are meant, whatever their state.

    Raises
    ------
    InvalidInputError
        Several UIDs end so.
    NotFoundError
        There is none.
    """
    from indexer_core.search import keys_of

    uid = whole_uid(reader.snapshot, text)
    keys = keys_of(reader.snapshot, uid)
    if uid in reader.snapshot.manifest.suppressed:  # purged: no row knows its key any more
        keys |= {uid}
    if not keys:
        raise NotFoundError(
            "no indexed series has that UID; export lists them all (a purged one has its key only)"
        )
    return keys
