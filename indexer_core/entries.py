"""What is to be written of a series: its record, texts and vectors, before it becomes a row."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.anatomy import UNKNOWN_ANATOMY, Anatomy
from indexer_core.facts import SeriesFacts
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import MapPoint
from indexer_core.instance_lists import AssembledSeries
from indexer_core.records import build_record, to_public_json
from indexer_core.rules import Rules, classify
from indexer_core.rules.conditions import FactsView
from indexer_core.rules.modality import classify_modality
from indexer_core.series import aggregate
from indexer_core.templates import Templates, render_templates

Vector = NDArray[np.float32]

# Kept out of stored records: coordinates have files of their own, blobs a column.
_NOT_STORED = ("x", "y", "projectionVersion", "blobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Describer:
    """Rules and templates in force: facts in, record and texts out. Pure."""

    rules: Rules
    templates: Templates
    image_encoder_id: str

    @property
    def digest(self) -> str:
        """Changes with anything that would change a row: rules, templates, image encoder."""
        parts = (self.rules.digest, self.templates.digest, self.image_encoder_id)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def modality(self, facts: SeriesFacts) -> str:
        """What the objects are (`Classification.modality`), without the rest."""
        return _modality(facts, self.rules)

    def anatomy(self, facts: SeriesFacts) -> Anatomy:
        """See `anatomy_of`."""
        return anatomy_of(facts, self.rules)

    def describe(
        self, series: str, revision: int, facts: SeriesFacts
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The record to store (without coordinates) and its texts."""
        classification = classify(facts, self.rules)
        texts = render_templates(facts, classification, self.templates)
        record = build_record(series, revision, facts, classification, texts)
        public = to_public_json(record)
        return {key: public[key] for key in public if key not in _NOT_STORED}, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row to be written, with its texts.

    `images`: the vector of its pixels, by encoder id; none where it has no pixels. `places`: map
    coordinates that are published already, by projection version. `prepared` is a write id of the
    moment when it was seen that the index lacks the row: one that slept for longer than deletions
    are remembered must not be committed any more.
    """

    series: str
    revision: int
    digest: str
    record: Mapping[str, Any] | None
    facts: Mapping[str, Any] | None
    blobs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    images: Mapping[str, Vector] = field(default_factory=dict)
    places: Mapping[str, MapPoint] = field(default_factory=dict)
    prepared: str | None = None

    @property
    def alive(self) -> bool:
        """False for a tombstone."""
        return self.record is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be done with a message: ``index``, ``done``, ``suppressed``, or ``taken``.

    `taken` is the revision that the index holds with other content.
    """

    action: str
    taken: int = 0


def anatomy_of(facts: SeriesFacts, rules: Rules) -> Anatomy:
    """Region and part as the header rules have them, of computed tomography; else unknown."""
    if _modality(facts, rules) != "CT":
        return UNKNOWN_ANATOMY
    found = classify(facts, rules)
    part = found.body_part
    return Anatomy(region=found.body_region, part=part.term if part is not None else "")


def _modality(facts: SeriesFacts, rules: Rules) -> str:
    return classify_modality(FactsView(facts), rules)[0]


def facts_of(assembled: AssembledSeries) -> SeriesFacts:
    """Series facts of an instance list that is not empty."""
    scope = assembled.instances[0].scope
    return aggregate(scope, [(instance.url, instance.facts) for instance in assembled.instances])


def row_of(entry: Entry, write_id: str, recipe: int) -> IndexRow:
    """The row of an entry."""
    return IndexRow(
        series_key=entry.series,
        revision=entry.revision,
        recipe=recipe,
        write_id=write_id,
        digest=entry.digest,
        alive=entry.alive,
        record=entry.record,
        facts=entry.facts,
        blobs=entry.blobs,
        text_count=len(entry.texts),
        image_count=int(bool(entry.images)),
    )
