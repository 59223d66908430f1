"""What merging writes, by the merge policy itself: commits of one size, one after the other."""

from dataclasses import dataclass
from functools import cache
from itertools import count

from indexer_core.index.compaction import MergePolicy, SegmentSize, plan_merge


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeTraffic:
    """What so many commits of one size lead to.

    Parameters
    ----------
    written_bytes
        Of commits and merges.
    n_merges
        Each is a manifest, too.
    n_settled, largest_bytes
        Segments that no merge takes up any more, and the largest of all.
    n_segments
        All that are live in the end.
    """

    committed_bytes: int
    written_bytes: int
    n_commits: int
    n_merges: int
    n_segments: int
    n_settled: int
    largest_bytes: int

    @property
    def amplification(self) -> float:
        """Bytes written for each one that is committed."""
        return self.written_bytes / self.committed_bytes

    @property
    def merges_a_commit(self) -> float:
        """Merges made for each commit."""
        return self.n_merges / self.n_commits


def commits_of_one(commit_bytes: int, policy: MergePolicy) -> int:
    """Commits of one size that become one segment which no merge takes up any more."""
    n_commits = 1
    while commit_bytes * n_commits * policy.fan_in <= policy.max_input_bytes:
        n_commits *= policy.fan_in
    return n_commits


@cache
def merge_traffic(n_commits: int, commit_bytes: int, policy: MergePolicy) -> MergeTraffic:
    """Commit so often, and after every commit merge until the policy plans nothing.

    No row outranks another, so a merge is as large as its inputs together.
    """
    names = count()
    live: dict[str, int] = {}
    written = n_merges = 0
    for _ in range(n_commits):
        live[str(next(names))] = commit_bytes
        written += commit_bytes
        while inputs := _planned(live, policy):
            merged = sum(live.pop(name) for name in inputs)
            live[str(next(names))] = merged
            written += merged
            n_merges += 1
    # What is too large for a merge of so many like it stays as it is.
    settled = [size for size in live.values() if size * policy.fan_in > policy.max_input_bytes]
    return MergeTraffic(
        committed_bytes=n_commits * commit_bytes,
        written_bytes=written,
        n_commits=n_commits,
        n_merges=n_merges,
        n_segments=len(live),
        n_settled=len(settled),
        largest_bytes=max(live.values(), default=0),
    )


def _planned(live: dict[str, int], policy: MergePolicy) -> tuple[str, ...]:
    # Settled ones are never chosen; leaving them out keeps a long run fast.
    sizes = [
        SegmentSize(id=name, size_bytes=size, n_rows=1)
        for name, size in live.items()
        if size * policy.fan_in <= policy.max_input_bytes
    ]
    return plan_merge(sizes, policy) if len(sizes) >= policy.fan_in else ()
