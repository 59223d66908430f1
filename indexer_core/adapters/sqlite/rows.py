"""Tables of small rows in a SQLite file."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer_core.adapters.sqlite.file import SqliteFile
from indexer_core.errors import CorruptIndexError
from indexer_core.ports import PreconditionFailed, Row, WriteResult, Written

_CHUNK_ROWS = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    table_name TEXT NOT NULL,
    partition TEXT NOT NULL,
    key TEXT NOT NULL,
    etag TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (table_name, partition, key)
) WITHOUT ROWID
"""
_GET = "SELECT etag, data FROM rows WHERE table_name = ? AND partition = ? AND key = ?"
# Etags are random, so that a row deleted and created again never gets an earlier one back.
_INSERT = """
INSERT INTO rows VALUES (?, ?, ?, lower(hex(randomblob(8))), ?)
ON CONFLICT DO NOTHING RETURNING etag
"""
_UPDATE = """
UPDATE rows SET etag = lower(hex(randomblob(8))), data = ?
WHERE table_name = ? AND partition = ? AND key = ? RETURNING etag
"""
_DELETE = "DELETE FROM rows WHERE table_name = ? AND partition = ? AND key = ? AND etag = ?"
_QUERY = """
SELECT partition, key, etag, data FROM rows
WHERE table_name = ? AND partition = ? AND key > ? ORDER BY key LIMIT ?
"""
_SCAN = """
SELECT partition, key, etag, data FROM rows
WHERE table_name = ? AND (partition, key) > (?, ?) ORDER BY partition, key LIMIT ?
"""


def _encoded(values: Mapping[str, Any]) -> str:
    for value in values.values():
        if not isinstance(value, str | int | float | None):
            raise TypeError("a row holds JSON scalars only")
    return json.dumps(dict(values), allow_nan=False, separators=(",", ":"))


def _row(partition: str, key: str, etag: str, encoded: str) -> Row:
    try:
        values = json.loads(encoded)
    except ValueError as exc:
        raise CorruptIndexError("a row of the state database is not valid JSON") from exc
    if not isinstance(values, dict):
        raise CorruptIndexError("a row of the state database is not a JSON object")
    return Row(partition=partition, key=key, values=values, etag=etag)


class SqliteRows:
    """Implements `indexer_core.ports.RowStore` as one named table in a SQLite file.

    Parameters
    ----------
    path
        The file; queues and row tables may share one.
    table
        The table within the file.
    """

    def __init__(self, path: Path, table: str) -> None:
        self._file = SqliteFile(path, _SCHEMA)
        self._table = table

    def get(self, partition: str, key: str) -> Row | None:
        """The row, or None."""
        with self._file.connection() as connection:
            found = connection.execute(_GET, (self._table, partition, key)).fetchone()
        return None if found is None else _row(partition, key, *found)

    def insert(self, partition: str, key: str, values: Mapping[str, Any]) -> WriteResult:
        """Create the row; PreconditionFailed when it exists."""
        data = _encoded(values)
        with self._file.connection() as connection:
            written = connection.execute(_INSERT, (self._table, partition, key, data)).fetchall()
        return Written(etag=written[0][0]) if written else PreconditionFailed()

    def merge(self, row: Row, values: Mapping[str, Any]) -> WriteResult:
        """Set these values, keep the others, if the stored etag is still `row.etag`."""
        place = (self._table, row.partition, row.key)
        with self._file.transaction() as connection:
            found = connection.execute(_GET, place).fetchone()
            if found is None or found[0] != row.etag:
                return PreconditionFailed()
            kept = _row(row.partition, row.key, *found).values
            data = _encoded({**kept, **values})
            (written,) = connection.execute(_UPDATE, (data, *place)).fetchall()
        return Written(etag=written[0])

    def delete(self, row: Row) -> bool:
        """Delete if the stored etag is still `row.etag`; False otherwise."""
        place = (self._table, row.partition, row.key, row.etag)
        with self._file.connection() as connection:
            return bool(connection.execute(_DELETE, place).rowcount)

    def query(self, partition: str) -> Iterator[Row]:
        """Rows of a partition in key order.

        Fetched in chunks by key: nothing is locked while the caller works, and rows written
        meanwhile may or may not be seen.
        """
        return self._chunks(_QUERY, lambda last: (partition, last.key if last else ""))

    def scan(self) -> Iterator[Row]:
        """Every row of the table, by partition then key, in chunks as `query`."""
        return self._chunks(_SCAN, lambda last: (last.partition, last.key) if last else ("", ""))

    def compact(self) -> None:
        """Write the file anew, whatever shares it, so that nothing deleted is left in it."""
        self._file.compact()

    def close(self) -> None:
        """Close the idle connections; the next use opens new ones."""
        self._file.close()

    def _chunks(
        self, sql: str, place_after: Callable[[Row | None], Sequence[str]]
    ) -> Iterator[Row]:
        last = None
        while True:
            arguments = (self._table, *place_after(last), _CHUNK_ROWS)
            with self._file.connection() as connection:
                found = connection.execute(sql, arguments).fetchall()
            rows = [_row(*columns) for columns in found]
            yield from rows
            if len(rows) < _CHUNK_ROWS:
                return
            last = rows[-1]
