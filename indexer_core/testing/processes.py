"""Work done in other processes by the contract suites.

It lives in the package because a freshly started process can import that, but not a test module.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.ports import PreconditionFailed, WriteResult, Written
from indexer_core.testing.memory import ManualClock, SequentialIds

T = TypeVar("T")

QUEUE_NAME = "work"


def in_processes(work: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """Run `work` once per tuple of arguments, each in a new process, all at once."""
    with multiprocessing.get_context("spawn").Pool(len(arguments)) as pool:
        results = pool.starmap(work, arguments, chunksize=1)
        pool.close()
        pool.join()
    return results


def create_blobs(root: Path, data: bytes, n_blobs: int) -> set[int]:
    """Try to create blobs ``0`` to ``n_blobs - 1``; return those that this process created."""
    store = FolderBlobs(root)
    return {
        i for i in range(n_blobs) if isinstance(store.put_if_absent(f"many/{i}", data), Written)
    }


def count_up_blob(root: Path, name: str, times: int) -> None:
    """Add one to the decimal number in a blob, `times` times, by conditional replacement."""
    store = FolderBlobs(root)
    for _ in range(times):
        outcome: WriteResult = PreconditionFailed()
        while isinstance(outcome, PreconditionFailed):
            found = store.get(name)
            assert found is not None
            outcome = store.put_if_match(name, b"%d" % (int(found.data) + 1), found.etag)


def receive_all(path: Path, series: int) -> list[str]:
    """Receive and delete until the queue shows nothing; return the bodies."""
    queue = SqliteQueue(path, QUEUE_NAME, ManualClock(), SequentialIds(series=series))
    bodies = []
    while messages := queue.receive(4, 30.0):
        for message in messages:
            bodies.append(message.body)
            assert queue.delete(message)
    queue.close()
    return bodies


def send_one(path: Path, series: int) -> None:
    """Open the queue's file, new or not, and send a message."""
    queue = SqliteQueue(path, QUEUE_NAME, ManualClock(), SequentialIds(series=series))
    queue.send(str(series))
    queue.close()
