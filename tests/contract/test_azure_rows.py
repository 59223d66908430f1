"""Azure's tables: the contract on a live Azurite, and what only Azure makes hard."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer_core.adapters.azure.tables import AzureRows
from indexer_core.errors import CorruptIndexError, InvalidInputError, UnavailableError
from indexer_core.ports import Row, Written
from indexer_core.testing.contracts.rows import RowStoreContract, stored
from indexer_core.testing.strategies import row_values
from tests.support.azurite import fresh_name

pytestmark = pytest.mark.azurite

_settings = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
AWKWARD = (
    "a/b",
    "a\\b",
    "#?",
    "it's",
    "a\tb\n\x00",
    "\x7f\x85",
    "größer 日本 \U0001f9e0",
    "",
    "%2F",
    "+ ",
)


class TestAzureRows(RowStoreContract):
    @pytest.fixture
    def rows(self, storage):
        return AzureRows(storage.create_table(fresh_name("rows")))

    @pytest.fixture
    def twin(self, rows, storage):
        return AzureRows(storage.table(rows._table.table_name))

    @pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), b"x"])
    def test_anything_but_a_scalar_is_a_bug(self, rows, value):
        with pytest.raises(TypeError):
            rows.insert("p", "k", {"a": value})

    @_settings
    @given(first=row_values(), second=row_values())
    def test_any_values_come_back_merged(self, rows, first, second):
        rows.insert("p", "k", first)
        row = stored(rows, "p", "k")
        rows.merge(row, second)
        row = stored(rows, "p", "k")
        expected = {**first, **second}
        assert row.values == expected
        assert {n: type(v) for n, v in row.values.items()} == {
            n: type(v) for n, v in expected.items()
        }
        assert rows.delete(row)

    @pytest.mark.parametrize(
        "value",
        [1.0, -3.0, 1e308, 5e-324, 0.1 + 0.2, 2**63 - 1, -(2**63), 2**200, -1, 0,
         "2026-01-01T00:00:00Z", " a ", "a\r\nb", "\x00", "\ud800", "\ufffe", "NaN", "\u2028"],
    )  # fmt: skip
    def test_awkward_value_comes_back_with_its_type(self, rows, value):
        rows.insert("p", "k", {"a": value})
        found = stored(rows, "p", "k").values["a"]
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_number_that_json_lacks_is_a_bug(self, rows, value):
        with pytest.raises(ValueError):
            rows.insert("p", "k", {"a": value})

    def test_long_texts_come_back_and_may_shrink_and_grow(self, rows):
        noise = random.Random(7)
        hard = "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(100_000))
        for text in ("x" * 40_000, hard, "short", hard[:50_000], "\U0001f9e0" * 16_001, None, hard):
            row = rows.get("p", "k")
            if row is None:
                rows.insert("p", "k", {"a": text, "b": 1})
            else:
                assert isinstance(rows.merge(row, {"a": text}), Written)
            assert dict(stored(rows, "p", "k").values) == {"a": text, "b": 1}
            assert [dict(found.values) for found in rows.query("p")] == [{"a": text, "b": 1}]

    @pytest.mark.parametrize("name", ["x", "x_", "_", "y", "y_", "a__1", "ü", "y__1__x"])
    def test_long_text_of_any_name_comes_back(self, rows, name):
        noise = random.Random(7)
        hard = "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(80_000))
        rows.insert("p", "k", {name: hard, "a": 1})
        assert dict(stored(rows, "p", "k").values) == {name: hard, "a": 1}

    def test_row_that_is_too_large_is_refused(self, rows):
        noise = random.Random(7)
        huge = "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(700_000))
        with pytest.raises(InvalidInputError, match="1 MiB"):
            rows.insert("p", "k", {"a": huge})
        with pytest.raises(InvalidInputError, match="1 MiB"):
            rows.insert("p", "k", {f"a{i}": "y" * 15_000 for i in range(40)})
        assert rows.get("p", "k") is None

    @pytest.mark.parametrize(
        "name", ["PartitionKey", "Timestamp", "a b", "a__1", "ü", "1", "odata.etag", "", "x__61"]
    )
    def test_value_of_any_name_comes_back(self, rows, name):
        rows.insert("p", "k", {name: "v", "a": 1})
        assert dict(stored(rows, "p", "k").values) == {name: "v", "a": 1}

    def test_keys_may_hold_any_text(self, rows):
        for partition in AWKWARD:
            rows.insert(partition, "k", {})
            assert stored(rows, partition, "k").partition == partition
            assert [row.partition for row in rows.query(partition)] == [partition]
            assert rows.delete(stored(rows, partition, "k"))
        for key in AWKWARD:
            rows.insert("p", key, {"key": key})
        assert [row.key for row in rows.query("p")] == sorted(AWKWARD)
        for key in AWKWARD:
            assert isinstance(rows.merge(stored(rows, "p", key), {"n": 1}), Written)

    @_settings
    @given(
        keys=st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=6, unique=True)
    )
    def test_any_keys_are_listed_in_order(self, rows, keys):
        for key in keys:
            rows.insert("p", key, {})
        assert [row.key for row in rows.query("p")] == sorted(keys)
        for row in rows.query("p"):
            assert rows.delete(row)

    def test_no_merge_is_lost_among_threads(self, rows):
        rows.insert("p", "k", {"n": 0})

        def count_up(_: int) -> None:
            while not isinstance(
                rows.merge(row := stored(rows, "p", "k"), {"n": row.values["n"] + 1}), Written
            ):
                pass

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count_up, range(24)))
        assert stored(rows, "p", "k").values["n"] == 24

    def test_key_that_is_too_long_is_refused(self, rows):
        with pytest.raises(InvalidInputError, match="too long"):
            rows.insert("p", "k" * 1025, {})

    def test_row_of_another_program_is_corrupt(self, rows):
        rows._table.create_entity({"PartitionKey": "p", "RowKey": "k", "a": b"?"})
        with pytest.raises(CorruptIndexError):
            rows.get("p", "k")

    def test_table_that_is_missing_is_unavailable(self, storage):
        rows = AzureRows(storage.table(fresh_name("none")))
        absent = Row(partition="p", key="k", values={}, etag='W/"1"')
        for call in (
            lambda: rows.get("p", "k"),
            lambda: rows.insert("p", "k", {}),
            lambda: rows.merge(absent, {}),
            lambda: list(rows.query("p")),
            lambda: list(rows.scan()),
        ):
            with pytest.raises(UnavailableError, match="create it"):
                call()
