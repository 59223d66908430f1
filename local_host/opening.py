"""Opening the data directory, or the account, for what a command is about to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from indexer_core.errors import NotFoundError
from local_host.locking import writer_lock
from local_host.settings import Settings
from local_host.wiring import LocalSystem


@contextmanager
def writing(settings: Settings) -> Iterator[LocalSystem]:
    """The system, for what writes; one at a time over a data directory.

    Raises
    ------
    InvalidInputError
        Another process is writing to the data directory.
    """
    # An account has many writers at any time; every store there is safe with several.
    with writer_lock(settings.data) if settings.azure is None else nullcontext():
        system = LocalSystem(settings)
        try:
            system.home.sweep_temporary()
            yield system
        finally:
            system.close()


def reading(settings: Settings) -> LocalSystem:
    """The system, for what only reads the index.

    Raises
    ------
    NotFoundError
        Nothing has been indexed yet.
    """
    # Listed, not asked for: a folder without permission is an error of its own.
    if settings.azure is None and not holds(settings.data, "index"):
        raise _nothing(settings)
    return LocalSystem(settings)


def known_data(settings: Settings) -> LocalSystem:
    """The system, for what reads the state too: there is some once `index` has run.

    Raises
    ------
    NotFoundError
        Nothing has been indexed yet.
    """
    if settings.azure is None and not holds(settings.data, "state.sqlite"):
        raise _nothing(settings)
    return LocalSystem(settings)


def holds(folder: Path, name: str) -> bool:
    """Whether a folder has an entry of this name; False where there is no such folder."""
    try:
        return name in os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return False


def _nothing(settings: Settings) -> NotFoundError:
    return NotFoundError(
        f"nothing is indexed in {settings.data} yet: run dicom-indexer index FOLDER"
    )
