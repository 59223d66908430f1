"""How keys, names, values and messages are spelt in Azure. No network."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.adapters.azure.queues import decoded, encoded
from indexer_core.adapters.azure.tables import (
    _name_from_azure,
    _name_to_azure,
    key_from_azure,
    key_to_azure,
)
from indexer_core.errors import CorruptIndexError

# Dense in what sorts next to each other and in every escape.
KEYS = st.text(
    st.sampled_from('!"%-./09:@AZ[_`az{~\x7f\x80éÿ\uffff\U0001f9e0 #?\\\x00'), max_size=6
)


@given(KEYS | st.text(max_size=10))
def test_key_comes_back_and_holds_nothing_that_azure_forbids(key):
    stored = key_to_azure(key)
    assert key_from_azure(stored) == key
    assert re.fullmatch(r"[-!.0-9:A-Z\[_`a-z{~]*", stored)


@given(KEYS, KEYS)
def test_order_of_keys_is_kept(first, second):
    assert (key_to_azure(first) < key_to_azure(second)) == (first < second)


def test_uids_are_stored_as_they_are():
    assert key_to_azure("1.2.840.10008.5_x-Y") == "1.2.840.10008.5_x-Y"


@pytest.mark.parametrize("stored", ["é", "!zz", "{c3", "!"])
def test_key_of_another_program_is_corrupt(stored):
    with pytest.raises(CorruptIndexError):
        key_from_azure(stored)


@given(st.text(max_size=30), st.text(max_size=30))
def test_name_comes_back_and_is_an_identifier(first, second):
    stored = _name_to_azure(first)
    assert _name_from_azure(stored) == first
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", stored)
    assert (stored == _name_to_azure(second)) == (first == second)


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_every_body_comes_back_from_its_message(body):
    stored = encoded(body)
    assert base64.b64decode(stored, validate=True).decode() == body
    assert decoded(stored) == body


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_plain_json_of_another_program_is_left_alone(value):
    body = str(value)
    assert decoded(body) == body
