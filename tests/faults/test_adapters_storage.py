"""Adapters on real trouble: full disks, killed processes, damaged files, missing permissions."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.errors import CorruptIndexError, UnavailableError
from indexer_core.ports import Written
from indexer_core.testing.memory import ManualClock, SequentialIds
from tests.support.users import folder_of_an_ordinary_user

LIMIT_BYTES = 100_000

FOLDER_CHILD = """
import sys
from pathlib import Path
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.errors import UnavailableError
store = FolderBlobs(Path(sys.argv[1]))
first = store.put_if_absent("small", b"1")
for write in (
    lambda: store.put_if_absent("large", b"x" * 300_000),
    lambda: store.put_if_match("small", b"x" * 300_000, first.etag),
):
    try:
        write()
    except UnavailableError as error:
        print(error)
"""

SQLITE_CHILD = """
import sys
from pathlib import Path
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.errors import UnavailableError
from indexer_core.testing.memory import ManualClock, SequentialIds
from tests.support.users import folder_of_an_ordinary_user
path = Path(sys.argv[1]) / "state.db"
rows, queue = SqliteRows(path, "t"), SqliteQueue(path, "q", ManualClock(), SequentialIds())
rows.insert("p", "small", {"a": 1})
for write in (
    lambda: rows.insert("p", "large", {"a": "x" * 300_000}),
    lambda: rows.merge(rows.get("p", "small"), {"a": "x" * 300_000}),
    lambda: queue.send("x" * 300_000),
):
    try:
        write()
    except UnavailableError as error:
        print(error)
"""

WRITER_CHILD = """
import sys
from pathlib import Path
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.testing.memory import ManualClock, SequentialIds
from tests.support.users import folder_of_an_ordinary_user
root = Path(sys.argv[1])
store = FolderBlobs(root / "blobs")
rows = SqliteRows(root / "state.db", "t")
queue = SqliteQueue(root / "state.db", "q", ManualClock(), SequentialIds())
i = 0
while True:
    store.put_if_absent(f"b/{i}", b"%d" % i * 20_000)
    rows.insert("p", f"{i:06d}", {"i": i})
    queue.send(str(i))
    print(i, flush=True)
    i += 1
"""


def limit_file_size():
    # Python ignores SIGXFSZ itself, so that the write fails with EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


def run_limited(script, root):
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)],
        preexec_fn=limit_file_size,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout.splitlines()


def test_blob_larger_than_the_disk_allows_is_unavailable_and_invisible(tmp_path):
    messages = run_limited(FOLDER_CHILD, tmp_path)
    assert len(messages) == 2
    assert all("largest allowed size" in message for message in messages)
    store = FolderBlobs(tmp_path)
    assert [entry.name for entry in store.list()] == ["small"]
    assert store.get("small").data == b"1"
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_row_and_message_larger_than_the_disk_allows_leave_nothing(tmp_path):
    messages = run_limited(SQLITE_CHILD, tmp_path)
    assert len(messages) == 3
    assert all("check the disk and its limits" in message for message in messages)
    rows = SqliteRows(tmp_path / "state.db", "t")
    queue = SqliteQueue(tmp_path / "state.db", "q", ManualClock(), SequentialIds())
    assert [(row.key, row.values) for row in rows.scan()] == [("small", {"a": 1})]
    assert queue.length() == 0
    assert isinstance(rows.insert("p", "next", {"a": 2}), Written)
    rows.close()
    queue.close()


def test_full_device_is_unavailable_with_advice(tmp_path):
    # SQLite's own page limit gives the same answer as a device without space.
    rows = SqliteRows(tmp_path / "state.db", "t")
    rows.insert("p", "small", {"a": 1})
    with rows._file.connection() as connection:
        connection.execute("PRAGMA max_page_count=10")
    with pytest.raises(UnavailableError, match="no space left"):
        rows.insert("p", "large", {"a": "x" * 300_000})
    assert [row.key for row in rows.scan()] == ["small"]
    rows.close()


def test_acknowledged_writes_survive_a_killed_process(tmp_path):
    for _ in range(3):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        with subprocess.Popen(
            [sys.executable, "-c", WRITER_CHILD, str(root)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        ) as child:
            lines = [child.stdout.readline() for _ in range(25)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged = sum(line.endswith(b"\n") for line in lines)
        store = FolderBlobs(root / "blobs")
        rows = SqliteRows(root / "state.db", "t")
        queue = SqliteQueue(root / "state.db", "q", ManualClock(), SequentialIds())
        numbers = [int(entry.name.removeprefix("b/")) for entry in store.list("b/")]
        assert set(range(acknowledged)) <= set(numbers) <= set(range(acknowledged + 1))
        assert all(store.get(f"b/{i}").data == b"%d" % i * 20_000 for i in numbers)
        assert len(list(rows.scan())) in (acknowledged, acknowledged + 1)
        assert queue.length() in (acknowledged, acknowledged + 1)
        rows.close()
        queue.close()


def test_write_lock_of_another_process_is_unavailable_after_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr("indexer_core.adapters.sqlite.file.BUSY_TIMEOUT_S", 0.0)
    rows = SqliteRows(tmp_path / "state.db", "t")
    rows.insert("p", "k", {"a": 1})
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            rows.insert("p", "k2", {"a": 1})
        with pytest.raises(UnavailableError, match="locked"):
            rows.merge(rows.get("p", "k"), {"a": 2})
        assert [row.values for row in rows.query("p")] == [{"a": 1}]
        other.execute("ROLLBACK")
    assert isinstance(rows.insert("p", "k2", {"a": 1}), Written)
    rows.close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough " * 40, b"\0" * 5000])
def test_file_that_is_no_database_is_corrupt(tmp_path, content):
    (tmp_path / "state.db").write_bytes(content)
    rows = SqliteRows(tmp_path / "state.db", "t")
    with pytest.raises(CorruptIndexError):
        rows.get("p", "k")
    assert (tmp_path / "state.db").read_bytes() == content


def test_damaged_database_is_corrupt(tmp_path):
    path = tmp_path / "state.db"
    rows = SqliteRows(path, "t")
    for i in range(200):
        rows.insert("p", f"{i:03d}", {"a": "x" * 100})
    rows.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(CorruptIndexError):
        list(rows.scan())
    rows.close()


def test_data_directory_that_cannot_be_a_folder_is_unavailable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError):
        SqliteRows(tmp_path / "file" / "state.db", "t").get("p", "k")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(UnavailableError):
        SqliteRows(tmp_path / "folder.db", "t").get("p", "k")


def test_read_only_data_directory_is_unavailable():
    with folder_of_an_ordinary_user() as folder:
        store = FolderBlobs(folder / "blobs")
        store.put_if_absent("a", b"1")
        (folder / "blobs" / ".tmp").chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(UnavailableError, match="cannot be written"):
            store.put_if_absent("b", b"1")
        assert store.get("a").data == b"1"


def test_messages_name_no_path(tmp_path):
    secret = tmp_path / "DOE^JANE"
    secret.write_bytes(b"")
    with pytest.raises(UnavailableError) as caught:
        SqliteRows(secret / "state.db", "t").get("p", "k")
    assert "DOE" not in str(caught.value)
