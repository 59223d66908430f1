"""From an assembled series to index rows: describe, embed, project, and one commit per batch.

The worker uses it for series with pixels, the series check for those without and for deletions,
so that both write the same rows by the same code.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from indexer_core.entries import Describer, Due, Entry, Vector, facts_of, row_of
from indexer_core.errors import ConflictError, InvalidInputError
from indexer_core.facts import SeriesFacts, series_from_json, to_json
from indexer_core.index.commit import Abandoned, Committed, Complete, Manifests, commit
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import FileRef, Manifest, Projection, Segment, Space
from indexer_core.index.reader import Place, Reader
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import (
    IMAGE_SPACE,
    TEXT_SPACE,
    Points,
    SegmentWriter,
    SpaceVectors,
    read_file,
)
from indexer_core.index.updates import (
    AddSegment,
    AdoptRecipe,
    Incomplete,
    MissingCoordinates,
    MissingVectors,
    OpenIndex,
    Restore,
    StaleSegment,
    Suppress,
    Update,
    with_files,
)
from indexer_core.index.write_ids import is_behind
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady
from indexer_core.ports import BlobStore, Clock, Ids, TextEncoder, VectorFiles
from indexer_core.projector import Projector, bootstrap_projector
from indexer_core.rules import Rules
from indexer_core.stores import Stores
from indexer_core.templates import Templates
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache


def open_index(
    stores: Stores,
    *,
    text_encoder: TextEncoder,
    vector_files: VectorFiles,
    image_encoder_id: str,
    image_dimension: int,
    rules: Rules,
    templates: Templates,
) -> "Indexer":
    """The index writer of a program, opened; each distinct text is embedded once.

    Raises
    ------
    InvalidInputError
        The index was made with other encoders.
    """
    cache = TextVectorCache(
        stores.index,
        stores.ids,
        encoder_id=text_encoder.encoder_id,
        dimension=text_encoder.dimension,
    )
    indexer = Indexer(
        blobs=stores.index,
        vector_files=vector_files,
        text_encoder=CachedTextEncoder(text_encoder, cache),
        image_dimension=image_dimension,
        describer=Describer(rules=rules, templates=templates, image_encoder_id=image_encoder_id),
        clock=stores.clock,
        ids=stores.ids,
    )
    indexer.open()
    return indexer


class Indexer:
    """Writes rows; one per process. The reader it keeps holds rows, no vectors."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        vector_files: VectorFiles,
        text_encoder: TextEncoder,
        image_dimension: int,
        describer: Describer,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._blobs = blobs
        self._writer = SegmentWriter(blobs, vector_files)
        self._manifests = Manifests(blobs)
        self._reader = Reader(blobs, vector_files)
        self._text_encoder = text_encoder
        self._image_dimension = image_dimension
        self._describer = describer
        self._clock = clock
        self._ids = ids
        self._projectors: dict[str, Projector] = {}

    def open(self) -> Manifest:
        """Create the index where there is none, and give the rules and templates their number.

        Raises
        ------
        InvalidInputError
            The index was made with another text or image encoder.
        """
        manifest = self._manifests.newest()
        if not manifest.spaces:
            manifest = self._commit(self._opening(), "open").manifest
        self._check_encoders(manifest)
        return self._commit(AdoptRecipe(digest=self._describer.digest), "recipe").manifest

    def check_fitness(self) -> None:
        """Make sure that this program can write this index as it is now.

        Raises
        ------
        InvalidInputError
            The index is made with other encoders.
        CorruptIndexError
            Its newest manifest is damaged, or of a newer format.
        """
        self._check_encoders(self._reader.refresh().manifest)

    @property
    def manifest_number(self) -> int:
        """Number of the newest manifest that this writer knows."""
        return self._reader.refresh().manifest.number

    def due(self, ready: SeriesReady) -> Due:
        """Whether the index still lacks this revision."""
        snapshot = self._reader.refresh()
        if ready.series in snapshot.manifest.suppressed:
            return Due(action="suppressed")
        place = self._reader.winner(ready.series)
        if place is None or place.order[0] < ready.revision:
            return Due(action="index")
        row = self._reader.row(place)
        # At a higher revision too: a late message of a content that came back since.
        if row.digest == ready.digest:
            return Due(action="done")
        return Due(action="taken", taken=row.revision)

    def entry(
        self,
        ready: SeriesReady,
        assembled: AssembledSeries,
        image: Vector | None,
        flags: Sequence[str] = (),
    ) -> Entry:
        """The entry of a series; a tombstone when no instance is left."""
        if not assembled.instances:
            return Entry(
                series=ready.series,
                revision=ready.revision,
                digest=ready.digest,
                record=None,
                facts=None,
                prepared=self._ids.new_id(),
            )
        facts = facts_of(assembled)
        facts = replace(facts, flags=tuple(sorted({*facts.flags, *flags})))
        return self._described(
            Entry(
                series=ready.series,
                revision=ready.revision,
                digest=ready.digest,
                record=None,
                facts=None,
                blobs=tuple(instance.url for instance in assembled.instances),
                image=image,
                prepared=self._ids.new_id(),
            ),
            facts,
        )

    def write(self, entries: Sequence[Entry], reason: str) -> Manifest:
        """Commit entries as one segment; durable when it returns.

        Raises
        ------
        ConflictError
            Others won too many races, the entries were prepared too long ago, or the clock of this
            machine is far behind that of others.
        """
        ordered = sorted(entries, key=lambda entry: entry.series)
        segment = self._segment(self._ids.new_id(), ordered)
        prepared = min((entry.prepared for entry in ordered if entry.prepared), default=None)
        counts = {
            "series": sum(entry.alive for entry in ordered),
            "tombstones": sum(not entry.alive for entry in ordered),
        }
        images = [entry for entry in ordered if entry.image is not None]

        def complete(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            assert isinstance(update, AddSegment)
            if any(isinstance(missing, StaleSegment) for missing in incomplete.missing):
                segment = self._segment(self._fresh_id(manifest), ordered)
            else:
                segment = self._completed(manifest, update.segment, images, incomplete)
            return replace(update, segment=segment)

        update = AddSegment(segment=segment, prepared=prepared)
        return self._commit(update, reason, counts, complete).manifest

    def _fresh_id(self, manifest: Manifest) -> str:
        """A write id in front of the collector's fence."""
        write_id = self._ids.new_id()
        if is_behind(write_id, manifest.collected_before):
            raise ConflictError(
                "the clock of this machine is so far behind that of the others that what it writes "
                "would be collected as old: set the clock"
            )
        return write_id

    def outdated(self) -> Iterator[tuple[Place, IndexRow]]:
        """Live rows that other rules or templates made than those in force here.

        These are first made the newest generation, where they are not: going back to earlier ones
        must outrank the rows that later ones made.
        """
        self._commit(AdoptRecipe(digest=self._describer.digest, newest=True), "recipe")
        snapshot = self._reader.refresh()
        current = self._recipe(snapshot.manifest)
        for key in sorted(self._reader.series_keys()):
            place = self._reader.winner(key)
            if place is None or not place.alive or place.order[1] >= current:
                continue
            if key not in snapshot.manifest.suppressed:
                yield place, self._reader.row(place)

    def reprocess(self, rows: Sequence[tuple[Place, IndexRow]]) -> Manifest:
        """Apply the rules and templates in force to stored facts; vectors of pixels are copied.

        A series whose row is no longer the best is passed over.
        """
        entries = []
        self._reader.refresh()
        for listed, row in rows:
            place = self._reader.winner(row.series_key)  # where a merge has put it since
            if place is None or place.order != listed.order:
                continue
            assert row.facts is not None
            image, xy = self._image_of(place, row)
            entry = Entry(
                series=row.series_key,
                revision=row.revision,
                digest=row.digest,
                record=None,
                facts=None,
                blobs=row.blobs,
                image=image,
                xy=xy,
                prepared=self._ids.new_id(),
            )
            entries.append(self._described(entry, series_from_json(row.facts)))
        return self.write(entries, "reprocess")

    def suppress(self, keys: frozenset[str]) -> Committed:
        """Mask series for every reader."""
        return self._commit(Suppress(series_keys=keys), "delete", {"series": len(keys)})

    def restore(self, keys: frozenset[str]) -> Committed:
        """Unmask series."""
        return self._commit(Restore(series_keys=keys), "restore", {"series": len(keys)})

    def _described(self, entry: Entry, facts: SeriesFacts) -> Entry:
        record, texts = self._describer.describe(entry.series, entry.revision, facts)
        return replace(entry, record=record, facts=to_json(facts), texts=texts)

    def _segment(self, write_id: str, entries: Sequence[Entry]) -> Segment:
        manifest = self._reader.refresh().manifest
        recipe = self._recipe(manifest)
        texts = [text for entry in entries for text in entry.texts]
        spaces = [
            SpaceVectors(
                space=TEXT_SPACE,
                encoder_id=self._text_encoder.encoder_id,
                vectors=self._text_encoder.encode(texts),
            ),
            SpaceVectors(
                space=IMAGE_SPACE,
                encoder_id=self._describer.image_encoder_id,
                vectors=self._stack([entry.image for entry in entries if entry.image is not None]),
            ),
        ]
        images = [entry for entry in entries if entry.image is not None]
        points: tuple[Points, ...] = ()
        if manifest.projection is not None and images:
            points = (self._points(images, manifest.projection),)
        rows = [row_of(entry, write_id, recipe) for entry in entries]
        return self._writer.write(write_id, rows, spaces, points)

    def _completed(
        self,
        manifest: Manifest,
        segment: Segment,
        images: Sequence[Entry],
        incomplete: Incomplete,
    ) -> Segment:
        for missing in incomplete.missing:
            match missing:
                case MissingCoordinates(projection=projection):
                    moved = [replace(entry, xy=None) for entry in images]
                    # A write id of its own: that of the segment may be behind a fence by now.
                    points = self._writer.write_points(
                        self._fresh_id(manifest), self._points(moved, projection)
                    )
                    segment = with_files(segment, coordinates=(points,))
                case MissingVectors():
                    raise ConflictError(
                        f"the encoder of manifest {manifest.number} is not the one in use here; "
                        "restart with the encoder that the index uses now"
                    )
                case StaleSegment():
                    raise AssertionError("a stale segment is written again as a whole")
        return segment

    def _points(self, images: Sequence[Entry], projection: Projection) -> Points:
        projector = self._projector(projection)
        xy = np.empty((len(images), 2), dtype=np.float32)
        for index, entry in enumerate(images):
            assert entry.image is not None
            place = entry.xy
            xy[index] = projector.project(entry.image[None, :])[0] if place is None else place
        return Points(projection=projection.version, xy=xy)

    def _projector(self, projection: Projection) -> Projector:
        if projection.version not in self._projectors:
            data = read_file(self._blobs, projection.file)
            self._projectors[projection.version] = Projector.from_bytes(data)
        return self._projectors[projection.version]

    def _stack(self, images: Sequence[Vector]) -> Vector:
        if not images:
            return np.empty((0, self._image_dimension), dtype=np.float32)
        return np.stack(images)

    def _image_of(
        self, place: Place, row: IndexRow
    ) -> tuple[Vector | None, tuple[float, float] | None]:
        if row.image_count == 0:
            return None, None
        return self._reader.image_of(place, self._describer.image_encoder_id)

    def _recipe(self, manifest: Manifest) -> int:
        for recipe in reversed(manifest.recipes):
            if recipe.digest == self._describer.digest:
                return recipe.number
        raise ConflictError("the rules in use were never given a number; open the index first")

    def _opening(self) -> OpenIndex:
        encoder_id = self._describer.image_encoder_id
        projector = bootstrap_projector(self._image_dimension, encoder_id)
        data = projector.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        name = f"projections/{digest}.projector"
        # Named by content: finding it there means that an earlier try left the same projector.
        self._blobs.put_if_absent(name, data)
        file = FileRef(name=name, sha256=digest, size_bytes=len(data))
        return OpenIndex(
            spaces=(
                Space(
                    name=TEXT_SPACE,
                    live=self._text_encoder.encoder_id,
                    dimension=self._text_encoder.dimension,
                ),
                Space(name=IMAGE_SPACE, live=encoder_id, dimension=self._image_dimension),
            ),
            projection=Projection(version=projector.version, encoder_id=encoder_id, file=file),
        )

    def _check_encoders(self, manifest: Manifest) -> None:
        mine = {
            TEXT_SPACE: self._text_encoder.encoder_id,
            IMAGE_SPACE: self._describer.image_encoder_id,
        }
        for space in manifest.spaces:
            if mine[space.name] not in (space.live, space.building):
                raise InvalidInputError(
                    f"the index holds {space.name} vectors of {space.live}, this program makes "
                    f"{mine[space.name]}; vectors of two encoders never meet: use the version of "
                    "dicom-indexer that made it, or another --data directory"
                )

    def _commit(
        self,
        update: Update,
        reason: str,
        counts: Mapping[str, int] | None = None,
        complete: Complete | None = None,
    ) -> Committed:
        lineage = made_now(
            reason,
            self._clock.now_s(),
            counts,
            {
                "textEncoder": self._text_encoder.encoder_id,
                "imageEncoder": self._describer.image_encoder_id,
                "rules": self._describer.rules.digest[:12],
                "templates": self._describer.templates.digest[:12],
            },
        )
        outcome = commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=lineage,
            complete=complete,
            known=self._reader.snapshot.manifest,
        )
        if isinstance(outcome, Abandoned):
            raise ConflictError(outcome.reason)
        return outcome
