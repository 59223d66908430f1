"""Loaded rules, with their vocabularies built on first use."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from indexer_core.rules.model import BodyPart
from indexer_core.rules.vocabulary import Entry, Vocabulary

IGNORED = "ignored"
PHANTOM = "phantom"


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules in force; `digest` changes with any of them. Compared by identity."""

    tables: Mapping[str, Any]
    digest: str

    def threshold(self, field: str) -> float:
        """Least confidence at which a value of this field is given."""
        return float(self.tables["sources"]["thresholds"][field])

    @cached_property
    def parts(self) -> dict[str, Any]:
        """Body parts by id."""
        return dict(self.tables["body_parts"]["parts"])

    @cached_property
    def region_of(self) -> dict[str, str]:
        """Body part id -> body region."""
        return {name: part["region"] for name, part in self.parts.items()}

    @cached_property
    def labels(self) -> dict[str, Any]:
        """Sequence labels in the order of a record."""
        return dict(self.tables["sequences"]["labels"])

    @cached_property
    def body_vocabulary(self) -> Vocabulary:
        """Phrases of body parts, of phantoms, and those to be passed over."""
        table = self.tables["body_parts"]
        vocabulary = Vocabulary(tuple(table["glued_prefixes"]))
        weak = float(self.tables["sources"]["limits"]["weak_share"])
        for name, part in self.parts.items():
            _add(vocabulary, part.get("words", ()), Entry(key=name))
            _add(vocabulary, part.get("weak", ()), Entry(key=name, weight=weak))
            for condition in part.get("when", ()):
                modalities = frozenset(condition.get("modality", ()))
                weight = float(condition.get("weight", 1.0))
                entry = Entry(key=name, weight=weight, modalities=modalities)
                _add(vocabulary, condition.get("words", ()), entry)
        _add(vocabulary, table["ignore"], Entry(key=IGNORED))
        return vocabulary

    @cached_property
    def phantom_vocabulary(self) -> Vocabulary:
        """Phrases of test objects."""
        vocabulary = Vocabulary()
        _add(vocabulary, self.tables["body_parts"]["phantom"], Entry(key=PHANTOM))
        return vocabulary

    @cached_property
    def label_vocabulary(self) -> Vocabulary:
        """Phrases of sequence labels; one phrase may stand for several labels."""
        vocabulary = Vocabulary(overlapping=True)
        for label, entry in self.labels.items():
            modalities = frozenset(entry.get("modality", ()))
            _add(vocabulary, entry.get("words", ()), Entry(key=label, modalities=modalities))
        return vocabulary

    @cached_property
    def plane_vocabulary(self) -> Vocabulary:
        """Phrases of planes."""
        return _by_key(self.tables["plane"]["words"])

    @cached_property
    def modality_vocabulary(self) -> Vocabulary:
        """Phrases of modalities."""
        return _by_key(self.tables["modality"]["words"])

    @cached_property
    def parts_by_code(self) -> dict[str, str]:
        """SNOMED code -> body part id."""
        found: dict[str, str] = {}
        for name, part in self.parts.items():
            concept = self._concept(part.get("concept"))
            if concept is not None:
                found.setdefault(str(concept["value"]), name)
        return found

    def body_part(self, name: str) -> BodyPart:
        """The term of a body part id, coded where a code is known."""
        part = self.parts[name]
        concept = self._concept(part.get("concept"))
        if concept is None:
            return BodyPart(term=part["term"])
        return BodyPart(
            term=part["term"],
            code=str(concept["value"]),
            scheme=concept["scheme"],
            meaning=concept["meaning"],
        )

    @cached_property
    def phantom_part(self) -> BodyPart:
        """The coded term of a test object."""
        concept = self.tables["codes"]["cid4031"]["Phantom"]
        return BodyPart(
            term="phantom", code=concept["value"], scheme=concept["scheme"], meaning="Phantom"
        )

    def _concept(self, name: str | None) -> Mapping[str, Any] | None:
        if name is None:
            return None
        codes = self.tables["codes"]
        concept: Mapping[str, Any] | None = codes["cid4031"].get(name) or codes["other"].get(name)
        return concept


def _add(vocabulary: Vocabulary, phrases: Any, entry: Entry) -> None:
    for phrase in phrases:
        vocabulary.add(phrase, entry)


def _by_key(words: Mapping[str, Any]) -> Vocabulary:
    vocabulary = Vocabulary()
    for key, phrases in words.items():
        _add(vocabulary, phrases, Entry(key=key))
    return vocabulary
