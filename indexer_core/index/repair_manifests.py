"""Mending the manifests: the index goes on from the newest one that is intact, under a new number.

A damaged manifest becomes a stub, as an expired one does: its number stays taken, and whoever
follows the manifests starts again from a listing. Before that the content of the newest intact one
is committed behind all others, so that there always is a newest one.
"""

import re
from collections.abc import Collection
from dataclasses import replace

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.index.aside import Aside, put_back
from indexer_core.index.commit import Manifests, manifest_name
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import Manifest, dump_stub
from indexer_core.index.repair_report import RepairReport
from indexer_core.index.survey import ManifestSurvey, survey_manifests
from indexer_core.index.write_ids import PREFIX_LENGTH
from indexer_core.ports import BlobStore, Clock, Ids

_RACES = 16
_KEY = re.compile(rb'"([0-9a-f]{64})"')


def mend_manifests(
    blobs: BlobStore,
    clock: Clock,
    ids: Ids,
    series: Collection[str],
    aside: Aside,
    report: RepairReport,
) -> None:
    """Make sure that the newest manifest, and every other one, can be read.

    `series`: the keys of all series that are known.

    Raises
    ------
    CorruptIndexError
        A manifest is of a newer format, or it cannot be told which of two is the right one.
    ConflictError
        Others kept committing.
    """
    for _ in range(_RACES):
        found = survey_manifests(blobs)
        _refuse(found)
        if not found.damaged or _is_newest_intact(found):
            break
        lost = [number for number in sorted(found.damaged) if number > found.newest.number]
        again = replace(
            _fenced(found.newest, ids),
            number=found.highest + 1,
            commit_id=ids.new_id(),
            parent_commit="",
            suppressed=found.newest.suppressed | _suppressed_in(blobs, lost, series),
            lineage=made_now(
                "repair", clock.now_s(), {"lost": len(lost)}, {"from": str(found.newest.number)}
            ),
        )
        if Manifests(blobs).put(again):
            _tell(again, lost, found.newest.number, report)
            break
    else:
        raise ConflictError("others keep committing: stop them, then repair again")
    newest = found.newest
    for number, damage in found.damaged.items():
        aside.keep(damage.name)
        put_back(blobs, damage.name, dump_stub(number))
        if not newest.is_retained(number):
            report.restored.append(f"{damage.name}: it had expired")
        elif number < newest.number:
            report.lose(
                f"manifest {number}",
                "searching at it and comparing with it is no longer possible; what is found now "
                "is not concerned",
            )
    for damage in found.foreign:
        aside.move(damage.name)


def _refuse(found: ManifestSurvey) -> None:
    for number, damage in found.damaged.items():
        if damage.newer:
            raise CorruptIndexError(f"{damage}: nothing was repaired")
        if number in found.retained:
            raise CorruptIndexError(
                f"{damage}: nothing was repaired; if it was put there by hand, put back the one "
                "that belongs there, else all manifests of one backup"
            )


def _is_newest_intact(found: ManifestSurvey) -> bool:
    return bool(found.retained) and max(found.retained) == found.highest


def _fenced(newest: Manifest, ids: Ids) -> Manifest:
    """The manifest with its fences raised: the lost ones may have raised them, and acted on it."""
    now = ids.new_id()[:PREFIX_LENGTH]
    forgotten = newest.forgotten_before if newest.number else now
    return replace(newest, collected_before=now, forgotten_before=forgotten)


def _tell(again: Manifest, lost: list[int], intact: int, report: RepairReport) -> None:
    said = f"what manifest {intact} said, the newest intact one" if intact else "none was intact"
    report.restored.append(f"{manifest_name(again.number)}: {said}")
    report.lose(
        f"manifest {lost[0]}" + (f" to {lost[-1]}" if len(lost) > 1 else ""),
        "series that were committed there are indexed again from their files; deletions are kept "
        "as far as they were legible, so if you deleted a series or pinned a manifest just before, "
        "do it again",
    )


def _suppressed_in(blobs: BlobStore, numbers: list[int], series: Collection[str]) -> frozenset[str]:
    """The keys that damaged manifests suppress, as far as they are legible.

    A manifest holds no series key for any other reason, and half of a key is enough to know it by.
    Hiding one too many can be undone; showing one that was deleted cannot.
    """
    keys: set[str] = set()
    for number in numbers:
        found = blobs.get(manifest_name(number))
        if found is not None:
            _, _, rest = found.data.partition(b'"suppressed":[')
            keys |= {key.decode() for key in _KEY.findall(rest.partition(b"]")[0])}
            text = found.data.decode(errors="replace")
            keys |= {key for key in series if key[:32] in text or key[32:] in text}
    return frozenset(keys)
