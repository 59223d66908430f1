"""A reader moves on to a switched index only when the encoder of its queries is loaded."""

import itertools
import threading
import time

import pytest

from indexer_core.encoders import InBackground, first_of, known, loaded_once
from indexer_core.errors import CorruptIndexError, UnavailableError
from indexer_core.index.adoption import QueryReader
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.filling import text_vectors
from indexer_core.index.reader import Reader
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.updates import Restore, Suppress
from indexer_core.index.upkeep import Upkeep
from indexer_core.testing.faults import RequestCounts, WrappedBlobs
from indexer_core.testing.memory import MemoryBlobs
from tests.support.encoders import (
    FILES,
    NEW,
    OLD,
    NamedEncoder,
    SwitchingIndex,
    assert_search_is_exact,
)
from tests.support.meanwhile import BetweenRequests


class Shelf:
    """Encoders that come one by one."""

    def __init__(self, *encoders) -> None:
        self.encoders = {encoder.encoder_id: encoder for encoder in encoders}
        self.n_asked = 0

    def put(self, encoder) -> None:
        self.encoders[encoder.encoder_id] = encoder

    def __call__(self, encoder_id):
        self.n_asked += 1
        return self.encoders.get(encoder_id)


@pytest.fixture
def index() -> SwitchingIndex:
    made = SwitchingIndex()
    made.add({"a": 1, "b": 1})
    return made


def switch(index: SwitchingIndex) -> None:
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    switcher.switch(TEXT_SPACE, NEW.encoder_id, text_vectors(NEW))


def query_reader(index: SwitchingIndex, find, blobs=None) -> QueryReader:
    blobs = blobs or index.blobs
    return QueryReader(Reader(blobs, FILES), Manifests(blobs), find)


def test_a_switched_index_is_adopted_when_its_encoder_is_there(index):
    shelf = Shelf(OLD)
    reader = query_reader(index, shelf)
    first = reader.refresh()
    assert first.encoder is OLD
    switch(index)
    index.add({"later": 1}, [NEW])
    behind = reader.refresh()
    assert behind.encoder is OLD
    assert behind.newest == index.manifest.number > behind.snapshot.manifest.number
    assert_search_is_exact(behind.snapshot, OLD, {"a": 1, "b": 1})
    shelf.put(NEW)
    after = reader.refresh()
    assert after.encoder is NEW
    assert after.snapshot.manifest.number == after.newest
    assert_search_is_exact(after.snapshot, NEW, {"a": 1, "b": 1, "later": 1})


def test_what_came_before_the_switch_is_found_although_the_encoder_after_it_is_not_there(index):
    reader = query_reader(index, Shelf(OLD))
    reader.refresh()
    index.add({"c": 1})
    index.add({"b": 2}, gone=["b"])
    before = index.manifest.number
    switch(index)
    index.add({"d": 1}, [NEW])
    behind = reader.refresh()
    # The build is in manifest `before + 1`, the fill of three segments in those that follow.
    assert behind.snapshot.manifest.number == before + 4
    assert_search_is_exact(behind.snapshot, OLD, {"a": 1, "c": 1})


def test_a_series_that_is_hidden_after_the_switch_is_hidden_at_once(index):
    reader = query_reader(index, Shelf(OLD))
    reader.refresh()
    switch(index)
    reader.refresh()
    index.commit(Suppress(series_keys=frozenset({"a"})))
    assert_search_is_exact(reader.refresh().snapshot, OLD, {"b": 1})
    index.commit(Restore(series_keys=frozenset({"a"})))
    assert_search_is_exact(reader.refresh().snapshot, OLD, {"a": 1, "b": 1})


def test_a_reader_that_stays_behind_asks_little(index):
    counts = RequestCounts()
    reader = query_reader(index, Shelf(OLD), WrappedBlobs(index.blobs, counts))
    reader.refresh()
    switch(index)
    for number in range(5):
        index.add({f"late{number}": 1}, [NEW])
    reader.refresh()
    counts.requests.clear()
    reader.refresh()
    assert counts.n_requests == 1  # is there news?


