"""Both homes of one index, asked the same: what they answer must be equal, and how long they take.

A folder of made-up series (`benchmarks.made_up_index`) and the collections that a follower keeps
equal to it. What is timed takes turns, query by query: other work on the machine meets both.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.made_up_index import (
    IMAGE_DIMENSION,
    TEXTS,
    MadeUpIndex,
    row_of,
    unit_vectors,
)
from benchmarks.milvus_server import Served, files_mib, private_mib
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.follower import Follower
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.moving import FollowPolicy
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.filters import parse_filter
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.vector_index import VectorIndex

FIRST, SECOND = "first", "milvus"
PREFIX = "bench"
WORDS = "axial brain without contrast"
TOP = 10
LISTED = 1_000
FACETS = ("modality", "bodyRegion", "plane", "manufacturer")
SHARES = (0.01, 0.1, 0.5)
_TEXT_FIELDS = ("modality", "bodyRegion", "plane", "manufacturer", "model", "sex")
LEAST = 3
_T = TypeVar("_T")
Runs = dict[str, dict[str, list[float]]]
"""Milliseconds by what was asked, and by home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything.

    queries: asked without a filter; with one, a fifth of them. seconds: after so many, a question
    is asked no more, but `LEAST` times; without a filter after four times as many.
    """

    series: int = 100_000
    segment: int = 10_000
    delta: int = 1_000
    deltas: int = 3
    queries: int = 50
    rounds: int = 3
    text_dimension: int = 512
    seconds: float = 12.0


def timed(do: Callable[[], _T]) -> tuple[float, _T]:
    """Milliseconds that it took, and what it gave."""
    start = time.perf_counter()
    given = do()
    return 1000 * (time.perf_counter() - start), given


class BothHomes:
    """An index in a folder, a reader of it, and collections that follow it."""

    def __init__(self, work: Path, milvus: Served, sizes: Sizes, token: str = "") -> None:
        self.sizes = sizes
        self.milvus = milvus
        self.folder = work / "index"
        self.index = MadeUpIndex(FolderBlobs(self.folder), text_dimension=sizes.text_dimension)
        settings = MilvusSettings(uri=milvus.uri, token=token, prefix=PREFIX, timeout_s=600.0)
        self.client = connect(settings)
        self.follower = Follower(
            self.client,
            self.index.blobs,
            self.index.vector_files,
            prefix=PREFIX,
            address="benchmark",
            clock=SystemClock(),
            ids=RandomIds(),
            files=self.index.files,
            # milvus-lite stops for a minute when it makes a segment of what it has in memory.
            policy=FollowPolicy(timeout_s=300.0),
        )
        self.home = MilvusHome(settings, self.index.blobs)
        self._n = 0

    def add(self, n_series: int) -> float:
        """Add a segment of so many series to the first home; milliseconds of writing it."""
        write_id = self.index.ids.new_id()
        numbers = range(self._n, self._n + n_series)
        rows = sorted(
            # Of their texts alone: images would be measured once more in the same way.
            (replace(row_of(number, 1, write_id), image_count=0) for number in numbers),
            key=lambda row: row.series_key,
        )
        texts = unit_vectors(self._n + 1, TEXTS * n_series, self.sizes.text_dimension)
        images = np.empty((0, IMAGE_DIMENSION), np.float32)
        self._n += n_series
        took, _ = timed(lambda: self.index.add(self.index.write_vectors(rows, texts, images)))
        return took

    def follow(self) -> float:
        """Bring the collections to the newest manifest; milliseconds."""
        took, step = timed(self.follower.step)
        assert step.outcome == "applied", step
        return took

    def flush(self) -> float:
        """Have Milvus seal what it has taken; milliseconds.

        A cluster does so by itself after a while. milvus-lite does at some megabytes, and what is
        left it searches in Python.
        """
        names = self.client.list_collections()
        took, _ = timed(lambda: [self.client.flush(name) for name in names])
        return took

    def opened(self) -> Mapping[str, VectorIndex]:
        """The newest state in both."""
        self.index.reader.refresh()
        second = self.home.refresh()
        assert second is not None
        return {FIRST: SnapshotIndex(self.index.reader.snapshot), SECOND: second}


def measure(work: Path, milvus: Served, sizes: Sizes, token: str = "") -> dict[str, Any]:
    """All that the page tells."""
    homes = BothHomes(work, milvus, sizes, token)
    before = private_mib("self"), milvus.memory_mib()
    parts = range(0, sizes.series, sizes.segment)
    written_ms = sum(homes.add(min(sizes.segment, sizes.series - begin)) for begin in parts)
    followed_ms = homes.follow()
    flushed_ms = homes.flush()
    print(
        f"followed in {followed_ms / 1000:.0f} s, flushed in {flushed_ms / 1000:.0f} s", flush=True
    )
    found: dict[str, Any] = {
        "series": sizes.series,
        "texts": TEXTS * sizes.series,
        "dimension": sizes.text_dimension,
        "bulk_ms": {FIRST: written_ms, SECOND: followed_ms + flushed_ms},
        "flushed_ms": flushed_ms,
        "memory_before_mib": {FIRST: before[0], SECOND: before[1]},
    }
    found["delta_ms"] = _deltas(homes)
    found["delta_flushed_ms"] = homes.flush()
    states = homes.opened()
    conditions = {"all": ANYTHING, **chosen(states[FIRST])}
    found["shares"] = {
        name: _same(states, lambda state, said=said: state.select(said).n_passed)
        / states[FIRST].state.n_series
        for name, said in conditions.items()
    }
    found["filters"] = {
        name: [str(each) for each in said.filters] for name, said in conditions.items()
    }
    found["runs"] = _asked(states, conditions, sizes)
    found["memory_mib"] = {FIRST: private_mib("self"), SECOND: milvus.memory_mib()}
    found["disk_mib"] = {FIRST: files_mib(homes.folder), SECOND: milvus.disk_mib()}
    return found


def _deltas(homes: BothHomes) -> dict[str, list[float]]:
    """Further series, until they can be searched in each home."""
    took: dict[str, list[float]] = {FIRST: [], SECOND: []}
    homes.opened()
    for _ in range(homes.sizes.deltas):
        written = homes.add(homes.sizes.delta)
        refreshed, _ = timed(homes.index.reader.refresh)
        took[FIRST].append(written + refreshed)
        followed = homes.follow()
        opened, _ = timed(homes.home.refresh)
        took[SECOND].append(followed + opened)
    return took


def chosen(index: VectorIndex) -> dict[str, Conditions]:
    """Filters on a text, a number and a list that about 1, 10 and 50 % of series meet."""
    n_series = index.state.n_series
    counted = {said: index.select(said).n_passed / n_series for said in _candidates(index)}
    found = {}
    for kind in ("text", "number", "list"):
        for share in SHARES:
            of_kind = [said for said in counted if _kind(said) == kind]
            nearest = min(of_kind, key=lambda said: abs(np.log((counted[said] or 1e-9) / share)))
            found[f"{kind}, {share:.0%}"] = nearest
    return found


def _candidates(index: VectorIndex) -> Iterator[Conditions]:
    fields = (*_TEXT_FIELDS, "sequence", "flags")
    facets = index.facets(
        ANYTHING, fields, exclude_own=False, most=100, least=0, chosen=index.select(ANYTHING)
    )
    for facet in facets:
        names = [each.value for each in facet.values if "," not in each.value]
        for name in names:
            yield _condition(f"{facet.field}={name}")
        for end in range(2, len(names) + 1):
            yield _condition(f"{facet.field}={','.join(names[:end])}")
            yield _condition(f"{facet.field}={','.join(names[-end:])}")
    for age in range(1, 100):
        yield _condition(f"ageYears>={age}")


def _condition(said: str) -> Conditions:
    return Conditions(filters=(parse_filter(said),))


def _kind(said: Conditions) -> str:
    field = said.filters[0].field
    return {"ageYears": "number", "sequence": "list", "flags": "list"}.get(field, "text")


def _asked(
    states: Mapping[str, VectorIndex], conditions: Mapping[str, Conditions], sizes: Sizes
) -> Runs:
    queries = unit_vectors(9_999_991, sizes.rounds * sizes.queries, sizes.text_dimension)
    few = queries[: max(LEAST, len(queries) // 5)]
    runs: Runs = {}

    def ask(
        name: str,
        asks: Sequence[Callable[[VectorIndex], Any]],
        told: Callable[[Any], Any],
        budgets: int = 1,
    ) -> None:
        begun = time.monotonic()
        for number, each in enumerate(asks):
            if number >= LEAST and time.monotonic() - begun > budgets * sizes.seconds:
                break
            _turn(runs.setdefault(name, {FIRST: [], SECOND: []}), name, states, each, told)
        middle = {home: round(float(np.median(ms)), 1) for home, ms in runs[name].items()}
        print(name, middle, flush=True)

    for name, said in conditions.items():
        asked, budgets = (queries, 4) if name == "all" else (few, 1)
        searches = [partial(_search, said=said, query=query) for query in asked]
        ask(f"search: {name}", searches, _hits, budgets)
        if name != "all":
            ask(f"count: {name}", [partial(_count, said=said)] * len(few), int)
    ask("records", [partial(_records, query=query) for query in few], list)
    ask("facets", [_facets] * len(few), list)
    ask("listing", [_listing] * len(few), list)
    return runs


def _count(index: VectorIndex, said: Conditions) -> int:
    return index.select(said).n_passed


def _search(index: VectorIndex, said: Conditions, query: Any) -> Sequence[Any]:
    return index.select(said).by_words(WORDS, query, TOP, exact=True)


def _records(index: VectorIndex, query: Any) -> Sequence[str]:
    hits = index.select(ANYTHING).by_words(WORDS, query, TOP, exact=True)
    return [str(index.record(hit)["seriesInstanceUid"]) for hit in hits]


def _facets(index: VectorIndex) -> Sequence[Any]:
    return index.facets(
        ANYTHING, FACETS, exclude_own=False, most=20, least=0, chosen=index.select(ANYTHING)
    )


def _listing(index: VectorIndex) -> Sequence[str]:
    return [hit.key for hit in islice(index.select(ANYTHING).listed(), LISTED)]


def _hits(hits: Sequence[Any]) -> Sequence[str]:
    return [hit.key for hit in hits]


def _turn(
    taken: dict[str, list[float]],
    name: str,
    states: Mapping[str, VectorIndex],
    ask: Callable[[VectorIndex], Any],
    told: Callable[[Any], Any],
) -> None:
    """Ask both, one after the other, and whoever was last before is first now."""
    order = list(states)
    if len(taken[FIRST]) % 2:
        order.reverse()
    answers = {}
    for home in order:
        took, answer = timed(partial(ask, states[home]))
        taken[home].append(took)
        answers[home] = told(answer)
    assert answers[FIRST] == answers[SECOND], f"the homes answer differently: {name}"


def _same(states: Mapping[str, VectorIndex], ask: Callable[[VectorIndex], int]) -> int:
    first, second = (ask(states[home]) for home in (FIRST, SECOND))
    assert first == second, (first, second)
    return first
