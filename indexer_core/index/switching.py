"""Changing the encoder of a vector space while deltas arrive, merges run and searches are answered.

A second encoder is begun (`start`), the vectors of every segment are made beside the live ones
(`fill`), and one commit makes it the live encoder (`switch`); or the build is given up (`abandon`).
Each step can be killed anywhere and done again: what a segment has is never made twice, and of a
large segment every finished part is kept. Writers that have both encoders bring both meanwhile;
what others write lacks the new one, and is filled here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from indexer_core.errors import ConflictError, CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.index.commit import Abandoned, Committed, Complete, Manifests, commit
from indexer_core.index.filling import (
    DEFAULT_PART_VECTORS,
    Filling,
    SegmentFiller,
    VectorsOf,
)
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import Manifest, Segment, Space
from indexer_core.index.projections import put_projector
from indexer_core.index.updates import (
    AbandonSpace,
    AddVectors,
    BuildSpace,
    Incomplete,
    Missing,
    MissingCoordinates,
    MissingVectors,
    SwitchSpace,
    Update,
)
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles
from indexer_core.projector import Projector
from indexer_core.text_cache import drop_other_caches


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceState:
    """How far a build has come: of segments and of vectors, those filled and all."""

    space: Space
    n_segments: int
    n_filled_segments: int
    n_vectors: int
    n_filled_vectors: int

    @property
    def is_complete(self) -> bool:
        """Whether no segment lacks the encoder that is being built."""
        return self.n_filled_segments == self.n_segments


def state_of(manifest: Manifest, space: Space) -> SpaceState:
    """How far the build in a space has come; nothing is filled where none is under way."""
    sizes = [_size(segment, space) for segment in manifest.segments]
    filled = [
        size
        for segment, size in zip(manifest.segments, sizes, strict=True)
        if space.building is not None and segment.vector_file(space.name, space.building)
    ]
    return SpaceState(
        space=space,
        n_segments=len(sizes),
        n_filled_segments=len(filled),
        n_vectors=sum(sizes),
        n_filled_vectors=sum(filled),
    )


def _size(segment: Segment, space: Space) -> int:
    live = segment.vector_file(space.name, space.live)
    return 0 if live is None else live.n_vectors


_SpaceUpdate = BuildSpace | AddVectors | SwitchSpace | AbandonSpace

Progress = Callable[[SpaceState, int], None]
"""Told of the state of a build, and of the vectors that are made of the segment under way."""


def _no_progress(state: SpaceState, n_made: int) -> None:
    del state, n_made


class SpaceSwitch:
    """Builds a second encoder of a space, and switches to it.

    Any number of them may be at work on one index: they waste each other's work, and no more.
    """

    def __init__(
        self,
        *,
        blobs: BlobStore,
        vector_files: VectorFiles,
        clock: Clock,
        ids: Ids,
        part_vectors: int = DEFAULT_PART_VECTORS,
    ) -> None:
        """`part_vectors`: see `SegmentFiller`."""
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._filler = SegmentFiller(blobs, vector_files, ids, part_vectors)
        self._clock = clock
        self._ids = ids

    def start(self, name: str, encoder_id: str, dimension: int) -> Manifest:
        """Begin to build an encoder in a space; nothing happens where that was done before.

        Raises
        ------
        ConflictError
            Another one is being built.
        InvalidInputError
            It is the live one.
        """
        if _space(self._manifests.newest(), name).live == encoder_id:
            raise InvalidInputError(f"the {name} space is searched with {encoder_id} already")
        update = BuildSpace(space=name, encoder_id=encoder_id, dimension=dimension)
        return self._commit(update, "build").manifest

    def fill(
        self,
        name: str,
        encoder_id: str,
        vectors_of: VectorsOf,
        *,
        progress: Progress = _no_progress,
    ) -> Manifest:
        """Make the vectors that segments lack, one commit for each, until none lacks any.

        Raises
        ------
        ConflictError
            It is not being built, or not any more.
        CorruptIndexError
            The rows of a segment are damaged, or not those that its live vectors were made of.
        """
        while True:
            manifest = self._manifests.newest()
            space = _space(manifest, name)
            if space.live == encoder_id:
                return manifest
            filling = _filling(space, encoder_id, vectors_of)
            self._filler.sweep(manifest)
            state = state_of(manifest, space)
            progress(state, 0)
            if state.is_complete:
                return manifest
            # The largest first: small ones may be merged away while it is worked on.
            segment = max(_lacking(manifest, filling), key=lambda segment: _size(segment, space))
            self._fill(segment, filling, partial(progress, state))

    def switch(
        self,
        name: str,
        encoder_id: str,
        vectors_of: VectorsOf,
        *,
        projector: Projector | None = None,
        progress: Progress = _no_progress,
    ) -> Manifest:
        """Fill what is still missing, then make the encoder the live one, in one commit.

        What arrives between the last look and the commit is filled within the commit.

        Parameters
        ----------
        projector
            The map for a new image encoder, where the map in force reads the one that goes.

        Raises
        ------
        ConflictError
            It is not being built, a map is needed, or others won too many races.
        """
        before = self.fill(name, encoder_id, vectors_of, progress=progress)
        space = _space(before, name)
        if space.live == encoder_id:
            self._clean(before)
            return before
        filling = _filling(space, encoder_id, vectors_of)

        def complete(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            assert isinstance(update, SwitchSpace)
            for gap in incomplete.missing:
                update = self._closed(manifest, update, gap, filling, projector)
            return update

        projection = None
        if projector is not None:
            projection = put_projector(self._blobs, projector, self._ids.new_id())
        update = SwitchSpace(space=name, encoder_id=encoder_id, projection=projection)
        after = self._commit(update, "switch", _counts(before, space), complete).manifest
        self._clean(after)
        return after

    def abandon(self, name: str, encoder_id: str) -> Manifest:
        """Give a build up; nothing happens where it is not under way.

        Raises
        ------
        ConflictError
            It is the live encoder.
        """
        after = self._commit(AbandonSpace(space=name, encoder_id=encoder_id), "abandon").manifest
        self._clean(after)
        return after

    def _clean(self, manifest: Manifest) -> None:
        """Delete what was kept for an encoder that the index has done with."""
        self._filler.sweep(manifest)
        used = {encoder for s in manifest.spaces for encoder in (s.live, s.building) if encoder}
        drop_other_caches(self._blobs, used)

    def _fill(self, segment: Segment, filling: Filling, progress: Callable[[int], None]) -> None:
        """Make the vectors of one segment; in vain when it was merged away meanwhile."""

        def again(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            # The file was written so long ago that it may have been collected.
            del manifest, incomplete
            assert isinstance(update, AddVectors)
            return replace(update, vectors=self._filler.vector_file(segment, filling))

        vectors = self._filler.vector_file(segment, filling, progress)
        update = AddVectors(segment_id=segment.id, vectors=vectors)
        outcome = self._try(update, "fill", {"vectors": vectors.n_vectors}, again)
        if isinstance(outcome, Abandoned) and self._is_due(segment, filling):
            # It would be refused over and over.
            raise CorruptIndexError(f"segment {segment.id}: {outcome.reason}")

    def _is_due(self, segment: Segment, filling: Filling) -> bool:
        manifest = self._manifests.newest()
        space = _space(manifest, filling.space)
        return space.building == filling.encoder_id and segment in manifest.segments

    def _closed(
        self,
        manifest: Manifest,
        update: SwitchSpace,
        gap: Missing,
        filling: Filling,
        projector: Projector | None,
    ) -> SwitchSpace:
        """The switch with one of its gaps closed."""
        segment = manifest.segment(gap.segment_id)
        assert segment is not None
        match gap:
            case MissingVectors():
                vectors = self._filler.vector_file(segment, filling)
                return replace(update, vectors={**update.vectors, segment.id: vectors})
            case MissingCoordinates() if projector is not None:
                stored = update.vectors.get(segment.id) or segment.vector_file(
                    filling.space, filling.encoder_id
                )
                assert stored is not None
                points = self._filler.coordinate_file(stored, projector)
                return replace(update, coordinates={**update.coordinates, segment.id: points})
            case _:
                raise ConflictError("the switch needs a map that this program does not have")

    def _commit(
        self,
        update: _SpaceUpdate,
        reason: str,
        counts: Mapping[str, int] | None = None,
        complete: Complete | None = None,
    ) -> Committed:
        outcome = self._try(update, reason, counts, complete)
        if isinstance(outcome, Abandoned):
            raise ConflictError(outcome.reason)
        return outcome

    def _try(
        self,
        update: _SpaceUpdate,
        reason: str,
        counts: Mapping[str, int] | None = None,
        complete: Complete | None = None,
    ) -> Committed | Abandoned:
        about = update.vectors if isinstance(update, AddVectors) else update
        details = {"space": about.space, "encoder": about.encoder_id}
        lineage = made_now(reason, self._clock.now_s(), counts, details)
        return commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=lineage,
            complete=complete,
        )


def _space(manifest: Manifest, name: str) -> Space:
    space = manifest.space(name)
    if space is None:
        raise NotFoundError("nothing is indexed yet")
    return space


def _filling(space: Space, encoder_id: str, vectors_of: VectorsOf) -> Filling:
    if space.building != encoder_id or space.building_dimension is None:
        raise ConflictError(f"{encoder_id} is not being built in the {space.name} space")
    return Filling(
        space=space.name,
        encoder_id=encoder_id,
        dimension=space.building_dimension,
        vectors_of=vectors_of,
    )


def _lacking(manifest: Manifest, filling: Filling) -> Iterator[Segment]:
    for segment in manifest.segments:
        if segment.vector_file(filling.space, filling.encoder_id) is None:
            yield segment


def _counts(manifest: Manifest, space: Space) -> dict[str, int]:
    return {"vectors": state_of(manifest, space).n_vectors}
