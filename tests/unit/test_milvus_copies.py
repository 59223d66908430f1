"""What a purge tells of collections of Milvus, by the positions beside the manifests alone."""

import subprocess
import sys

import pytest

from indexer_core.adapters.milvus.position import Position, dump_position, position_name
from indexer_core.purge import Subject
from local_host.milvus_copies import MilvusCopies
from tests.conftest import ROOT
from tests.support.erasing import Shelf

BUILDING = {"building": {"generation": "g", "spaces": {}, "is_created": False}}


@pytest.fixture
def shelf():
    shelf = Shelf()
    shelf.add(a=1)
    shelf.add(b=1)
    return shelf


def told(shelf):
    erased = MilvusCopies(shelf.blobs).erase(Subject(series=frozenset({"a"})))
    assert not erased.found_some
    return [each.what for each in erased.remaining]


def put(shelf, prefix, position, following=None):
    shelf.blobs.put_if_absent(position_name(prefix), dump_position(position, following))


def test_where_nothing_ever_followed_nothing_is_told(shelf):
    put(shelf, "never", Position(), {"owner": "somebody", "building": None})
    shelf.blobs.put_if_absent("milvus/other/thing.json", b"{}")
    assert told(shelf) == []


def test_each_prefix_says_how_far_it_is_and_what_to_do(shelf):
    newest = shelf.newest.number
    put(shelf, "ahead", Position(generation="g", applied=newest))
    put(shelf, "behind", Position(generation="g", applied=newest - 1))
    put(shelf, "filling", Position(), BUILDING)
    ahead, behind, filling, strangers = told(shelf)
    assert "prefix ahead, are deleted" in ahead
    assert "compacts" in ahead
    assert f"prefix behind, which has followed to manifest {newest - 1}: gone once" in behind
    assert f"that manifest {newest} or a later one" in behind
    assert "prefix filling, which has followed to manifest 0" in filling
    assert "as of another index" in strangers


def test_a_position_that_cannot_be_read_is_told_and_does_not_stop_a_purge(shelf):
    shelf.blobs.put_if_absent(position_name("torn"), b"{")
    assert "prefix torn, whose position cannot be read" in told(shelf)[0]


def test_it_takes_no_client_of_milvus():
    script = "import sys, local_host.milvus_copies; sys.exit('pymilvus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0
