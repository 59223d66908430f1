"""The map of an index in the worker's hands: fitted on command, grown when new kinds arrive."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import (
    Alarm,
    DriftRule,
    alarm_over,
    is_cool,
    newest_batches,
)
from indexer_core.announcements import Announcer
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    IndexerError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.index.commit import Manifests
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.map_announcements import MapAnnouncements
from indexer_core.index.map_versions import is_fitted
from indexer_core.index.projections import load_map, load_projector, load_state
from indexer_core.index.publishing import MapPublisher
from indexer_core.index.reader import Reader
from indexer_core.map_state import MapState
from indexer_core.placing import BatchDrift
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles

if TYPE_CHECKING:
    from gpu_worker.projection.archive import Archive
    from gpu_worker.projection.carrying import MadeMap
    from indexer_core.projector import Projector

log = logging.getLogger(__name__)

T = TypeVar("T")
_ATTEMPTS = 4

Progress = Callable[[int, int], None]
"""Steps done, and how many there are."""


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
        teaching: Progress = no_progress,
    ) -> None:
        """`teaching` is told how far the map is when it is taught after a batch."""
        self._blobs = blobs
        self._vector_files = vector_files
        self._files = files
        self._manifests = Manifests(blobs)
        self._publisher = MapPublisher(blobs, vector_files, clock=clock, ids=ids)
        self._announcements = MapAnnouncements(blobs, announcer)
        self._settings = settings or MapSettings()
        self._teaching = teaching
        self._known = EMPTY
        self._states: dict[str, MapState] = {}
        self._given_up: str | None = None

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
        archive = self._unless_overtaken(read_archive)
        projection = archive.manifest.projection
        assert projection is not None
        is_first = not is_fitted(archive.manifest)
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
        return self._published(made, archive, reason, placing)

    def watch(self) -> Watched | None:
        """What new series say of the map; None where none was fitted yet."""
        manifest = self._known = self._manifests.newest(self._known)
        projection = manifest.projection
        if projection is None or projection.state is None:
            return None
        rule = self._settings.drift
        batches = newest_batches(projection, rule)
        window = BatchDrift(
            n=sum(batch.n for batch in batches),
            n_far=sum(batch.n_far for batch in batches),
            preserved_sum=sum(batch.preserved_sum for batch in batches),
        )
        alarm = None
        if batches and is_cool(projection, rule):
            alarm = alarm_over(batches, self._state_of(manifest).reference, rule)
        return Watched(n_since=projection.n_since, window=window, alarm=alarm)

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

        def read(reader: Reader) -> "tuple[Archive, Projector, MapState | None]":
            archive = read_archive(reader)
            assert archive.manifest.projection is not None
            return archive, *load_map(self._blobs, archive.manifest.projection)

        archive, projector, state = self._unless_overtaken(read)
        projection = archive.manifest.projection
        assert projection is not None
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
        manifest = self._published(made, archive, "grow", no_progress)
        return Learnt(version=made.projector.version, manifest=manifest.number)

    def after_batch(self) -> None:
        """Tell of a map that nobody was told of, and teach it if new series call for it.

        Failing is only logged.

        Whatever fails must not end the merging, nor the indexing, that goes on beside it.
        """
        try:
            self._teach()
        except (ConflictError, UnavailableError, UnknownOutcomeError) as error:
            log.warning("map put off kind=%s", error.kind)
        except Exception:
            # It would fail over and over, reading the whole archive each time.
            self._given_up = self._version
            log.exception("map version=%s is taught no more by this process", self._version)

    def _teach(self) -> None:
        try:
            watched = self.watch()
        finally:
            self.announce(self._known)
        if watched is None or watched.alarm is None or self._given_up == self._version:
            return
        alarm = watched.alarm
        log.info("map alarm far=%.3f kept=%.3f", alarm.far_share, alarm.preservation)
        self.learn(watched.window.n, progress=self._teaching)

    @property
    def _version(self) -> str:
        projection = self._known.projection
        return "" if projection is None else projection.version

    def when_idle(self, is_over: Callable[[], bool]) -> None:
        """The same."""
        if not is_over():
            self.after_batch()

    def _published(
        self, made: "MadeMap", archive: "Archive", reason: str, placing: Progress
    ) -> Manifest:
        known = archive.keys[made.is_known].tolist()
        manifest = self._publisher.publish(
            made.projector, made.state, archive.manifest, known, reason=reason, progress=placing
        )
        version = made.projector.version
        log.info("map version=%s published manifest=%d", version, manifest.number)
        self.announce(manifest)
        return manifest

    def announce(self, manifest: Manifest) -> None:
        """Tell of the map in force, unless that was done; `after_batch` does what fails here."""
        try:
            self._announcements.tell(manifest)
        except IndexerError as error:
            log.warning("map announced later kind=%s", error.kind)

    def _state_of(self, manifest: Manifest) -> MapState:
        assert manifest.projection is not None
        file = manifest.projection.state
        assert file is not None
        if file.name not in self._states:
            self._states = {file.name: load_state(self._blobs, file)}
        return self._states[file.name]

    def _unless_overtaken(self, read: Callable[[Reader], T]) -> T:
        """Read, and read again where a purge takes files away meanwhile."""
        for _ in range(_ATTEMPTS):
            # A fresh one each time: what it has read is not kept in memory after a fit.
            reader = Reader(self._blobs, self._vector_files, files=self._files, follows=False)
            try:
                return read(reader)
            except CorruptIndexError:
                if self._manifests.newest().number == reader.snapshot.manifest.number:
                    raise
        raise ConflictError("others kept taking files away; try again later")
