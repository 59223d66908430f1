"""Counts so small that they may point at a person: which of a table are left untold.

A count below `least` is hidden, and with it as many others, smallest first, as it takes that what
is hidden cannot be computed from the total: at least two are, and each of them could be as large
as `least`. That is for one table. Who may ask for many, each a little different, can subtract one
from another; no rule for single tables prevents that.
"""

from collections.abc import Sequence


def hidden_cells(counts: Sequence[int], total: int, least: int) -> frozenset[int] | None:
    """Places of the counts that are left untold; None where telling any would tell too much.

    Parameters
    ----------
    counts
        Of each value and of what has none. They may add up to more than the total where a series
        counts for several values.
    total
        Of all series: known to whoever reads the table.
    least
        The smallest count that may be told; up to 1, everything may.
    """
    if least <= 1:
        return frozenset()

    def is_small(n: int) -> bool:
        # Of a value that nearly all have, those that lack it are the few.
        return 0 < n < least or 0 < total - n < least

    hidden = [place for place, n in enumerate(counts) if is_small(n)]
    if not hidden:
        return frozenset()
    others = [place for place, n in enumerate(counts) if n > 0 and place not in set(hidden)]
    others.sort(key=lambda place: (counts[place], place))
    while not _is_safe([counts[place] for place in hidden], least):
        if not others:
            return None
        hidden.append(others.pop(0))
    return frozenset(hidden)


def _is_safe(hidden: Sequence[int], least: int) -> bool:
    """Whether each of them could be `least` or more, by all that their sum says."""
    return len(hidden) >= 2 and sum(hidden) - (len(hidden) - 1) >= least
