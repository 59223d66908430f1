"""Mending the manifests: the index goes on from the newest one that is intact, under a new number.

A damaged manifest becomes a stub, as an expired one does: its number stays taken, and whoever
follows the manifests starts again from a listing. Before that the content of the newest intact one
is committed behind all others, so that there always is a newest one.
"""

import re
from dataclasses import replace

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.index.aside import Aside, put_back
from indexer_core.index.commit import Manifests, manifest_name
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import dump_stub
from indexer_core.index.repair_report import RepairReport
from indexer_core.index.survey import ManifestSurvey, survey_manifests
from indexer_core.ports import BlobStore, Clock, Ids

_RACES = 16
_KEY = re.compile(rb'"([0-9a-f]{64})"')


def mend_manifests(
    blobs: BlobStore, clock: Clock, ids: Ids, aside: Aside, report: RepairReport
) -> None:
    """Make sure that the newest manifest, and every other one, can be read.

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
        if (
            not found.damaged
            or _is_newest_intact(found)
            or _go_on(blobs, clock, ids, found, report)
        ):
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


def _go_on(
    blobs: BlobStore, clock: Clock, ids: Ids, found: ManifestSurvey, report: RepairReport
) -> bool:
    """Commit the newest intact manifest once more, behind all; False when somebody was faster."""
    newest = found.newest
    lost = [number for number in sorted(found.damaged) if number > newest.number]
    suppressed = newest.suppressed | _suppressed_in(blobs, lost)
    told = f"{lost[0]}" if len(lost) == 1 else f"{lost[0]} to {lost[-1]}"
    again = replace(
        newest,
        number=found.highest + 1,
        commit_id=ids.new_id(),
        parent_commit="",
        suppressed=suppressed,
        lineage=made_now(
            "repair",
            clock.now_s(),
            {"manifests": len(lost), "suppressed": len(suppressed - newest.suppressed)},
            {"from": str(newest.number), "lost": told},
        ),
    )
    if not Manifests(blobs).put(again):
        return False
    said = f"what manifest {newest.number} said, the newest intact one"
    report.restored.append(
        f"{manifest_name(again.number)}: {said if newest.number else 'empty: none was intact'}"
    )
    report.lose(
        f"manifest {told}",
        "series that were committed there are indexed again from their files; "
        "deletions that were legible are kept, so if you deleted a series or pinned a manifest "
        "just before, do it again",
    )
    return True


def _suppressed_in(blobs: BlobStore, numbers: list[int]) -> frozenset[str]:
    """The keys that damaged manifests suppress, as far as they are legible.

    Hiding one too many can be undone, showing one that was deleted cannot.
    """
    keys: set[str] = set()
    for number in numbers:
        found = blobs.get(manifest_name(number))
        _, _, rest = (b"" if found is None else found.data).partition(b'"suppressed":[')
        keys |= {key.decode() for key in _KEY.findall(rest.partition(b"]")[0])}
    return frozenset(keys)
