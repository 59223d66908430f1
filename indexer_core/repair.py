"""Mending a whole store: the index, and what lies beside it.

What no file can tell any more is indexed again: the instance rows know which content every series
announced last, so whatever the index lacks of it is handed on once more, as after lost messages.
"""

from dataclasses import dataclass

from indexer_core.assembly import MARKER, Assembly
from indexer_core.encoders import FindEncoder, loaded_once
from indexer_core.errors import CorruptIndexError
from indexer_core.index.aside import Aside, put_back
from indexer_core.index.commit import Manifests
from indexer_core.index.reader import Reader
from indexer_core.index.repair import IndexRepair
from indexer_core.index.repair_report import RepairReport
from indexer_core.index.survey import (
    survey_cohorts,
    survey_hint,
    survey_lists,
    survey_receipts,
    survey_text_cache,
)
from indexer_core.indexing import cached
from indexer_core.instance_lists import assembled_of, dump_list, list_name, named_by
from indexer_core.messages import parse_ready
from indexer_core.ports import BlobStore, RowStore, VectorFiles
from indexer_core.reconcile import resend_lost
from indexer_core.rejects import Rejects
from indexer_core.stores import Stores


def repair(
    stores: Stores, *, assembly: Assembly, vector_files: VectorFiles, find_encoder: FindEncoder
) -> RepairReport:
    """Mend what is damaged, and hand on again what is lost.

    Nothing that is intact is changed, and what is taken out is kept aside. Killed at any point, the
    next run carries on. Other programs may go on meanwhile.

    Raises
    ------
    CorruptIndexError
        Something is of a newer format, or contradicts itself: nothing was changed.
    ConflictError
        Others kept committing.
    """
    report = RepairReport()
    aside = Aside(stores.index, stores.ids)
    IndexRepair(
        blobs=stores.index,
        vector_files=vector_files,
        clock=stores.clock,
        ids=stores.ids,
        find_encoder=loaded_once(lambda wanted: cached(find_encoder(wanted), stores)),
        announced=_announced(stores.instances),
        aside=aside,
        report=report,
    ).run()
    beside = _Beside(
        blobs=stores.index,
        rejects=stores.rejects,
        assembly=assembly,
        aside=aside,
        report=report,
    )
    beside.mend_hint()
    beside.mend_lists()
    beside.mend_text_cache()
    beside.mend_receipts()
    beside.mend_cohorts()
    beside.send_what_waits_for_a_list()
    report.set_aside = aside.names
    reader = Reader(stores.index, vector_files)
    report.n_rearmed += resend_lost(stores.instances, assembly, reader, stores.rejects)
    return report


def _announced(instances: RowStore) -> dict[str, str]:
    return {
        row.partition: str(row.values["digest"]) for row in instances.scan() if row.key == MARKER
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """Mends what no manifest names."""

    blobs: BlobStore
    rejects: Rejects
    assembly: Assembly
    aside: Aside
    report: RepairReport

    def mend_hint(self) -> None:
        newest = Manifests(self.blobs).newest().number
        for damage in survey_hint(self.blobs, newest):
            put_back(self.blobs, damage.name, str(newest).encode())
            self.report.restored.append(f"{damage.name}: names manifest {newest}")

    def mend_lists(self) -> None:
        for damage in survey_lists(self.blobs):
            try:
                series, digest = named_by(damage.name)
            except CorruptIndexError:
                self.aside.move(damage.name)
                continue
            if damage.newer:
                self.report.lose(damage.name, "left alone: upgrade dicom-indexer")
            elif self._make_list_again(series, digest, damage.name):
                self.report.restored.append(f"{damage.name}: made again")
            else:
                # The rows have moved on: whoever still waits for this content is given the next.
                self.aside.move(damage.name)
                self.report.n_rearmed += self.assembly.resend(series)

    def _make_list_again(self, series: str, digest: str, name: str) -> bool:
        assembled = assembled_of(series, self.assembly.live_rows(series))
        if assembled.digest != digest:
            return False
        put_back(self.blobs, name, dump_list(assembled))
        return True

    def mend_text_cache(self) -> None:
        for damage in list(survey_text_cache(self.blobs)):
            self.blobs.delete(damage.name)
            self.report.restored.append(f"{damage.name}: taken out, its texts are embedded again")

    def mend_receipts(self) -> None:
        for damage in list(survey_receipts(self.blobs)):
            if damage.newer:
                self.report.lose(damage.name, "left alone: upgrade dicom-indexer")
                continue
            self.aside.move(damage.name)
            self.report.lose(
                f"{damage.name}: the receipt of a purge",
                "its series stay hidden; should the purge not have ended, purge them again",
            )

    def mend_cohorts(self) -> None:
        for damage in list(survey_cohorts(self.blobs)):
            if damage.newer:
                self.report.lose(damage.name, "left alone: upgrade dicom-indexer")
                continue
            self.aside.move(damage.name)
            self.report.lose(
                f"{damage.name}: a saved cohort", "its manifest is kept until gc: save it again"
            )

    def send_what_waits_for_a_list(self) -> None:
        """Series that are set aside because the list of their instances could not be read."""
        for row in list(self.rejects.waiting()):
            ready = parse_ready(str(row.values["body"]))
            name = list_name(ready.series, ready.digest)
            if self.blobs.properties(name) is None and self.assembly.resend(ready.series):
                self.rejects.drop(row)
                self.report.n_rearmed += 1
