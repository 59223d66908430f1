"""Golden questions: what a change of text encoder, rules or templates must go on finding.

A file of YAML lists them under ``golden``: each has an ``id``, the ``query``, and what it should
find: the series that meet ``filters`` before the change, or those named in ``series`` by their
UIDs. ``minimum`` is the least precision among the first ten (or as many as are expected), 0 where
it is not given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from indexer_core.errors import ConflictError, InvalidInputError
from indexer_core.filters import Filter, parse_filter

if TYPE_CHECKING:
    from indexer_core.index.reader import Snapshot
    from indexer_core.indexing import Indexer
    from local_host.wiring import LocalSystem

_AMONG = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One question and what it should find."""

    id: str
    query: str
    filters: tuple[Filter, ...]
    series: frozenset[str]
    minimum: float


def load_golden(path: Path) -> list[Golden]:
    """Read the questions of a file.

    Raises
    ------
    InvalidInputError
        One line saying what is wrong with the file, or with which question.
    """
    try:
        table = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path.name}: not a file of YAML that can be read") from error
    rows = table.get("golden") if isinstance(table, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InvalidInputError(f"{path.name}: the top level must hold a list 'golden'")
    return [_golden(row, f"{path.name}: question {n}") for n, row in enumerate(rows, start=1)]


def check_switch(
    questions: Sequence[Golden], encoder_id: str, dimension: int, system: "LocalSystem"
) -> None:
    """Refuse a text encoder whose vectors are made, and that finds less than the one in use.

    Raises
    ------
    ConflictError
        Naming the questions by their ids only.
    """
    from indexer_core.index.reader import Snapshot
    from indexer_core.index.segment import TEXT_SPACE

    now = system.snapshot(searched=[TEXT_SPACE])
    spaces = tuple(
        replace(space, live=encoder_id, dimension=dimension) if space.name == TEXT_SPACE else space
        for space in now.manifest.spaces
    )
    after = Snapshot(replace(now.manifest, spaces=spaces), now.segments, system.vector_files)
    _refuse_worse(questions, now, after, system, f"not switched to {encoder_id}")


def check_reprocess(
    questions: Sequence[Golden],
    system: "LocalSystem",
    reprocess: "Callable[[Indexer], object]",
) -> None:
    """Refuse rules and templates by which less is found; they are tried on a copy in memory.

    Parameters
    ----------
    reprocess
        Applies them to an index.

    Raises
    ------
    ConflictError
        Naming the questions by their ids only. Nothing of the index was changed.
    """
    from indexer_core.adapters.rehearsal import Rehearsal, RehearsedFiles
    from indexer_core.index.files import StoredFiles
    from indexer_core.index.segment import TEXT_SPACE

    rehearsal = Rehearsal(system.index)
    files = RehearsedFiles(rehearsal, system.stores.files or StoredFiles(system.index))
    stores = replace(system.stores, index=rehearsal, files=files)
    now = system.snapshot(searched=[TEXT_SPACE])
    reprocess(system.indexer_over(stores))
    after = stores.reader(system.vector_files, searched=[TEXT_SPACE]).refresh()
    _refuse_worse(questions, now, after, system, "not reprocessed")


def _refuse_worse(
    questions: Sequence[Golden],
    before: "Snapshot",
    after: "Snapshot",
    system: "LocalSystem",
    refusal: str,
) -> None:
    expected = {question.id: _expected(question, before) for question in questions}
    before_by_id, after_by_id = (
        _figures(questions, expected, each, system) for each in (before, after)
    )
    minimum = {question.id: question.minimum for question in questions}
    worse = [
        name
        for name, figure in after_by_id.items()
        if figure < before_by_id[name] or figure < minimum[name]
    ]
    if worse:
        raise ConflictError(f"{refusal}: golden questions get worse: {', '.join(worse)}")


def _expected(question: Golden, snapshot: "Snapshot") -> frozenset[str]:
    """Keys of the series that a question should find."""
    from function_app.search import records
    from indexer_core.snapshot_index import SnapshotIndex

    return frozenset(
        record["seriesKey"]
        for _, record in records(SnapshotIndex(snapshot), question.filters)
        if not question.series or record["seriesInstanceUid"] in question.series
    )


def _figures(
    questions: Sequence[Golden],
    expected_by_id: Mapping[str, frozenset[str]],
    snapshot: "Snapshot",
    system: "LocalSystem",
) -> dict[str, float]:
    """Precision of each question by its id; 1 where nothing that it expects is indexed."""
    from function_app.search import SearchRequest, search
    from indexer_core.snapshot_index import SnapshotIndex
    from indexer_core.templates import template_names

    encoder, index = system.encoder_of(snapshot), SnapshotIndex(snapshot)
    found: dict[str, float] = {}
    for question in questions:
        expected = expected_by_id[question.id]
        top = min(_AMONG, len(expected))
        if not top:
            found[question.id] = 1.0
            continue
        request = SearchRequest(text=question.query, top=top)
        hits = search(request, index, encoder, template_names())["value"]
        found[question.id] = sum(hit["seriesKey"] in expected for hit in hits) / top
    return found


def _golden(row: Any, where: str) -> Golden:
    if not isinstance(row, Mapping) or not {"id", "query"} <= set(row):
        raise InvalidInputError(f"{where}: it must have an id and a query")
    for name in ("filters", "series"):
        if not isinstance(row.get(name, []), list):
            raise InvalidInputError(f"{where}: {name} must be a list")
    if not row.get("filters") and not row.get("series"):
        raise InvalidInputError(f"{where}: say by filters or series what it should find")
    try:
        minimum = float(row.get("minimum", 0))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{where}: minimum must be a number") from error
    return Golden(
        id=str(row["id"]),
        query=str(row["query"]),
        filters=tuple(parse_filter(str(text)) for text in row.get("filters", ())),
        series=frozenset(map(str, row.get("series", ()))),
        minimum=minimum,
    )