def test_files_that_are_collected_between_any_two_requests_are_not_missed(index):
    policy = RetentionPolicy(keep_s=0, keep_newest=1, grace_s=0)

    def replaced() -> None:
        """All that the manifest before held is merged, and gone."""
        Upkeep(index.blobs, FILES, clock=index.clock, ids=index.ids).compact(full=True)
        index.clock.advance(1)
        Collector(index.blobs, index.clock, index.ids).collect(policy)

    for at in itertools.count(1):
        index.add({f"more-{at}": 1})
        around = BetweenRequests(at, replaced)
        found = query_reader(index, Shelf(OLD), WrappedBlobs(index.blobs, around)).refresh()
        assert found.snapshot.n_series == 2 + at
        if around.n < at:
            break
    assert at > 5


def test_an_index_that_is_switched_back_goes_on(index):
    reader = query_reader(index, Shelf(OLD))
    reader.refresh()
    switch(index)
    reader.refresh()
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, OLD.encoder_id, OLD.dimension)
    switcher.switch(TEXT_SPACE, OLD.encoder_id, text_vectors(OLD))
    index.add({"c": 1})
    after = reader.refresh()
    assert after.snapshot.manifest.number == after.newest
    assert_search_is_exact(after.snapshot, OLD, {"a": 1, "b": 1, "c": 1})


def test_a_reader_that_starts_after_the_switch_needs_the_new_encoder_only(index):
    switch(index)
    with pytest.raises(UnavailableError, match=NEW.encoder_id):
        query_reader(index, Shelf(OLD)).refresh()
    assert query_reader(index, Shelf(NEW)).refresh().encoder is NEW


def test_nothing_is_searchable_before_the_index_is_opened():
    empty = MemoryBlobs()
    reader = QueryReader(Reader(empty, FILES), Manifests(empty), Shelf(OLD))
    assert reader.refresh() is None


def test_the_first_encoder_may_be_waited_for(index):
    blobs = index.blobs
    reader = QueryReader(Reader(blobs, FILES), Manifests(blobs), Shelf(), first=Shelf(OLD))
    assert reader.refresh().encoder is OLD


def test_finders_are_asked_in_turn_and_a_loaded_encoder_is_kept():
    shelf = Shelf(NEW)
    find = loaded_once(first_of(known(OLD), shelf))
    assert find(OLD.encoder_id) is OLD
    assert find("nobody's") is None
    assert find(NEW.encoder_id) is NEW
    n_asked = shelf.n_asked
    assert find(NEW.encoder_id) is NEW
    assert shelf.n_asked == n_asked


def test_encoders_that_an_index_has_left_behind_are_let_go():
    third = NamedEncoder("third-text", 3)
    shelf = Shelf(OLD, NEW, third)
    find = loaded_once(shelf)
    for encoder in (OLD, NEW, OLD, third, OLD, third):
        assert find(encoder.encoder_id) is encoder
    assert shelf.n_asked == 3
    assert find(NEW.encoder_id) is NEW
    assert shelf.n_asked == 4


def eventually(condition) -> None:
    until_s = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.001)


def test_loading_in_the_background_keeps_nobody_waiting():
    told, calls = threading.Event(), []

    def slow(encoder_id):
        calls.append(encoder_id)
        assert told.wait(60.0)
        return NEW

    find = InBackground(slow)
    assert find(NEW.encoder_id) is None
    assert find(NEW.encoder_id) is None  # under way: not begun twice
    told.set()
    eventually(lambda: find(NEW.encoder_id) is NEW)
    assert calls == [NEW.encoder_id]


def test_what_could_not_be_loaded_is_tried_again_later():
    answers = iter([CorruptIndexError("half written"), RuntimeError("a bad model"), None, NEW])
    calls = []

    def find_next(encoder_id):
        calls.append(encoder_id)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    find = InBackground(find_next, retry_s=0.0)
    eventually(lambda: find(NEW.encoder_id) is NEW)
    assert len(calls) == 4
    patient = InBackground(calls.append, retry_s=3600.0)
    patient("y")
    eventually(lambda: "y" in calls)
    assert patient("y") is None
    assert calls.count("y") == 1


def test_who_must_wait_is_told_what_went_wrong():
    def broken(encoder_id):
        raise CorruptIndexError("damaged")

    with pytest.raises(CorruptIndexError):
        InBackground(broken).now("x")
    assert InBackground(known(NEW)).now(NEW.encoder_id) is NEW
