"""From an archive to a map that can be published: its encoder, and what it is carried on from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.archive import Archive
from gpu_worker.projection.drift import TAU_QUANTILE
from gpu_worker.projection.fitting import FittedMap, fit_map
from gpu_worker.projection.gate import GateMeasures, GateRule
from gpu_worker.projection.growing import Grown, KeptFrozen, OldMap, grow, published
from gpu_worker.projection.inputs import distinct_rows
from gpu_worker.projection.neighbours import nearest
from gpu_worker.projection.quality import drift, fidelity
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.reservoir import pick_landmarks
from gpu_worker.projection.training import Progress, no_progress
from indexer_core.index.map_versions import next_major, next_minor
from indexer_core.map_state import DriftReference, Landmarks, MapState
from indexer_core.placing import FAR_RANK, nearest_landmarks, preserved
from indexer_core.projector import Projector

N_OLD = 200_000
"""Old points that a fine-tune looks at, at most: a sample of more, beside the landmarks."""
N_NEW = 5_000
"""New points that a fine-tune learns at most: the newest."""
_N_MEASURED = 1000
_N_CALIBRATED, _MIN_CALIBRATED = 2000, 200
_CHUNK = 512

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeMap:
    """A map to publish.

    `is_known`, bool (n,): points of the archive that its encoder places; the others are strangers
    that it could not learn, and stay provisional.
    """

    projector: Projector
    state: MapState
    is_known: NDArray[np.bool_]


def fit_archive(
    archive: Archive,
    recipe: FitRecipe,
    *,
    seed: int,
    lays_over: bool,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> MadeMap:
    """A new major map of everything.

    Parameters
    ----------
    lays_over
        Whether the map in force was fitted, so that the new one is turned to lie over it.

    Raises
    ------
    InvalidInputError
        There are too few different vectors.
    """
    projection = archive.manifest.projection
    assert projection is not None
    version = next_major(projection.version)
    # Strangers were placed by hand: they say nothing of where the old map had its kinds.
    old_points = archive.points.copy()
    old_points[archive.is_provisional] = np.nan
    fitted = fit_map(
        archive.vectors,
        recipe,
        version=version,
        encoder_id=projection.encoder_id,
        seed=seed,
        device=device,
        old_points=old_points if lays_over else None,
        progress=progress,
    )
    points = fitted.projector.project(archive.vectors)
    rows = _landmark_rows(points, np.setdiff1d(np.arange(len(points)), fitted.held_rows), seed)
    landmarks = _landmarks(archive, points, rows, points[rows])
    reference = _reference_of(fitted, archive, points, landmarks, rows, recipe.n_neighbours)
    measured = np.sort(np.random.default_rng(seed).permutation(len(points))[:_N_MEASURED])
    faithful = fidelity(archive.vectors, points, rows=measured)
    metrics = {
        "trust": faithful.trust,
        "recall": faithful.recall,
        "encodes": float(fitted.n_encodes),
        "trained": float(len(fitted.trained_rows)),
    }
    if lays_over:
        moved = drift(old_points[~archive.is_provisional], points[~archive.is_provisional])
        metrics |= {"movedMedian": moved.median, "movedP95": moved.p95}
    made = _Made(archive=archive, points=points, is_known=np.ones(len(archive), dtype=np.bool_))
    return made.map(
        fitted.projector,
        landmarks=landmarks,
        reference=reference,
        n_frozen=fitted.n_frozen,
        seed=seed,
        n_neighbours=recipe.n_neighbours,
        metrics=metrics,
    )


def grow_archive(
    archive: Archive,
    projector: Projector,
    state: MapState,
    major: Projector | None,
    n_recent: int,
    recipe: FineTuneRecipe,
    rule: GateRule,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> MadeMap | KeptFrozen:
    """The map in force, having learnt its strangers and the newest points beside them.

    Parameters
    ----------
    major
        The encoder of the last major map; None where `projector` is it.
    n_recent
        So many of the newest points are learnt, too, be they strangers or not.
    """
    new_rows = _new_rows(archive, n_recent)
    old_rows, landmark_rows, anchors = _old_rows(archive, state.landmarks, new_rows, seed)
    old = OldMap(
        projector=projector,
        n_frozen=state.n_frozen,
        vectors=archive.vectors[old_rows],
        points=archive.points[old_rows],
        landmark_rows=landmark_rows,
        anchors=anchors,
        major=major,
    )
    version = next_minor(projector.version)
    new = archive.vectors[new_rows]
    found = grow(
        old, new, recipe, rule, version=version, seed=seed, device=device, progress=progress
    )
    if isinstance(found, KeptFrozen):
        return found
    after = published(old, new, found.projector, seed=seed)
    # Rows of `after` are those of `old`, then the new ones.
    rows = np.concatenate([old_rows, new_rows])[after.landmark_rows]
    points = found.projector.project(archive.vectors)
    landmarks = _landmarks(archive, points, rows, after.anchors)
    is_known = ~archive.is_provisional
    is_known[new_rows] = True
    others = np.setdiff1d(np.flatnonzero(is_known), rows)
    reference = DriftReference(
        k=state.reference.k,
        tau=_tau(archive.vectors, landmarks, others, seed),
        # What unseen points keep was measured when there were some: trained ones are flattered.
        preservation=state.reference.preservation,
    )
    return _Made(archive=archive, points=points, is_known=is_known).map(
        found.projector,
        landmarks=landmarks,
        reference=reference,
        n_frozen=state.n_frozen,
        seed=seed,
        n_neighbours=recipe.n_neighbours,
        metrics=_metrics(found, len(new_rows)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """An archive on a new map, by the places that its encoder gives."""

    archive: Archive
    points: Floats
    is_known: NDArray[np.bool_]

    def map(
        self,
        projector: Projector,
        *,
        landmarks: Landmarks,
        reference: DriftReference,
        n_frozen: int,
        seed: int,
        n_neighbours: int,
        metrics: Mapping[str, float],
    ) -> MadeMap:
        """The map with what it is carried on from."""
        state = MapState(
            version=projector.version,
            n_frozen=n_frozen,
            seed=seed,
            n_neighbours=n_neighbours,
            reference=reference,
            landmarks=landmarks,
            watermark=self.archive.manifest.number,
            n_points=len(self.points),
            box=_box(self.points),
            metrics=metrics,
            known_until=self._known_until(),
        )
        return MadeMap(projector=projector, state=state, is_known=self.is_known)

    def _known_until(self) -> str:
        """The newest write id up to which all points are known."""
        write_ids = self.archive.write_ids
        unknown = min(write_ids[~self.is_known].tolist(), default=None)
        known = write_ids[self.is_known].tolist()
        return max((one for one in known if unknown is None or one < unknown), default="")


def _metrics(grown: Grown, n_new: int) -> dict[str, float]:
    return {"learnt": float(n_new), "encodes": float(grown.cost.n_encodes)} | measured(
        grown.measures
    )


def measured(measures: GateMeasures) -> dict[str, float]:
    """What the gate looked at, by the names that `map status` shows."""
    found = {
        "movedMedian": measures.drift.median,
        "movedP95": measures.drift.p95,
        "oldTrustBefore": measures.old_trust_before,
        "oldTrust": measures.old_trust,
        "newTrustBefore": measures.new_trust_before,
        "newTrust": measures.new_trust,
    }
    major: Mapping[str, float] = {}
    if measures.major_drift is not None:
        major = {"movedFromMajorP95": measures.major_drift.p95}
    return {**found, **major}


def _new_rows(archive: Archive, n_recent: int) -> Rows:
    """Strangers and the newest points, the newest of them all if they are too many."""
    newest_first = np.argsort(archive.write_ids, kind="stable")[::-1]
    is_new = archive.is_provisional.copy()
    is_new[newest_first[:n_recent]] = True
    return np.sort(newest_first[is_new[newest_first]][:N_NEW])


def _old_rows(
    archive: Archive, landmarks: Landmarks, new_rows: Rows, seed: int
) -> tuple[Rows, Rows, Floats]:
    """Old rows that are looked at; which of them are landmarks; where those shall stay.

    Landmarks that have gone, or whose pixels are others by now, hold nothing any more.
    """
    rows = archive.rows_of(landmarks.keys)
    stands = (rows >= 0) & ~np.isin(rows, new_rows)
    same = (archive.vectors[rows] == landmarks.vectors).all(axis=1)
    stands &= same
    held = rows[stands]
    old = np.setdiff1d(np.arange(len(archive)), new_rows)
    # Strangers that were not chosen are on no place of the encoder's: nothing is learnt from them.
    old = old[~archive.is_provisional[old]]
    if len(old) > N_OLD:
        drawn = np.random.default_rng(seed).permutation(old)[:N_OLD]
        old = np.union1d(drawn, held)
    keeps = np.isin(held, old)
    held, anchors = held[keeps], landmarks.anchors[stands][keeps]
    return old, np.searchsorted(old, held), anchors


def _landmark_rows(points: Floats, candidates: Rows, seed: int) -> Rows:
    return candidates[pick_landmarks(points[candidates], seed=seed)]


def _landmarks(archive: Archive, points: Floats, rows: Rows, anchors: Floats) -> Landmarks:
    return Landmarks(
        keys=tuple(archive.keys[rows].tolist()),
        vectors=archive.vectors[rows],
        points=points[rows],
        anchors=np.asarray(anchors, dtype=np.float32),
    )


def _reference_of(
    fitted: FittedMap, archive: Archive, points: Floats, landmarks: Landmarks, rows: Rows, k: int
) -> DriftReference:
    """What is usual among the landmarks: of points held back, as far as the map is concerned."""
    others = np.setdiff1d(np.arange(len(points)), rows)
    k = min(k, len(landmarks) - 1)
    tau = _tau(archive.vectors, landmarks, others, seed=0)
    held = fitted.held_rows
    if not len(held):
        return DriftReference(k=k, tau=tau, preservation=fitted.reference.preservation)
    near, _ = nearest_landmarks(archive.vectors[held], landmarks.vectors, k)
    on_map, _ = nearest_landmarks(points[held], landmarks.points, k)
    return DriftReference(k=k, tau=tau, preservation=float(preserved(near, on_map).mean()))


def _tau(vectors: Floats, landmarks: Landmarks, others: Rows, seed: int) -> float:
    """How far the third landmark usually is.

    From points that are none; where those are few, from landmarks among the others as well.
    """
    drawn = vectors[np.random.default_rng(seed).permutation(others)[:_N_CALIBRATED]]
    # Many equal ones would be far from everything but each other, and make that the usual.
    distances = [_thirds(drawn[distinct_rows(drawn)], landmarks.vectors)]
    if len(drawn) < _MIN_CALIBRATED:
        among = landmarks.vectors[distinct_rows(landmarks.vectors)]
        near = nearest(among, among, min(FAR_RANK, len(among) - 1), own_rows=np.arange(len(among)))
        distances.append(near.distances[:, -1].astype(np.float64))
    return float(np.quantile(np.concatenate(distances), TAU_QUANTILE))


def _thirds(queries: Floats, searched: Floats) -> NDArray[np.float64]:
    k = min(FAR_RANK, len(searched))
    parts = [
        nearest_landmarks(queries[start : start + _CHUNK], searched, k)[1]
        for start in range(0, len(queries), _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _box(points: Floats) -> tuple[float, float, float, float]:
    (low_x, low_y), (high_x, high_y) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return low_x, high_x, low_y, high_y
