"""The published batch pipeline's own table, computed from its own rates.

It runs every series through a GPU or CPU node that also holds, or asks, an endpoint, and pays both
by the hour. Two of its four rows follow from its rates; what it states for the other two is kept
beside what its rates give.
"""

from dataclasses import dataclass

GPU_NODE_PRICE = 3.00
CPU_NODE_PRICE = 0.25
ENDPOINT_PRICE = 1.40
"""USD an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table. stated_usd: what it says that the row costs."""

    n_series: int
    node: str
    hours: float
    node_price: float
    endpoint_price: float
    stated_usd: float

    @property
    def series_s(self) -> float:
        """Seconds a series."""
        return self.hours * 3600 / self.n_series

    @property
    def node_usd(self) -> float:
        """What its rates give for the node."""
        return self.hours * self.node_price

    @property
    def endpoint_usd(self) -> float:
        """What its rates give for the endpoint."""
        return self.hours * self.endpoint_price

    @property
    def usd(self) -> float:
        """What its rates give."""
        return self.node_usd + self.endpoint_usd


def _row(n_series: int, node: str, hours: float, stated_usd: float) -> Row:
    return Row(
        n_series=n_series,
        node=node,
        hours=hours,
        node_price=GPU_NODE_PRICE if node == "GPU" else CPU_NODE_PRICE,
        endpoint_price=ENDPOINT_PRICE,
        stated_usd=stated_usd,
    )


ROWS = (
    _row(4_500, "CPU", 200 / 60, 12),
    _row(4_500, "GPU", 30 / 60, 18),
    _row(120_000, "CPU", 108, 178),
    _row(120_000, "GPU", 15, 66),
)
BASELINE = ROWS[-1]


def rebuilt(n_series: float) -> float:
    """USD for indexing so many series by it, all anew: it has no deltas."""
    return n_series * BASELINE.usd / BASELINE.n_series
