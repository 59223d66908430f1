"""A pixel model is asked about series that were indexed without it, or by other labels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from gpu_worker.classifying import ZeroShotClassifier, slice_vectors
from gpu_worker.seeing_again import Slices, SlicesOf
from indexer_core.errors import InvalidInputError
from indexer_core.facts import Finding, series_from_json
from indexer_core.index.reader import Place
from indexer_core.index.rows import IndexRow
from indexer_core.indexing import Indexer

TOGETHER = 32
"""Series per commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How far it has come: series that were asked about, of how many, and those without pixels."""

    n_done: int
    n_total: int
    n_unseen: int


def unasked(indexer: Indexer, classifier: ZeroShotClassifier) -> list[tuple[Place, IndexRow]]:
    """Live rows with pixels that this model has not been asked about by these labels."""
    return [(place, row) for place, row in indexer.live_rows() if _is_unasked(row, classifier)]


def ask_again(
    rows: Sequence[tuple[Place, IndexRow]],
    indexer: Indexer,
    classifier: ZeroShotClassifier,
    slices_of: SlicesOf,
    threads: Executor,
) -> Iterator[Asked]:
    """Ask about rows, some at a time, and write what is found; what was written is kept.

    A series whose pixels cannot be had any more, or that the model has no vector for, keeps the row
    that it has.

    Raises
    ------
    UnavailableError
        The model does not answer now, or a store.
    """
    n_unseen = 0
    for start in range(0, len(rows), TOGETHER):
        part = rows[start : start + TOGETHER]
        stacks = list(threads.map(slices_of, [row for _, row in part]))
        seen = [
            (entry, stack) for entry, stack in zip(part, stacks, strict=True) if stack is not None
        ]
        findings = {
            entry[1].series_key: found
            for (entry, _), found in zip(seen, _asked(seen, classifier), strict=True)
            if found
        }
        n_unseen += len(part) - len(findings)
        told = [entry for entry, _ in seen if entry[1].series_key in findings]
        if told:
            indexer.reprocess(told, findings)
        yield Asked(n_done=start + len(part), n_total=len(rows), n_unseen=n_unseen)


_Seen = tuple[tuple[Place, IndexRow], Slices]


def _asked(seen: Sequence[_Seen], classifier: ZeroShotClassifier) -> list[tuple[Finding, ...]]:
    """The findings of each; nothing of one that the model has no vector for."""
    try:
        vectors = slice_vectors(classifier.eye, [stack for _, stack in seen])
    except InvalidInputError:
        if len(seen) == 1:
            return [()]
        return [found for one in seen for found in _asked([one], classifier)]
    return [
        classifier.classify(_modality(row), found)
        for ((_, row), _), found in zip(seen, vectors, strict=True)
    ]


def _is_unasked(row: IndexRow, classifier: ZeroShotClassifier) -> bool:
    if not row.image_count or row.facts is None:
        return False
    modality = _modality(row)
    if not classifier.has_labels(modality):
        return False
    return not classifier.has_been_asked(modality, series_from_json(row.facts).findings)


def _modality(row: IndexRow) -> str:
    return "" if row.record is None else str(row.record["modality"])
