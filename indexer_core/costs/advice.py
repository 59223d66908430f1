"""Which home an index should have, and why: by numbers alone."""

from dataclasses import dataclass
from math import ceil

from indexer_core.costs.figures import Figures
from indexer_core.costs.milvus_sizing import MADE, milvus_size
from indexer_core.costs.sizing import KEPT, Shape, reading_of, size_of

MOST_SEGMENTS = 1_000
"""A judgement: 64 cost a search nothing (docs/benchmarks-index.md), and more were not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """home: ``functions``, ``one machine`` or ``milvus``. exact: whether it is still exact."""

    home: str
    exact: bool
    reason: str


def advise(shape: Shape, wanted_s: float, figures: Figures) -> Advice:
    """The first of these that holds the index and answers in time.

    An instance of the functions; one machine, exact; one machine, approximate; Milvus.
    """
    size = size_of(shape, KEPT, figures)
    reading = reading_of(size, figures)
    machine = reading.machine
    if machine is None:
        needed = f"{size.memory_bytes / 1e9:,.0f} GB of memory"
        return _milvus(shape, wanted_s, f"no single machine here has {needed} to spare", figures)
    if reading.approximate_s > wanted_s:
        slow = f"even an approximate search would take {reading.approximate_s:.2f} s there"
        return _milvus(shape, wanted_s, f"it fits {machine.name}, but {slow}", figures)
    if size.n_segments > MOST_SEGMENTS:
        many = f"{size.n_segments:,} segments are far more than the 64 that were measured"
        return _milvus(shape, wanted_s, f"it fits {machine.name}, but {many}", figures)
    exact = reading.exact_s <= wanted_s
    home = "functions" if machine.vcpus == 0 else "one machine"
    took = reading.exact_s if exact else reading.approximate_s
    way = "exact" if exact else "approximate (an exact one takes " + f"{reading.exact_s:.2f} s)"
    reason = (
        f"{size.memory_bytes / 1e9:.1f} GB fit {machine.name} and a search takes about "
        f"{took:.2f} s, {way}"
    )
    return Advice(home=home, exact=exact, reason=reason)


def _milvus(shape: Shape, wanted_s: float, because: str, figures: Figures) -> Advice:
    size = milvus_size(shape, MADE, figures)
    nodes = (
        f"{size.n_nodes} query nodes hold it and search it exactly in about {size.exact_s:.2f} s"
    )
    more = ceil(size.n_nodes * size.exact_s / wanted_s)
    if more > size.n_nodes:
        nodes = f"{nodes} ({more} for {wanted_s:g} s)"
    return Advice(home="milvus", exact=True, reason=f"{because}; {nodes}")
