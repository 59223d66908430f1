"""Folders as an event source, and the writer lock beside them."""

import json
import logging
import os
import re
import subprocess
import sys
from queue import Empty, Queue

import pytest

from indexer_core.adapters.local_files import LocalFiles, url_of
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.events import parse_events
from indexer_core.testing.memory import ManualClock
from local_host.file_events import created_event, deleted_event, walk_events, watch_events
from local_host.locking import writer_lock
from tests.support.dicom import dicom_object
from tests.support.house import House
from tests.support.users import folder_of_an_ordinary_user

WAIT_S = 300.0
"""How long a watch may take before the test fails; passing takes milliseconds."""

HOLDER = """
import sys
from pathlib import Path
from local_host.locking import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def clock():
    return ManualClock(1_498_502_460.5)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    for name in ("b/2.dcm", "b/1.dcm", "a.dcm", "b c/#ü.dcm", ".hidden"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def looks(events):
    """(kind, URL) of every event."""
    parsed = map(json.loads, events)
    return [(e["eventType"].rpartition(".Blob")[2], e["data"]["url"]) for e in parsed]


def created(folder, *names):
    return [("Created", url_of(folder / name)) for name in names]


def deleted(folder, *names):
    return [("Deleted", url_of(folder / name)) for name in names]


def test_created_event_has_the_exact_event_grid_shape(folder, clock):
    path = folder / "b c" / "#ü.dcm"
    event = json.loads(created_event(path, path.stat(), clock))
    url = url_of(path)
    assert list(event) == [
        "topic", "subject", "eventType", "eventTime", "id", "dataVersion", "metadataVersion",
        "data",
    ]  # fmt: skip
    assert event["topic"].startswith("/subscriptions/")
    assert event["subject"].startswith("/blobServices/default/containers/files/blobs/")
    assert event["subject"].endswith("/b%20c/%23%C3%BC.dcm")
    assert event["eventType"] == "Microsoft.Storage.BlobCreated"
    assert event["eventTime"] == "2017-06-26T18:41:00.5000000Z"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["id"])
    assert (event["dataVersion"], event["metadataVersion"]) == ("", "1")
    data = event["data"]
    assert data["api"] == "PutBlob"
    assert data["url"] == url
    assert data["contentLength"] == len(b"b c/#\xc3\xbc.dcm")
    assert data["blobType"] == "BlockBlob"
    assert data["eTag"] == LocalFiles([folder]).properties(url).etag
    assert "sequencer" not in data


def test_deleted_event_has_neither_etag_nor_length(folder, clock):
    gone = url_of(folder / "gone.dcm")
    *_, last = walk_events([folder], [gone], clock)
    data = json.loads(last)["data"]
    assert data["api"] == "DeleteBlob"
    assert data["url"] == gone
    assert not {"eTag", "contentLength"} & set(data)


def test_later_events_have_other_ids(folder, clock):
    path = folder / "a.dcm"
    first = json.loads(created_event(path, path.stat(), clock))
    clock.advance(0.001)
    second = json.loads(created_event(path, path.stat(), clock))
    assert first["id"] != second["id"]


def test_events_after_the_clock_was_set_back_are_looked_at():
    house = House()
    program = house.program()
    here = house.url("a")
    for now_s, instance in ((2e9, 1), (1e9, 2)):
        house.inbox.delete("a")
        house.inbox.put_if_absent("a", dicom_object(instance=instance))
        event = json.loads(deleted_event("file:///a", ManualClock(now_s)))
        event["data"]["url"] = here
        (look,) = parse_events(json.dumps(event))
        assert program.looker.look(look).outcome == "changed"


def test_walk_reports_every_file_in_a_fixed_order(folder, clock):
    expected = created(folder, ".hidden", "a.dcm", "b/1.dcm", "b/2.dcm", "b c/#ü.dcm")
    assert looks(walk_events([folder], [], clock)) == expected
    assert list(walk_events([folder], [], clock)) == list(walk_events([folder], [], clock))


def test_walk_reports_known_files_that_are_gone_below_its_roots_only(folder, clock, tmp_path):
    known = [
        url_of(folder / "a.dcm"),
        url_of(folder / "z.dcm"),
        url_of(folder / "b" / "gone.dcm"),
        url_of(folder / "b"),
        url_of(folder / "a.dcm" / "below"),
        url_of(tmp_path / "elsewhere.dcm"),
        url_of(tmp_path / "in-other" / "x"),
        "https://account.blob.core.windows.net/dicom/x",
    ]
    found = looks(walk_events([folder], known, clock))
    gone = [look for look in found if look[0] == "Deleted"]
    assert gone == sorted(deleted(folder, "z.dcm", "b/gone.dcm", "b", "a.dcm/below"))


def test_overlapping_roots_are_walked_once(folder, clock):
    roots = [folder / "b", folder, folder / "a.dcm", folder]
    assert looks(walk_events(roots, [], clock)) == looks(walk_events([folder], [], clock))


def test_root_may_be_a_file_a_relative_path_or_a_link(folder, clock, tmp_path, monkeypatch):
    assert looks(walk_events([folder / "a.dcm"], [], clock)) == created(folder, "a.dcm")
    monkeypatch.chdir(folder)
    (from_here,) = looks(walk_events(["a.dcm"], [], clock))
    assert from_here == created(folder, "a.dcm")[0]
    link = tmp_path / "link"
    link.symlink_to(folder / "b")
    assert looks(walk_events([link], [], clock)) == created(link, "1.dcm", "2.dcm")


def test_missing_root_is_a_warning_and_its_known_files_are_gone(folder, clock, tmp_path):
    warnings = []
    roots = [tmp_path / "nowhere", folder / "b"]
    known = [url_of(tmp_path / "nowhere" / "x")]
    found = looks(walk_events(roots, known, clock, on_warning=warnings.append))
    assert found == created(folder, "b/1.dcm", "b/2.dcm") + deleted(tmp_path, "nowhere/x")
    assert [warning.reason for warning in warnings] == ["no such file or directory"]


def test_own_data_directory_is_left_out(folder, clock, tmp_path):
    link = tmp_path / "link-to-data"
    link.symlink_to(folder / "b")
    names = created(folder, ".hidden", "a.dcm", "b c/#ü.dcm")
    for exclude in (folder / "b", link):
        assert looks(walk_events([folder], [], clock, exclude=[exclude])) == names


def test_links_are_not_followed_and_loops_end(folder, clock, tmp_path):
    before = looks(walk_events([folder], [], clock))
    (tmp_path / "outside.dcm").write_bytes(b"x")
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to(folder / "nothing")
    (folder / "inner").symlink_to(folder / "a.dcm")
    (folder / "outer").symlink_to(tmp_path / "outside.dcm")
    warnings = []
    assert looks(walk_events([folder], [], clock, on_warning=warnings.append)) == before
    assert [warning.path for warning in warnings] == [str(folder / "outer")]


def test_fifo_is_not_a_file(folder, clock):
    before = looks(walk_events([folder], [], clock))
    os.mkfifo(folder / "fifo")
    assert looks(walk_events([folder], [], clock)) == before


def test_very_deep_folders_are_walked(tmp_path, clock):
    deep = tmp_path
    for _ in range(400):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")
    assert looks(walk_events([tmp_path], [], clock)) == created(deep, "x")


def test_unreadable_folder_is_a_warning_and_the_walk_goes_on(clock):
    with folder_of_an_ordinary_user() as folder:
        for name in ("a.dcm", "b/1.dcm", "c/2.dcm"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"")
        (folder / "b").chmod(0)
        warnings = []
        known = [url_of(folder / "b" / "1.dcm")]
        try:
            found = looks(walk_events([folder], known, clock, on_warning=warnings.append))
        finally:
            (folder / "b").chmod(0o700)
        assert found == created(folder, "a.dcm", "c/2.dcm")
        assert [(w.path, w.reason) for w in warnings] == [(str(folder / "b"), "permission denied")]


class Watcher:
    """Collects what a watch reports."""

    def __init__(self):
        self.events = Queue()

    def expect(self, *wanted):
        """Wait until all of these looks have been reported."""
        missing = set(wanted)
        while missing:
            try:
                missing -= set(looks([self.events.get(timeout=WAIT_S)]))
            except Empty:
                pytest.fail(f"never reported: {sorted(missing)}")


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def watch(folder, clock, watcher):
    known = [json.loads(event)["data"]["url"] for event in walk_events([folder], [], clock)]
    exclude = [folder / ".data"]
    with watch_events([folder], known, clock, watcher.events.put, exclude=exclude) as watch:
        yield watch
        assert watch.error is None


@pytest.mark.usefixtures("watch")
class TestWatch:
    def test_new_changed_and_deleted_files_are_reported(self, folder, watcher):
        (folder / "new.dcm").write_bytes(b"1")
        watcher.expect(*created(folder, "new.dcm"))
        (folder / "a.dcm").write_bytes(b"changed")
        watcher.expect(*created(folder, "a.dcm"))
        (folder / "a.dcm").unlink()
        watcher.expect(*deleted(folder, "a.dcm"))

    def test_growing_file_is_reported_again_when_closed(self, folder, watcher):
        with (folder / "growing.dcm").open("wb") as file:
            file.write(b"1")
            watcher.expect(*created(folder, "growing.dcm"))
            file.write(b"2")
        watcher.expect(*created(folder, "growing.dcm"))

    def test_renamed_file_is_gone_and_new(self, folder, watcher):
        (folder / "a.dcm").rename(folder / "b" / "moved.dcm")
        watcher.expect(*deleted(folder, "a.dcm"), *created(folder, "b/moved.dcm"))

    def test_renamed_folder_is_reported_file_by_file(self, folder, watcher):
        (folder / "b").rename(folder / "d")
        watcher.expect(
            *deleted(folder, "b/1.dcm", "b/2.dcm"), *created(folder, "d/1.dcm", "d/2.dcm")
        )

    def test_folder_moved_out_is_reported_file_by_file(self, folder, watcher, tmp_path):
        (folder / "b").rename(tmp_path / "out")
        watcher.expect(*deleted(folder, "b/1.dcm", "b/2.dcm"))

    def test_folder_moved_in_is_reported_file_by_file(self, folder, watcher, tmp_path):
        (tmp_path / "ready" / "x" / "y").mkdir(parents=True)
        (tmp_path / "ready" / "x" / "y" / "1.dcm").write_bytes(b"1")
        (tmp_path / "ready" / "x").rename(folder / "x")
        watcher.expect(*created(folder, "x/y/1.dcm"))
        (folder / "x" / "y" / "2.dcm").write_bytes(b"2")
        watcher.expect(*created(folder, "x/y/2.dcm"))

    def test_deep_folder_made_at_once_is_reported(self, folder, watcher):
        for i in range(20):
            (folder / "n" / str(i) / "m").mkdir(parents=True)
            (folder / "n" / str(i) / "m" / "f").write_bytes(b"1")
        watcher.expect(*created(folder, *(f"n/{i}/m/f" for i in range(20))))

    def test_own_data_directory_is_left_out(self, folder, watcher):
        (folder / ".data").mkdir()
        (folder / ".data" / "x").write_bytes(b"1")
        (folder / "last").write_bytes(b"1")
        watcher.expect(*created(folder, "last"))
        assert watcher.events.empty() or "data%2Fx" not in watcher.events.get()


def test_failing_receiver_is_told_by_the_watch(folder, clock):
    failed = Queue()

    def fail(_):
        failed.put(None)
        raise UnavailableError("disk full")

    with watch_events([folder], [], clock, fail) as watch:
        (folder / "x").write_bytes(b"1")
        failed.get(timeout=WAIT_S)
    assert isinstance(watch.error, UnavailableError)


def test_overflow_of_the_kernel_queue_is_told_by_the_watch(folder, clock):
    with watch_events([folder], [], clock, lambda _: None) as watch:
        assert watch.is_complete
        name = "watchdog.observers.inotify_c"
        logging.getLogger(name).warning("Inotify queue overflowed; filesystem events were lost")
        assert not watch.is_complete
        assert watch.error is None


def test_second_writer_is_told_who_holds_the_lock(tmp_path):
    with (
        writer_lock(tmp_path / "data"),
        pytest.raises(InvalidInputError, match=rf"another dicom-indexer \(pid {os.getpid()}\)"),
        writer_lock(tmp_path / "data"),
    ):
        pass
    with writer_lock(tmp_path / "data"):
        pass


def test_lock_of_a_killed_process_is_free_again(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InvalidInputError, match=f"pid {holder.pid}"), writer_lock(tmp_path):
            pass
        holder.kill()
    with writer_lock(tmp_path):
        pass


def test_lock_below_a_file_is_unavailable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError), writer_lock(tmp_path / "file"):
        pass
