"""Tests of permissions, also where root runs them: root may read and write everything."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def folder_of_an_ordinary_user() -> Iterator[Path]:
    """A folder of the user as whom the tests run, or of nobody while root becomes that.

    Not below pytest's own temporary folder: nobody may not pass through that.
    """
    folder = Path(tempfile.mkdtemp())
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        shutil.rmtree(folder)
