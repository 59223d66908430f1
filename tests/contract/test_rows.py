"""Row stores: the contract on memory and SQLite."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings

from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import Written
from indexer_core.testing.contracts.rows import RowStoreContract, stored
from indexer_core.testing.memory import MemoryRows
from indexer_core.testing.strategies import row_values


class TestMemoryRows(RowStoreContract):
    @pytest.fixture
    def rows(self):
        return MemoryRows()

    @pytest.fixture
    def twin(self, rows):
        return rows

    @pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), b"x"])
    def test_anything_but_a_scalar_is_a_bug(self, rows, value):
        with pytest.raises(TypeError):
            rows.insert("p", "k", {"a": value})


class TestSqliteRows(RowStoreContract):
    @pytest.fixture
    def rows(self, tmp_path):
        rows = SqliteRows(tmp_path / "state.db", "instances")
        yield rows
        rows.close()

    @pytest.fixture
    def twin(self, rows):
        twin = SqliteRows(rows._file._path, "instances")
        yield twin
        twin.close()

    @pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), b"x"])
    def test_anything_but_a_scalar_is_a_bug(self, rows, value):
        with pytest.raises(TypeError):
            rows.insert("p", "k", {"a": value})

    def test_tables_of_one_file_are_apart(self, rows):
        other = SqliteRows(rows._file._path, "series")
        rows.insert("p", "k", {"a": 1})
        assert other.get("p", "k") is None
        assert isinstance(other.insert("p", "k", {"a": 2}), Written)
        assert [row.values["a"] for row in rows.scan()] == [1]
        assert [row.values["a"] for row in other.query("p")] == [2]
        other.close()

    def test_rows_survive_a_restart(self, rows):
        rows.insert("p", "k", {"a": 1})
        before = stored(rows, "p", "k")
        rows.close()
        again = SqliteRows(rows._file._path, "instances")
        assert again.get("p", "k") == before
        again.close()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(first=row_values(), second=row_values())
    def test_any_values_come_back_merged(self, rows, first, second):
        rows.insert("p", "k", first)
        row = stored(rows, "p", "k")
        rows.merge(row, second)
        row = stored(rows, "p", "k")
        assert row.values == {**first, **second}
        assert rows.delete(row)

    def test_row_written_by_another_program_is_seen(self, rows):
        rows.insert("p", "k", {"a": 1})
        row = stored(rows, "p", "k")
        with closing(sqlite3.connect(rows._file._path)) as connection, connection:
            connection.execute("UPDATE rows SET data = ?, etag = 'x'", (json.dumps({"a": 5}),))
        assert stored(rows, "p", "k").values == {"a": 5}
        assert rows.delete(row) is False

    def test_row_that_is_no_json_object_is_corrupt(self, rows):
        rows.insert("p", "k", {"a": 1})
        for damage in ("[1]", "{", "7"):
            with closing(sqlite3.connect(rows._file._path)) as connection, connection:
                connection.execute("UPDATE rows SET data = ?", (damage,))
            with pytest.raises(CorruptIndexError):
                rows.get("p", "k")

    def test_file_of_a_newer_version_is_refused(self, rows):
        rows.insert("p", "k", {})
        with closing(sqlite3.connect(rows._file._path)) as connection, connection:
            connection.execute("PRAGMA user_version=99")
        newer = SqliteRows(rows._file._path, "instances")
        with pytest.raises(InvalidInputError, match="newer"):
            newer.get("p", "k")

    def test_no_merge_is_lost_among_threads(self, rows):
        rows.insert("p", "k", {"n": 0})

        def count_up(_: int) -> None:
            while not isinstance(
                rows.merge(row := stored(rows, "p", "k"), {"n": row.values["n"] + 1}), Written
            ):
                pass

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count_up, range(60)))
        assert stored(rows, "p", "k").values["n"] == 60
