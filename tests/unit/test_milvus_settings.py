"""Which Milvus is asked, as the environment says."""

import subprocess
import sys

import pytest

from indexer_core.adapters.milvus.settings import MilvusSettings, read_milvus_settings
from indexer_core.errors import InvalidInputError

PREFIX = "DICOM_INDEXER_MILVUS_"


def read(**values: str) -> MilvusSettings | None:
    return read_milvus_settings(
        {f"{PREFIX}{name}": value for name, value in values.items()}, PREFIX
    )


def test_without_an_address_there_is_no_second_home():
    assert read() is None
    assert read(URI="", TOKEN="secret") is None


def test_what_is_not_set_has_a_default():
    assert read(URI="index.db") == MilvusSettings(uri="index.db")
    assert read(URI="http://m:19530", TOKEN="u:p", PREFIX="site_1", TIMEOUT_S="2.5") == (
        MilvusSettings(uri="http://m:19530", token="u:p", prefix="site_1", timeout_s=2.5)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFIX", "1st"),
        ("PREFIX", "a-b"),
        ("PREFIX", "a" * 65),
        ("TIMEOUT_S", "0"),
        ("TIMEOUT_S", "soon"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name, value):
    with pytest.raises(InvalidInputError, match=f"{PREFIX}{name}"):
        read(URI="index.db", **{name: value})


def test_the_token_is_not_told_with_the_settings():
    assert "secret" not in repr(read(URI="index.db", TOKEN="secret"))


def test_reading_settings_needs_no_pymilvus():
    program = "import sys, indexer_core.adapters.milvus.settings; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pymilvus" not in done.stdout.split()
