"""The contract of `indexer_core.ports.RowStore`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pytest

from indexer_core.ports import PreconditionFailed, Row, RowStore, Written

VALUES: Mapping[str, Any] = {
    "text": "größer 日本 \U0001f9e0 \"'",
    "empty": "",
    "count": 7,
    "large": 2**40,
    "share": 0.1,
    "yes": True,
    "no": False,
}


def stored(rows: RowStore, partition: str, key: str) -> Row:
    """The row that must be there."""
    row = rows.get(partition, key)
    assert row is not None
    return row


class RowStoreContract(ABC):
    """What every row store does. Subclasses give the fixtures `rows` and `twin`."""

    n_many = 1100
    """Rows of the listing test: more than a page of any adapter."""

    @pytest.fixture
    @abstractmethod
    def rows(self) -> RowStore:
        """An empty table."""

    @pytest.fixture
    @abstractmethod
    def twin(self, rows: RowStore) -> RowStore:
        """A second handle on the same table."""

    def test_absent_row_is_none(self, rows: RowStore) -> None:
        assert rows.get("p", "k") is None
        assert list(rows.query("p")) == []
        assert list(rows.scan()) == []

    def test_inserted_row_is_read_back(self, rows: RowStore, twin: RowStore) -> None:
        outcome = rows.insert("p", "k", VALUES)
        assert isinstance(outcome, Written)
        row = stored(twin, "p", "k")
        assert row == Row(partition="p", key="k", values=dict(VALUES), etag=outcome.etag)
        for name, value in VALUES.items():
            assert type(row.values[name]) is type(value)

    def test_row_without_values_is_a_row(self, rows: RowStore) -> None:
        assert isinstance(rows.insert("p", "k", {}), Written)
        assert dict(stored(rows, "p", "k").values) == {}

    def test_only_the_first_insert_takes_place(self, rows: RowStore, twin: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        assert twin.insert("p", "k", {"a": 2}) == PreconditionFailed()
        assert stored(rows, "p", "k").values["a"] == 1
        assert isinstance(twin.insert("p", "k2", {"a": 2}), Written)
        assert isinstance(twin.insert("p2", "k", {"a": 3}), Written)

    def test_none_is_no_value(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": None, "b": 1})
        assert isinstance(rows.merge(stored(rows, "p", "k"), {"b": None}), Written)
        values = stored(rows, "p", "k").values
        assert (values.get("a"), values.get("b")) == (None, None)

    def test_merge_sets_some_values_and_keeps_the_others(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": 1, "b": "x"})
        outcome = rows.merge(stored(rows, "p", "k"), {"b": "y", "c": True})
        assert isinstance(outcome, Written)
        row = stored(rows, "p", "k")
        assert dict(row.values) == {"a": 1, "b": "y", "c": True}
        assert row.etag == outcome.etag

    def test_merge_of_a_stale_row_is_refused(self, rows: RowStore, twin: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        stale = stored(rows, "p", "k")
        assert isinstance(twin.merge(stored(twin, "p", "k"), {"a": 2}), Written)
        assert rows.merge(stale, {"a": 3}) == PreconditionFailed()
        assert stored(rows, "p", "k").values["a"] == 2

    def test_merge_of_an_absent_row_is_refused(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        row = stored(rows, "p", "k")
        assert rows.delete(row)
        assert rows.merge(row, {"a": 2}) == PreconditionFailed()
        assert rows.get("p", "k") is None

    def test_merge_of_equal_values_still_changes_the_etag(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        etags = {stored(rows, "p", "k").etag}
        for _ in range(5):
            rows.merge(stored(rows, "p", "k"), {"a": 1})
            etags.add(stored(rows, "p", "k").etag)
        assert len(etags) == 6

    def test_row_of_a_merge_can_be_merged_again(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        row = stored(rows, "p", "k")
        outcome = rows.merge(row, {"a": 2})
        assert isinstance(outcome, Written)
        again = Row(partition="p", key="k", values={"a": 2}, etag=outcome.etag)
        assert isinstance(rows.merge(again, {"b": 3}), Written)
        assert dict(stored(rows, "p", "k").values) == {"a": 2, "b": 3}

    def test_delete_of_a_stale_row_is_refused(self, rows: RowStore, twin: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        stale = stored(rows, "p", "k")
        twin.merge(stored(twin, "p", "k"), {"a": 2})
        assert rows.delete(stale) is False
        assert rows.delete(stored(rows, "p", "k")) is True
        assert rows.delete(stale) is False
        assert rows.get("p", "k") is None

    def test_row_inserted_again_does_not_get_its_old_etag(self, rows: RowStore) -> None:
        rows.insert("p", "k", {"a": 1})
        old = stored(rows, "p", "k")
        assert rows.delete(old)
        rows.insert("p", "k", {"a": 1})
        assert rows.merge(old, {"a": 2}) == PreconditionFailed()
        assert rows.delete(old) is False

    def test_query_gives_its_partition_in_key_order(self, rows: RowStore) -> None:
        for key in ("b", "a", "c10", "c1", "B", "c-"):
            rows.insert("p", key, {"key": key})
        rows.insert("p1", "a", {})
        rows.insert("o", "a", {})
        assert [row.key for row in rows.query("p")] == ["B", "a", "b", "c-", "c1", "c10"]
        assert all(row.values["key"] == row.key for row in rows.query("p"))
        assert all(row.etag == stored(rows, "p", row.key).etag for row in rows.query("p"))

    def test_scan_gives_all_rows_in_order(self, rows: RowStore) -> None:
        places = [("b", "1"), ("a", "2"), ("a", "1"), ("c", "0")]
        for partition, key in places:
            rows.insert(partition, key, {})
        assert [(row.partition, row.key) for row in rows.scan()] == sorted(places)

    def test_long_listings_are_complete(self, rows: RowStore) -> None:
        for i in range(self.n_many):
            rows.insert("p", f"{i:05d}", {"i": i})
        expected = list(range(self.n_many))
        assert [row.values["i"] for row in rows.query("p")] == expected
        assert [row.values["i"] for row in rows.scan()] == expected

    def test_rows_can_be_written_during_a_query(self, rows: RowStore, twin: RowStore) -> None:
        for i in range(10):
            rows.insert("p", str(i), {"n": 0})
        for row in rows.query("p"):
            assert isinstance(twin.merge(row, {"n": 1}), Written)
        assert [row.values["n"] for row in rows.query("p")] == [1] * 10
        for row in rows.query("p"):
            assert rows.delete(row)
        assert list(rows.query("p")) == []
