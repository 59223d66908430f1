"""How programs read an index: settings, and what the machine allows."""

import os
from pathlib import Path

import pytest

from indexer_core.adapters.file_cache import cached_files
from indexer_core.adapters.system import usable_memory_bytes
from indexer_core.errors import InvalidInputError
from indexer_core.reading import Reading, read_reading
from indexer_core.testing.contracts.files import put
from indexer_core.testing.memory import MemoryBlobs


def test_nothing_set_leaves_everything_to_the_program():
    assert read_reading({}, "X_") == Reading()


def test_settings_are_read_under_the_name_of_the_program():
    environment = {
        "X_MEMORY_MB": "1.5", "X_SEARCH": "approximate", "X_CACHE_DIR": "a/b", "X_CACHE_MB": "2",
        "Y_MEMORY_MB": "7",
    }  # fmt: skip
    assert read_reading(environment, "X_") == Reading(
        memory_bytes=3 << 19, exact=False, cache_folder=Path("a/b"), cache_bytes=2 << 20
    )
    assert read_reading({"X_SEARCH": "exact"}, "X_").exact is True


@pytest.mark.parametrize(
    ("name", "value"),
    [("MEMORY_MB", "much"), ("MEMORY_MB", "0"), ("MEMORY_MB", "nan"), ("CACHE_MB", "-1"),
     ("SEARCH", "quick")],
)  # fmt: skip
def test_what_cannot_be_used_is_named(name, value):
    with pytest.raises(InvalidInputError, match=f"X_{name}"):
        read_reading({f"X_{name}": value}, "X_")


def test_a_container_may_use_three_quarters_of_its_memory_not_of_the_machine(tmp_path):
    whole = usable_memory_bytes(())
    assert whole > 100 << 20
    limit = tmp_path / "memory.max"
    for text, usable in (("max\n", whole), ("4096\n", 3072), (f"{whole * 100}\n", whole)):
        limit.write_text(text)
        assert usable_memory_bytes((tmp_path / "none", limit)) == usable


def test_copies_lie_where_the_settings_say_or_where_the_program_says(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    blobs = MemoryBlobs()
    ref = put(blobs, b"some bytes")
    named = Reading(cache_folder=tmp_path / "named")
    for reading, default, folder in (
        (named, tmp_path / "own", tmp_path / "named"),
        (Reading(), tmp_path / "own", tmp_path / "own"),
        (Reading(), None, tmp_path / "tmp" / f"dicom-indexer-{os.getuid()}"),
    ):
        cached_files(blobs, reading, "an account", default).open(ref)
        cached_files(blobs, reading, "another account", default).open(ref)
        assert [path.name for path in folder.glob("*/*")] == [ref.sha256] * 2
        assert not list(tmp_path.rglob("*account*"))


def test_without_a_limit_copies_leave_room_on_the_disk(tmp_path, monkeypatch):
    blobs = MemoryBlobs()
    small, large = put(blobs, b"1" * 40), put(blobs, b"2" * 71)
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    files = cached_files(blobs, Reading(cache_folder=tmp_path / "copies"), "an account")
    files.open(small)
    assert files.open(large) == b"2" * 71  # in memory: it would leave less than half
    assert [path.name for path in (tmp_path / "copies").glob("*/*")] == [small.sha256]
