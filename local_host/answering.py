"""What commands that search answer from: segments, or Milvus where a setting names one."""

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from indexer_core.errors import UnavailableError
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from indexer_core.vector_index import VectorIndex


@contextmanager
def answering(
    system: LocalSystem, at: str | None = None, *, searched: Collection[str] = ()
) -> Iterator["VectorIndex"]:
    """The newest state of the index, or the one that has this number or name.

    Parameters
    ----------
    searched
        Spaces whose vectors are opened together with the segments, where these are searched.

    Raises
    ------
    NotFoundError
        Nothing has been indexed yet, or there is no such state any more.
    UnavailableError
        Milvus does not answer, or has not followed yet.
    """
    if system.settings.milvus is None:
        from indexer_core.snapshot_index import SnapshotIndex

        yield SnapshotIndex(system.snapshot(at, searched=searched))
        return
    from function_app.milvus_home import milvus_home
    from indexer_core.index.commit import Manifests
    from indexer_core.index.pins import number_of

    newest = Manifests(system.index).newest()
    if newest.number == 0:
        raise system.nothing_indexed()
    with closing(milvus_home(system.settings.milvus, system.index)) as home:
        index = home.refresh()
        if index is None:
            raise UnavailableError(
                "Milvus has not followed the index yet: run dicom-indexer milvus follow"
            )
        yield index if at is None else home.at(number_of(newest, at))
