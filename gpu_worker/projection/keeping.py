"""The map of an index in the worker's hands: fitted on command, grown when new kinds arrive."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import Alarm, DriftRule, alarm_over
from indexer_core.announcements import Announcer, projection_published
from indexer_core.errors import IndexerError, InvalidInputError, NotFoundError
from indexer_core.index.commit import Manifests
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.projections import load_map, load_projector, load_state
from indexer_core.index.publishing import MapPublisher
from indexer_core.index.reader import Reader
from indexer_core.map_state import MapState
from indexer_core.placing import MAP, BatchDrift
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles

if TYPE_CHECKING:
    from gpu_worker.projection.carrying import MadeMap

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Steps done, and how many there are."""

_READ_BACK = 500
"""Manifests that are looked through for what new series said, at most."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""
    del done, total


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSettings:
    """How the map of an index is fitted and grown.

    Parameters
    ----------
    device
        Of torch: "cpu" or "cuda"; None: the best there is.
    seed
        Of the first fit; later ones count on from it.
    """

    fit: FitRecipe = field(default_factory=FitRecipe)
    fine_tune: FineTuneRecipe = field(default_factory=FineTuneRecipe)
    drift: DriftRule = field(default_factory=DriftRule)
    gate: GateRule = field(default_factory=GateRule)
    device: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What new series say of the map in force.

    Parameters
    ----------
    n_since
        New points since it was published, or was last asked to learn.
    window
        The newest of those, summed up.
    alarm
        Why it should learn them; None where it need not.
    """

    n_since: int
    window: BatchDrift
    alarm: Alarm | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of an attempt to teach the map in force: `reasons` where it stays as it is."""

    version: str
    manifest: int
    reasons: tuple[str, ...] = ()


class IndexMap:
    """The map of one index; for one thread at a time, with a reader of its own.

    torch is imported when a map is fitted or taught, which most programs never do.
    """

    def __init__(
        self,
        blobs: BlobStore,
        vector_files: VectorFiles,
        *,
        clock: Clock,
        ids: Ids,
        announcer: Announcer,
        settings: MapSettings | None = None,
        files: ImmutableFiles | None = None,
    ) -> None:
        self._blobs = blobs
        self._vector_files = vector_files
        self._files = files
        self._manifests = Manifests(blobs)
        self._publisher = MapPublisher(blobs, vector_files, clock=clock, ids=ids)
        self._announcer = announcer
        self._settings = settings or MapSettings()
        self._known = EMPTY
        self._lineages: dict[int, tuple[str, BatchDrift | None]] = {}
        self._states: dict[str, MapState] = {}

    def fit(
        self,
        *,
        again: bool = False,
        training: Progress = no_progress,
        placing: Progress = no_progress,
    ) -> Manifest:
        """Fit a new major map of everything that is indexed, and put it in force.

        Parameters
        ----------
        again
            Also where one was fitted before: that one's points will move.

        Raises
        ------
        InvalidInputError
            There is one already, or there are too few different series to fit one.
        NotFoundError
            No series with pixels is indexed.
        ConflictError
            Another one was published meanwhile.
        """
        from gpu_worker.projection.archive import read_archive
        from gpu_worker.projection.carrying import fit_archive
        from gpu_worker.projection.network import best_device

        settings = self._settings
        archive = read_archive(self._reader())
        projection = archive.manifest.projection
        assert projection is not None
        is_first = projection.state is None
        if not is_first and not again:
            raise InvalidInputError(
                f"map {projection.version} is in force and new series are placed on it; a refit "
                "moves all points: dicom-indexer map refit"
            )
        major = int(projection.version.partition(".")[0])
        made = fit_archive(
            archive,
            settings.fit,
            seed=settings.seed + major,
            lays_over=not is_first,
            device=settings.device or best_device(),
            progress=training,
        )
        reason = "fit" if is_first else "refit"
        return self._published(made, archive.manifest, reason, placing)

    def watch(self) -> Watched | None:
        """What new series say of the map; None where none was fitted yet."""
        manifest = self._known = self._manifests.newest(self._known)
        projection = manifest.projection
        if projection is None or projection.state is None:
            return None
        rule = self._settings.drift
        batches: list[BatchDrift] = []
        n_window = n_since = 0
        oldest = max(
            projection.refused_at, manifest.retained_from - 1, manifest.number - _READ_BACK
        )
        for number in range(manifest.number, oldest, -1):
            version, batch = self._said_at(number)
            if version != projection.version:
                break
            if batch is None:
                continue
            n_since += batch.n
            if n_window < rule.window:
                batches.append(batch)
                n_window += batch.n
        window = BatchDrift(
            n=n_window,
            n_far=sum(batch.n_far for batch in batches),
            preserved_sum=sum(batch.preserved_sum for batch in batches),
        )
        # After it was asked in vain it is not asked again at once.
        is_cool = not projection.refused_at or n_since >= rule.cooldown
        alarm = None
        if is_cool and batches:
            alarm = alarm_over(batches, self._state_of(manifest).reference, rule)
        return Watched(n_since=n_since, window=window, alarm=alarm)

    def learn(self, n_recent: int, *, progress: Progress = no_progress) -> Learnt:
        """Teach the map in force its strangers and the newest points; publish it if it may be.

        Raises
        ------
        NotFoundError
            No map was fitted yet.
        ConflictError
            Another one was published meanwhile.
        """
        from gpu_worker.projection.archive import read_archive
        from gpu_worker.projection.carrying import MadeMap, grow_archive, measured
        from gpu_worker.projection.network import best_device

        settings = self._settings
        archive = read_archive(self._reader())
        projection = archive.manifest.projection
        assert projection is not None
        projector, state = load_map(self._blobs, projection)
        if state is None:
            raise NotFoundError("no map was fitted yet: dicom-indexer map fit")
        major = projection.major
        made = grow_archive(
            archive,
            projector,
            state,
            None if major is None else load_projector(self._blobs, major),
            n_recent,
            settings.fine_tune,
            settings.gate,
            seed=settings.seed + archive.manifest.number,
            device=settings.device or best_device(),
            progress=progress,
        )
        if not isinstance(made, MadeMap):
            reasons = tuple(reason.value for reason in made.reasons)
            self._publisher.keep(projection.version, reasons, measured(made.measures))
            log.info("map version=%s kept reasons=%s", projection.version, ",".join(reasons))
            return Learnt(
                version=projection.version, manifest=archive.manifest.number, reasons=reasons
            )
        manifest = self._published(made, archive.manifest, "grow", no_progress)
        return Learnt(version=made.projector.version, manifest=manifest.number)

    def after_batch(self) -> None:
        """Teach the map if new series call for it; failing is only logged."""
        try:
            watched = self.watch()
            if watched is not None and watched.alarm is not None:
                log.info(
                    "map alarm far=%.3f kept=%.3f",
                    watched.alarm.far_share,
                    watched.alarm.preservation,
                )
                self.learn(watched.window.n)
        except IndexerError as error:
            log.warning("map put off kind=%s", error.kind)

    def when_idle(self, is_over: Callable[[], bool]) -> None:
        """The same."""
        if not is_over():
            self.after_batch()

    def _published(
        self, made: "MadeMap", made_of: Manifest, reason: str, placing: Progress
    ) -> Manifest:
        manifest = self._publisher.publish(
            made.projector, made.state, made_of, reason=reason, progress=placing
        )
        version = made.projector.version
        log.info("map version=%s published manifest=%d", version, manifest.number)
        self._announcer.announce([projection_published(version, manifest.number)])
        return manifest

    def _said_at(self, number: int) -> tuple[str, BatchDrift | None]:
        """The map that a manifest was made for, and what its new points say of it."""
        if number not in self._lineages:
            found = self._manifests.read(number)
            said: tuple[str, BatchDrift | None] = ("", None)
            if isinstance(found, Manifest) and found.projection is not None:
                made_for = found.lineage.details.get(MAP)
                batch = BatchDrift.from_counts(found.lineage.counts)
                is_of_it = made_for == found.projection.version
                said = (found.projection.version, batch if is_of_it else None)
            self._lineages[number] = said
            self._lineages = dict(list(self._lineages.items())[-2 * _READ_BACK :])
        return self._lineages[number]

    def _state_of(self, manifest: Manifest) -> MapState:
        assert manifest.projection is not None
        file = manifest.projection.state
        assert file is not None
        if file.name not in self._states:
            self._states = {file.name: load_state(self._blobs, file)}
        return self._states[file.name]

    def _reader(self) -> Reader:
        # A fresh one: what it has read is not kept in memory after a fit.
        return Reader(self._blobs, self._vector_files, files=self._files, follows=False)
