"""Zero-shot classification: which label text fits a picture best, and when to say nothing.

Pictures and texts are unit vectors of one space. The logits of a slice are ``scale`` times its
cosines with the labels; a softmax makes shares of them. ``scale`` is the *exponential* of the
number that such models are trained with (`indexer_core.ports.PictureTextEncoder`): with the
logarithm itself all shares would be nearly equal, and nothing would ever be found.

One label names a body part and, where that makes sense, a plane. The share of a region is the sum
over its labels; the slices of a series vote with their shares, which are averaged. Below the
threshold of a field the model abstains, and its best guess is kept all the same.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.facts import Finding
from indexer_core.rules.model import PLANES, REGIONS, UNKNOWN

REGION, PLANE = "bodyRegion", "plane"
FIELDS = (REGION, PLANE)

_SHOWN = 5
_DIGITS = 4
_LEAST_SHOWN = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One alternative: its texts, and what it says of each field ("" for nothing)."""

    texts: tuple[str, ...]
    region: str = ""
    plane: str = ""

    def value(self, field: str) -> str:
        """What it says of a field."""
        return self.region if field == REGION else self.plane


@dataclass(frozen=True)
class LabelSet:
    """The alternatives that compete for a picture."""

    labels: tuple[Label, ...]
    thresholds: Mapping[str, float]

    @cached_property
    def digest(self) -> str:
        """Changes with any text, value or threshold."""
        said = [[label.texts, label.region, label.plane] for label in self.labels]
        text = json.dumps([said, dict(self.thresholds)], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:12]

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all labels, one after the other."""
        return tuple(text for label in self.labels for text in label.texts)

    def pooled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """One vector per label from those of `texts`: their mean.

        Parameters
        ----------
        vectors : ndarray of float32, shape (len(texts), d), rows L2-normalised

        Returns
        -------
        ndarray of float32, shape (len(labels), d), rows L2-normalised
        """
        ends = np.cumsum([len(label.texts) for label in self.labels])
        parts = np.split(vectors, ends[:-1])
        means = np.stack([part.mean(axis=0) for part in parts])
        unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit


def shares(
    slices: NDArray[np.float32], labels: NDArray[np.float32], scale: float
) -> NDArray[np.float64]:
    """How the labels share out each slice.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, d), rows L2-normalised
    labels : ndarray of float32, shape (n_labels, d), rows L2-normalised
    scale
        What multiplies a cosine, no logarithm.

    Returns
    -------
    ndarray of float64, shape (n_slices, n_labels), rows sum to 1
    """
    logits = scale * (slices.astype(np.float64) @ labels.astype(np.float64).T)
    # The largest exponent is 0, so that none overflows.
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return found


def findings(found: NDArray[np.float64], labels: LabelSet, source: str) -> tuple[Finding, ...]:
    """What the slices of one series say together, field by field.

    Parameters
    ----------
    found : ndarray of float64, shape (n_slices, n_labels), n_slices >= 1
        `shares` of its slices.
    source
        ``model:<name>``.
    """
    return tuple(finding for field in FIELDS for finding in _finding(found, labels, field, source))


def _finding(
    found: NDArray[np.float64], labels: LabelSet, field: str, source: str
) -> Iterable[Finding]:
    said = [label.value(field) for label in labels.labels]
    values = sorted({value for value in said if value})
    if not values:
        return
    # What no value claims is the background's; it is one more alternative of every slice.
    members = np.array([[name == value for name in said] for value in (*values, "")])
    per_slice = found @ members.T.astype(np.float64)
    means = per_slice.mean(axis=0)[:-1]
    order = sorted(range(len(values)), key=lambda number: (-means[number], values[number]))
    best = order[0]
    confidence = round(float(means[best]), _DIGITS)
    scores = [(values[number], round(float(means[number]), _DIGITS)) for number in order[:_SHOWN]]
    yield Finding(
        field=field,
        value=values[best] if confidence >= labels.thresholds[field] else UNKNOWN,
        confidence=confidence,
        source=source,
        scores=tuple(scores[:1] + [pair for pair in scores[1:] if pair[1] >= _LEAST_SHOWN]),
        n_slices=len(found),
        n_agreeing=int(np.sum(per_slice.argmax(axis=1) == best)),
        labels=labels.digest,
    )


class LabelSets:
    """Label sets by modality, worded for a model."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table

    def worded(self, wording: str) -> Mapping[str, LabelSet]:
        """By modality.

        Raises
        ------
        InvalidInputError
            There are no such wordings.
        """
        forms = self._table["wordings"].get(wording)
        if forms is None:
            raise InvalidInputError(f"labels.yaml has no wordings for {wording}")
        return {
            modality: LabelSet(labels=tuple(self._labels(entry, forms)), thresholds=self._least)
            for entry in self._table["sets"]
            for modality in entry["modality"]
        }

    @property
    def _least(self) -> Mapping[str, float]:
        return {field: float(self._table["thresholds"][field]) for field in FIELDS}

    def _labels(self, entry: Mapping[str, Any], forms: Mapping[str, Any]) -> Iterable[Label]:
        kinds = {"long": entry["long"], "short": entry["short"]}
        for part, region in entry["parts"].items():
            for plane in entry.get("planes", [""]):
                form = forms["with_plane" if plane else "without_plane"]
                texts = _filled(form, {**kinds, "part": part, "plane": plane})
                yield Label(texts=texts, region=region, plane=plane)
        for background in self._table["background"]:
            yield Label(texts=_filled(forms["background"], {**kinds, "background": background}))


def load_labels(path: Path | None = None) -> LabelSets:
    """The label sets that ship with the program, or those of a file in their place.

    Raises
    ------
    InvalidInputError
        One line naming the file and what is wrong with it.
    """
    if path is None:
        data = (resources.files("indexer_core") / "data" / "labels.yaml").read_bytes()
        name = "labels.yaml"
    else:
        name = path.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{name}: cannot be read") from error
    try:
        table = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{name}: not YAML") from error
    sets = LabelSets(_checked(table, name))
    for wording in table["wordings"]:
        try:
            sets.worded(wording)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"{name}: wording {wording} cannot be used") from error
    return sets


def _checked(table: Any, name: str) -> Mapping[str, Any]:
    needed = ("thresholds", "background", "wordings", "sets")
    if not isinstance(table, Mapping) or any(key not in table for key in needed):
        raise InvalidInputError(f"{name}: it must hold {', '.join(needed)}")
    for field in FIELDS:
        least = table["thresholds"].get(field)
        if not isinstance(least, int | float) or not 0 < least <= 1:
            raise InvalidInputError(f"{name}: the threshold of {field} is a number up to 1")
    for entry in table["sets"]:
        where = f"{name}: set {entry.get('modality')}"
        if not {"modality", "long", "short", "parts"} <= entry.keys() or not entry["parts"]:
            raise InvalidInputError(f"{where}: needs modality, long, short and parts")
        strange = set(entry["parts"].values()) - set(REGIONS)
        strange |= set(entry.get("planes", ())) - set(PLANES)
        if strange:
            raise InvalidInputError(f"{where}: {sorted(strange)} are no regions or planes")
    return table


def _filled(forms: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    capitals = {name.upper(): text.upper() for name, text in values.items()}
    return tuple(form.format_map({**values, **capitals}) for form in forms)
