"""Thousands of shuffled, repeated events and crashing processes: one message per content."""

from collections import Counter, defaultdict
from functools import cache
from random import Random

import pytest

from indexer_core.assembly import MARKER
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import parse_check
from indexer_core.testing.faults import SimulatedCrash
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import QUIET_S, House

N_EVENTS = 5_000
N_SERIES = 40
SLOTS = 6
CRASHES = 0.03
VISIBILITY_S = 60.0

content = cache(dicom_object)
"""A slice, made once; overwrites choose among few values."""


class Crashes:
    """An `Around` by which the process is killed before or after any write, by chance."""

    def __init__(self, random: Random, rate: float) -> None:
        self._random = random
        self._rate = rate
        self._dead = False
        self.n_writes = 0

    def read(self, operation, call):
        self._check()
        return call()

    def write(self, operation, call):
        self._check()
        self.n_writes += 1
        if self._random.random() >= self._rate:
            return call()
        self._dead = True
        if self._random.random() < 0.5:
            call()
        raise SimulatedCrash

    def _check(self) -> None:
        if self._dead:
            raise SimulatedCrash


class Load:
    """Users at work, events under way, and one process after the other that handles them."""

    def __init__(self, seed: int, crashes: float = CRASHES) -> None:
        self._rate = crashes
        self.random = Random(seed)
        self.house = House()
        self.house.instances.query = self._query
        self.model: dict[str, tuple[str, bytes]] = {}
        self.events: list[str] = []
        self.n_events = 0
        self.n_crashes = 0
        self.n_writes = 0
        self._start()

    def _query(self, partition):
        # The in-memory table sorts all of its rows for a query, thousands of times here.
        with self.house.instances._lock:
            found = [r for (p, _), r in self.house.instances._rows.items() if p == partition]
        return iter(sorted(found, key=lambda row: row.key))

    def _start(self) -> None:
        self.around = Crashes(self.random, self._rate)
        self.program = self.house.program(self.around)

    def act(self) -> None:
        """A user writes, overwrites, moves, or deletes a blob; events come once, twice, or more."""
        series = self.random.randrange(N_SERIES)
        slot = self.random.randrange(SLOTS)
        name = f"{series}-{slot}.dcm"
        what = self.random.random()
        if what < 0.12 and name in self.model:
            self.house.inbox.delete(name)
            del self.model[name]
        else:
            # Now and then an overwrite puts a blob of another series into this place.
            into = self.random.randrange(N_SERIES) if what > 0.95 else series
            data = content(series=f"s{into}", instance=slot, value=self.random.randrange(4))
            self.house.inbox.overwrite(name, data)
            self.model[name] = (f"s{into}", data)
        copies = self.random.choices([1, 2, 3], [0.75, 0.2, 0.05])[0]
        self.events.extend([name] * copies)
        self.n_events += copies

    def deliver(self) -> None:
        """One event, any of those under way; it comes back when its process is killed."""
        place = self.random.randrange(len(self.events))
        self.events[place], self.events[-1] = self.events[-1], self.events[place]
        name = self.events.pop()
        if not self.survives(lambda: self.program.look(self.house.url(name))):
            self.events.append(name)

    def check(self, n: int = 32) -> None:
        """Every check that is visible."""
        for message in self.house.checks.receive(n, VISIBILITY_S):
            body = parse_check(message.body)
            if self.survives(lambda body=body: self.program.assembly.check(body)):
                self.house.checks.delete(message)

    def survives(self, step) -> bool:
        try:
            step()
        except SimulatedCrash:
            self.n_crashes += 1
            self.n_writes += self.around.n_writes
            self._start()
            return False
        return True

    def run(self) -> None:
        while self.n_events < N_EVENTS:
            for _ in range(self.random.randrange(1, 12)):
                self.act()
            for _ in range(self.random.randrange(12)):
                if self.events:
                    self.deliver()
            self.house.clock.advance(self.random.choice([0.1, 1.0, 5.0, QUIET_S + 1]))
            self.check()
            if self.random.random() < 0.02:
                self.survives(lambda: self.program.assembly.sweep(older_than_s=300.0))
        while self.events:
            self.deliver()
        self.settle()

    def settle(self) -> None:
        """Let time pass, processes dying as before, until no series is open."""
        for _ in range(1_000):
            self.house.clock.advance(QUIET_S + VISIBILITY_S + 1)
            self.check(1_000)
            self.survives(lambda: self.program.assembly.sweep(older_than_s=300.0))
            if not self.house.checks.length() and not list(self.program.assembly.open_keys()):
                return
        raise AssertionError("it never settles")


def expected_of(load: Load) -> dict[str, dict[str, str]]:
    """What is there, by series: URL -> stored hash of the content."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name, (series, _) in load.model.items():
        key = series_key("inbox", uid("study"), uid("study", series))
        digest = load.house.inbox.properties(name).content_digest
        found[key][load.house.url(name)] = digest
    return dict(found)


def contents(assembled: AssembledSeries) -> dict[str, str]:
    return {instance.url: instance.content for instance in assembled.instances}


@pytest.fixture(scope="module", params=[1, 2])
def load(request):
    load = Load(seed=request.param)
    load.run()
    return load


def test_the_load_was_what_it_claims(load):
    assert load.n_events >= N_EVENTS
    assert load.n_crashes >= 100
    assert len(load.house.handed.ready) > 5 * N_SERIES
    rate = load.n_crashes / load.n_writes
    assert 0.02 < rate < 0.04


def test_what_was_handed_on_last_equals_the_blobs_that_are_there(load):
    newest = {key: contents(a) for key, a in load.house.newest().items() if a.instances}
    assert newest == expected_of(load)


def test_every_content_generation_is_handed_on_once_but_for_equal_copies(load):
    """A revision never has two contents, and no revision was passed over."""
    by_series: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for ready in load.house.handed.ready:
        by_series[ready.series][ready.revision].add(ready.digest)
    for revisions in by_series.values():
        assert all(len(digests) == 1 for digests in revisions.values())


def test_a_revision_rises_only_with_the_content(load):
    by_series: dict[str, dict[int, str]] = defaultdict(dict)
    for ready in load.house.handed.ready:
        by_series[ready.series][ready.revision] = ready.digest
    for series, digests in by_series.items():
        # One that a crash kept from being handed on is passed over, and may have been in between.
        for revision, digest in digests.items():
            assert digests.get(revision + 1) != digest, series
        marker = load.house.instances.get(series, MARKER).values
        assert marker["revision"] == max(digests)
        assert marker["digest"] == digests[max(digests)]
        assert (marker["unsent"], marker["state"]) == (False, "idle")


def test_copies_of_a_message_are_few_and_come_of_crashes_only(load):
    counts = Counter(load.house.handed.ready)
    n_copies = sum(count - 1 for count in counts.values())
    assert n_copies <= load.n_crashes
    assert n_copies < 0.2 * len(counts)


def test_nothing_is_left_behind(load):
    assert not list(load.house.open_series.scan())
    assert not list(load.house.rejects.scan())
    kept = {
        (row.partition, row.values["url"])
        for row in load.house.instances.scan()
        if "url" in row.values
    }
    assert kept == {(key, url) for key, urls in expected_of(load).items() for url in urls}


def test_without_crashes_every_content_is_handed_on_exactly_once():
    load = Load(seed=3, crashes=0.0)
    load.run()
    assert load.n_crashes == 0
    assert set(Counter(load.house.handed.ready).values()) == {1}
    newest = {key: contents(a) for key, a in load.house.newest().items() if a.instances}
    assert newest == expected_of(load)
