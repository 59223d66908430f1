"""Relevance of searching on the judged series: ``make eval``.

Ours beside vectors alone, BM25 alone, and reciprocal rank fusion of both, over the same series in
the same run; and the ways to order what equally fits, among which ours was chosen on the tune half.
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import machine  # noqa: E402
from benchmarks.pages import listed  # noqa: E402
from indexer_core.fitting import fitting  # noqa: E402
from indexer_core.query.parser import understand  # noqa: E402
from indexer_core.search import search_text  # noqa: E402
from indexer_core.selection import Conditions, select  # noqa: E402
from tests.relevance.baselines import Bm25, Ranker, fused  # noqa: E402
from tests.relevance.scoring import SPLITS, Report, load_judged, load_queries, score  # noqa: E402
from tests.support.system import Searcher, index_folder  # noqa: E402

PAGE = ROOT / "docs" / "relevance.md"
OURS = "ours: understood, then vectors and words"
KINDS = ("plain", "negated", "all")


def rankers(searcher: Searcher) -> dict[str, Ranker]:
    """Every way to rank, by its name; ours last."""
    compared = baselines(searcher)
    vectors, bm25, both, _ = compared.values()
    return {
        **compared,
        "understood, then vectors": by_degrees(searcher, vectors),
        "understood, then BM25": by_degrees(searcher, bm25),
        "understood, then fusion": by_degrees(searcher, both),
        OURS: searcher.rank,
    }


def baselines(searcher: Searcher) -> dict[str, Ranker]:
    """Rankings that understand nothing."""
    texts = {key: record["texts"] for key, record in searcher.records.items()}
    bm25 = cache(Bm25(texts).rank)

    @cache
    def vectors(question: str) -> list[str]:
        vector = searcher.system.encoder.encode([question])[0]
        everything = select(searcher.snapshot)
        return [hit.key for hit in search_text(searcher.snapshot, vector, everything, 1000)]

    def words(question: str) -> list[str]:
        found = searcher.answer(question, interpret=False)
        return [hit["seriesKey"] for hit in found["value"]]

    return {
        "vectors alone": vectors,
        "BM25 alone": bm25,
        "reciprocal rank fusion of both": fused(vectors, bm25),
        "vectors and exact words (ADR 0010)": words,
    }


def by_degrees(searcher: Searcher, ranker: Ranker) -> Ranker:
    """What fits first, then what may and what is near, each in the order of a ranker."""

    def rank(question: str) -> list[str]:
        understanding = understand(question, today=datetime.now(UTC).date())
        conditions = Conditions(
            alternatives=understanding.alternatives, with_unknown=understanding.with_unknown
        )
        order = ranker(understanding.text or question)
        found: list[str] = []
        for _, selection in fitting(searcher.snapshot, conditions).degrees():
            keys = {
                segment.loaded.rows.key(int(row))
                for segment, rows in zip(searcher.snapshot.segments, selection.rows, strict=True)
                for row in rows.nonzero()[0]
            }
            found += [key for key in order if key in keys]
        return found

    return rank


def measure(searcher: Searcher, compared: Mapping[str, Ranker]) -> dict[str, dict[str, Report]]:
    """Reports by ranker and split."""
    anchor_of = {searcher.series_of[quote(entry.anchor)]: entry.anchor for entry in load_judged()}
    records = {anchor: searcher.records[key] for key, anchor in anchor_of.items()}
    reports: dict[str, dict[str, Report]] = {}
    for name, ranker in compared.items():

        def rank(text: str, ranker: Ranker = ranker) -> list[str]:
            return [anchor_of[key] for key in ranker(text) if key in anchor_of]

        reports[name] = {split: score(split, records, rank) for split in SPLITS}
    return reports


def fits(searcher: Searcher) -> dict[str, dict[str, tuple[int, int]]]:
    """By split and kind of question: how many are told that nothing fits, and of how many."""
    counts: dict[str, dict[str, tuple[int, int]]] = {split: {} for split in SPLITS}
    for query in load_queries():
        n_told, n = counts[query.split].get(query.kind, (0, 0))
        is_told = searcher.answer(query.text)["fit"] == "none"
        counts[query.split][query.kind] = (n_told + is_told, n + 1)
    return counts


def page(
    reports: Mapping[str, Mapping[str, Report]],
    told: Mapping[str, Mapping[str, tuple[int, int]]],
    described: Mapping[str, object],
) -> str:
    """The figures in Markdown."""
    parts = [_INTRODUCTION]
    for split in SPLITS:
        ours = reports[OURS][split]
        accuracy = ", ".join(f"{field} {value:.3f}" for field, value in ours.accuracy.items())
        nothing = ", ".join(
            f"{n_told} of {n} {kind} questions" for kind, (n_told, n) in told[split].items()
        )
        parts += [
            f"## {_TITLES[split]}",
            "\n".join(_table(split, reports)),
            f"\u201cNothing fits\u201d is said of {nothing} (of kind none, it should be).",
            f"Classification accuracy: {accuracy}.",
        ]
    return "\n\n".join([*parts, "## Measured on", listed(described)]) + "\n"


def _table(split: str, reports: Mapping[str, Mapping[str, Report]]) -> Sequence[str]:
    heads = [f"AP {kind}" for kind in KINDS] + ["precision@10", "nDCG"]
    rows = [f"| ranking | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for name, by_split in reports.items():
        report = by_split[split]
        values = [report.average_precision[kind] for kind in KINDS]
        values += [report.precision["all"], report.ndcg["all"]]
        cells = " | ".join(f"{value:.3f}" for value in values)
        rows.append(f"| {name} | {cells} |")
    return rows


_TITLES = {"tune": "Tune half: what was chosen on", "test": "Test half: not used to choose"}
_INTRODUCTION = """# Relevance

Written by `make eval`. Mean average precision (AP) by kind of question, precision among the first
ten (or as many as are relevant) and nDCG of all questions, on the judged series of
[tests/relevance](../tests/relevance/README.md); series of no judgement do not count. Every ranking
sees the same series and texts. How questions are understood, and what comes below what fits:
[docs/search.md](search.md), [ADR 0029](adr/0029-understanding-a-question.md)."""


def main() -> None:
    """Index the sample files, measure, print, write the page."""
    samples = Path(os.environ.get("DICOM_SAMPLES", ROOT.parent / "shared" / "data" / "dicom"))
    if not samples.is_dir():
        sys.exit("set DICOM_SAMPLES to the folder of the judged sample files")
    with tempfile.TemporaryDirectory() as folder:
        system = index_folder(Path(folder) / "data", samples)
        searcher = Searcher(system, samples)
        reports, told = measure(searcher, rankers(searcher)), fits(searcher)
        system.close()
    for split in SPLITS:
        print(f"\n{_TITLES[split]}")
        print("\n".join(_table(split, reports)))
        print("\n".join(reports[OURS][split].lines()))
    PAGE.write_text(page(reports, told, machine.describe()), encoding="utf-8")


if __name__ == "__main__":
    main()
