"""Which states of the index are kept, as the API answers it: what a page goes back in time by."""

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import COHORTS

MAX_MANIFESTS = 200


class KeptManifests:
    """The manifests of an index, each read once; safe for several threads.

    That one has expired is told by the list of their files, so that none is read to know it.
    """

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._told: Mapping[int, Mapping[str, Any]] = {}
        self._lock = Lock()

    def listed(self, newest: Manifest, *, sees_all: bool) -> list[dict[str, Any]]:
        """Those that are retained, `newest` first, at most 200.

        Parameters
        ----------
        sees_all
            Whether the caller may see every scope. Others are told neither how much each commit
            has changed nor the names of cohorts, which may be of series that they do not see.
        """
        with self._lock:
            numbers = [n for n in self._manifests.listed() if n <= newest.number]
            kept = [n for n in sorted(numbers, reverse=True) if newest.is_retained(n)]
            told: dict[int, Mapping[str, Any]] = {}
            for number in kept[:MAX_MANIFESTS]:
                each = self._told.get(number) or self._read(number)
                if each is not None:
                    told[number] = each
            self._told = told
        return [
            {
                **each,
                "pins": _pins(newest.pins.get(number, ()), sees_all=sees_all),
                "counts": each["counts"] if sees_all else None,
            }
            for number, each in told.items()
        ]

    def _read(self, number: int) -> Mapping[str, Any] | None:
        manifest = self._manifests.read(number)
        if not isinstance(manifest, Manifest):  # it has expired since it was listed
            return None
        lineage, projection = manifest.lineage, manifest.projection
        return {
            "manifest": number,
            "created": datetime.fromtimestamp(lineage.created_s, UTC).isoformat(timespec="seconds"),
            "reason": lineage.reason,
            "projectionVersion": None if projection is None else projection.version,
            "counts": dict(lineage.counts),
        }


def _pins(names: tuple[str, ...], *, sees_all: bool) -> list[str]:
    return [name for name in names if sees_all or not name.startswith(COHORTS)]
