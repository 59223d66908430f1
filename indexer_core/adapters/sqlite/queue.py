"""Work queues in a SQLite file: at least once, in the order in which messages become visible."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from indexer_core.adapters.sqlite.file import SqliteFile
from indexer_core.ports import Clock, Ids, QueueMessage

# The first index finds the visible messages in order without passing over the others: thousands of
# delayed checks must not slow down a receive.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    receipt TEXT NOT NULL,
    visible_at_s REAL NOT NULL,
    dequeue_count INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (queue, visible_at_s, place);
CREATE INDEX IF NOT EXISTS messages_by_id ON messages (queue, id)
"""
_VISIBLE = """
SELECT place FROM messages WHERE queue = ? AND visible_at_s <= ?
ORDER BY visible_at_s, place LIMIT ?
"""
_TAKE = """
UPDATE messages SET receipt = ?, visible_at_s = ?, dequeue_count = dequeue_count + 1
WHERE place = ? RETURNING id, receipt, body, dequeue_count
"""


class SqliteQueue:
    """Implements `indexer_core.ports.WorkQueue` as one named queue in a SQLite file.

    Parameters
    ----------
    path
        The file; queues and row tables may share one.
    name
        The queue within the file.
    clock, ids
        Where visibility times, message ids and receipts come from.
    """

    def __init__(self, path: Path, name: str, clock: Clock, ids: Ids) -> None:
        self._file = SqliteFile(path, _SCHEMA)
        self._name = name
        self._clock = clock
        self._ids = ids

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        """Enqueue; the message becomes visible after `delay_s`."""
        values = (self._name, self._ids.new_id(), self._clock.now_s() + delay_s, body)
        with self._file.connection() as connection:
            connection.execute(
                "INSERT INTO messages (queue, id, receipt, visible_at_s, dequeue_count, body)"
                " VALUES (?, ?, '', ?, 0, ?)",
                values,
            )

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Up to `max_messages` visible messages, hidden from others for `visibility_s`."""
        now_s = self._clock.now_s()
        search = (self._name, now_s, max_messages)
        with self._file.connection() as connection:
            # Polling an empty queue takes no write lock.
            if connection.execute(_VISIBLE, search).fetchone() is None:
                return ()
        with self._file.transaction() as connection:
            places = connection.execute(_VISIBLE, search).fetchall()
            return tuple(
                QueueMessage(id=row[0], receipt=row[1], body=row[2], dequeue_count=row[3])
                for (place,) in places
                for row in connection.execute(
                    _TAKE, (self._ids.new_id(), now_s + visibility_s, place)
                )
            )

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        """Hide for `visibility_s` from now, with a new receipt; None when it is no longer ours."""
        receipt = self._ids.new_id()
        visible_at_s = self._clock.now_s() + visibility_s
        with self._file.connection() as connection:
            changed = connection.execute(
                "UPDATE messages SET receipt = ?, visible_at_s = ?"
                " WHERE queue = ? AND id = ? AND receipt = ?",
                (receipt, visible_at_s, self._name, message.id, message.receipt),
            ).rowcount
        if not changed:
            return None
        return QueueMessage(
            id=message.id,
            receipt=receipt,
            body=message.body,
            dequeue_count=message.dequeue_count,
        )

    def delete(self, message: QueueMessage) -> bool:
        """Acknowledge; False when the message is no longer ours."""
        with self._file.connection() as connection:
            return bool(
                connection.execute(
                    "DELETE FROM messages WHERE queue = ? AND id = ? AND receipt = ?",
                    (self._name, message.id, message.receipt),
                ).rowcount
            )

    def length(self) -> int:
        """Number of messages, invisible ones included."""
        with self._file.connection() as connection:
            row = connection.execute(
                "SELECT count(*) FROM messages WHERE queue = ?", (self._name,)
            ).fetchone()
        return int(row[0])

    def send_many(self, bodies: Iterable[str]) -> None:
        """Enqueue several messages in one transaction: all or none."""
        now_s = self._clock.now_s()
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO messages (queue, id, receipt, visible_at_s, dequeue_count, body)"
                " VALUES (?, ?, '', ?, 0, ?)",
                ((self._name, self._ids.new_id(), now_s, body) for body in bodies),
            )

    def clear(self) -> None:
        """Drop every message, delayed ones too; for a queue that has nothing to say any more."""
        with self._file.connection() as connection:
            connection.execute("DELETE FROM messages WHERE queue = ?", (self._name,))

    def reclaim(self) -> None:
        """Make received messages visible now, as seen once; only while no other process receives.

        After a kill the messages in hand would stay hidden until their visibility runs out. The
        kill says nothing about them, so it does not count as tries.
        """
        with self._file.connection() as connection:
            connection.execute(
                "UPDATE messages SET visible_at_s = 0, dequeue_count = 1, receipt = ''"
                " WHERE queue = ? AND dequeue_count > 0",
                (self._name,),
            )

    def close(self) -> None:
        """Close the idle connections; the next use opens new ones."""
        self._file.close()
