"""Lineage: what is written down about the making of each manifest."""

from collections.abc import Mapping

from indexer_core.index.manifest import Lineage
from indexer_core.software import NAME, commit_id

PURGED = "purged"
"""Detail of a manifest that a purge has written anew: when, in seconds since the epoch."""


def made_now(
    reason: str,
    now_s: float,
    counts: Mapping[str, int] | None = None,
    details: Mapping[str, str] | None = None,
) -> Lineage:
    """The lineage of a commit by this software.

    Parameters
    ----------
    reason
        One word for what is done: ``index``, ``merge``, ``delete``, ...
    counts
        How much of what: of series, files, bytes.
    details
        Whatever else made it: encoders, versions of rules and templates.
    """
    commit = commit_id()
    known = {"commit": commit} if commit else {}
    return Lineage(
        reason=reason,
        software=NAME,
        created_s=now_s,
        counts=dict(counts or {}),
        details={**known, **(details or {})},
    )
