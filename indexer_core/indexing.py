"""From an assembled series to index rows: describe, embed, project, and one commit per batch.

The worker uses it for series with pixels, the series check for those without and for deletions,
so that both write the same rows by the same code.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import overload

from indexer_core.anatomy import Anatomy
from indexer_core.embedding import SegmentMaker
from indexer_core.encoders import FindEncoder, first_of, known, loaded_once, nowhere
from indexer_core.entries import Describer, Due, Entry, Vector, facts_of
from indexer_core.errors import ConflictError, CorruptIndexError, InvalidInputError
from indexer_core.facts import Finding, SeriesFacts, series_from_json, to_json
from indexer_core.index.commit import Abandoned, Committed, Complete, Manifests, commit
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import Manifest, Segment, Space
from indexer_core.index.projections import put_projector
from indexer_core.index.reader import Place, Reader
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, MapPoint
from indexer_core.index.updates import (
    AddSegment,
    AdoptRecipe,
    Incomplete,
    OpenIndex,
    Restore,
    StaleSegment,
    Suppress,
    Update,
)
from indexer_core.index.write_ids import fresh_id
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady
from indexer_core.placing import BatchDrift
from indexer_core.ports import BlobStore, Clock, Ids, TextEncoder, VectorFiles
from indexer_core.projector import bootstrap_projector
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
    find_encoder: FindEncoder = nowhere,
    image_encoder_ids: Collection[str] | None = None,
    around: Callable[[TextEncoder], TextEncoder] = lambda encoder: encoder,
) -> "Indexer":
    """The index writer of a program, opened; each distinct text is embedded once.

    Parameters
    ----------
    text_encoder, image_encoder_id, image_dimension
        The encoders of an index that is new.
    find_encoder
        Other text encoders that this program has: an index may have changed to one of them.
    image_encoder_ids
        As `Indexer`.
    around
        What is put around a text encoder, below the cache of texts.

    Raises
    ------
    InvalidInputError
        The index uses other encoders.
    """

    def find(wanted: str) -> TextEncoder | None:
        found = find_encoder(wanted)
        return None if found is None else cached(around(found), stores)

    indexer = Indexer(
        blobs=stores.index,
        vector_files=vector_files,
        text_encoder=cached(around(text_encoder), stores),
        find_encoder=loaded_once(find),
        image_encoder_ids=image_encoder_ids,
        image_dimension=image_dimension,
        describer=Describer(rules=rules, templates=templates, image_encoder_id=image_encoder_id),
        clock=stores.clock,
        ids=stores.ids,
        files=stores.files,
    )
    indexer.open()
    return indexer


@overload
def cached(encoder: TextEncoder, stores: Stores) -> TextEncoder: ...
@overload
def cached(encoder: TextEncoder | None, stores: Stores) -> TextEncoder | None: ...
def cached(encoder: TextEncoder | None, stores: Stores) -> TextEncoder | None:
    """The encoder over the cache that lies beside the index; None is none."""
    if encoder is None:
        return None
    cache = TextVectorCache(
        stores.index, stores.ids, encoder_id=encoder.encoder_id, dimension=encoder.dimension
    )
    return CachedTextEncoder(encoder, cache)


class Indexer:
    """Writes rows; one per process. The reader it keeps holds rows, no vectors.

    Parameters
    ----------
    text_encoder, image_dimension
        For an index that is new, with the image encoder of `describer`.
    find_encoder
        Other text encoders, where an index uses or is being switched to one.
    image_encoder_ids
        The image encoders that make what `entry` is given, if it is not the describer's alone;
        empty for a program that sees no pixels, which can write whatever encoder is in use.
    files
        Opens the files of segments; None: from `blobs`, in memory.
    """

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
        find_encoder: FindEncoder = nowhere,
        image_encoder_ids: Collection[str] | None = None,
        files: ImmutableFiles | None = None,
    ) -> None:
        self._blobs = blobs
        self._find_encoder = first_of(known(text_encoder), find_encoder)
        self._maker = SegmentMaker(blobs, vector_files, self._find_encoder, ids)
        self._manifests = Manifests(blobs)
        self._reader = Reader(blobs, vector_files, files=files)
        self._text_encoder = text_encoder
        self._image_encoder_ids = (
            (describer.image_encoder_id,) if image_encoder_ids is None else image_encoder_ids
        )
        self._image_dimension = image_dimension
        self._describer = describer
        self._clock = clock
        self._ids = ids

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
    def image_encoder_ids(self) -> tuple[str, ...]:
        """Ids of the image encoders to run: the live one, and one that is being built.

        As of the last look at the index; safe from several threads.
        """
        space = self._reader.snapshot.manifest.space(IMAGE_SPACE)
        if space is None:
            return (self._describer.image_encoder_id,)
        return (space.live,) if space.building is None else (space.live, space.building)

    @property
    def manifest_number(self) -> int:
        """Number of the newest manifest that this writer knows."""
        return self._reader.refresh().manifest.number

    def due(self, ready: SeriesReady) -> Due:
        """Whether the index still lacks this revision."""
        return self.dues([ready])[0]

    def dues(self, readies: Sequence[SeriesReady]) -> list[Due]:
        """Whether the index still lacks each of these revisions, by one look at it."""
        if not readies:
            return []
        snapshot = self._reader.refresh()
        return [self._due(ready, snapshot.manifest) for ready in readies]

    def _due(self, ready: SeriesReady, manifest: Manifest) -> Due:
        if ready.series in manifest.suppressed:
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
        images: Mapping[str, Vector],
        flags: Sequence[str] = (),
        findings: Sequence[Finding] = (),
    ) -> Entry:
        """The entry of a series; a tombstone if it is empty.

        `images`: its image vectors by encoder. `flags` are added to those of its headers.
        `findings`: what a pixel model says of it.
        """
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
        facts = replace(
            facts, flags=tuple(sorted({*facts.flags, *flags})), findings=tuple(findings)
        )
        return self._described(
            Entry(
                series=ready.series,
                revision=ready.revision,
                digest=ready.digest,
                record=None,
                facts=None,
                blobs=tuple(instance.url for instance in assembled.instances),
                images=images,
                prepared=self._ids.new_id(),
            ),
            facts,
        )

    def modality_of(self, assembled: AssembledSeries) -> str:
        """What the objects of a series are, by the rules in force; not of an empty one."""
        return self._describer.modality(facts_of(assembled))

    def anatomy_of(self, assembled: AssembledSeries) -> Anatomy:
        """What the headers say the series shows; see `Describer.anatomy`. For many threads."""
        return self._describer.anatomy(facts_of(assembled))

    def write(self, entries: Sequence[Entry], reason: str) -> Manifest:
        """Commit entries as one segment; durable when it returns.

        Series that were deleted since the entries were prepared are left out.

        Raises
        ------
        ConflictError
            Others won too many races, the entries were prepared too long ago, one was deleted while
            they had to be written again, or the clock of this machine is far behind that of others.
        """
        known = self._reader.refresh().manifest
        shown = [entry for entry in entries if entry.series not in known.suppressed]
        if not shown:
            return known
        ordered = sorted(shown, key=lambda entry: entry.series)
        standing = self._standing(ordered)
        segment, drift = self._segment(self._ids.new_id(), ordered, standing)
        prepared = min((entry.prepared for entry in ordered if entry.prepared), default=None)
        counts = {
            "series": sum(entry.alive for entry in ordered),
            "tombstones": sum(not entry.alive for entry in ordered),
            **({"strangers": drift.n_far} if drift is not None and drift.n_far else {}),
        }

        def complete(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            assert isinstance(update, AddSegment)
            if any(isinstance(missing, StaleSegment) for missing in incomplete.missing):
                # It may be a purge that asks for that, and it must not meet what it erases again.
                if any(entry.series in manifest.suppressed for entry in ordered):
                    raise ConflictError("a series was deleted meanwhile; the batch is tried again")
                write_id = fresh_id(self._ids, manifest.collected_before)
                segment, _ = self._segment(write_id, ordered, {})
            else:
                segment = self._maker.completed(update.segment, manifest, ordered, incomplete)
            return replace(update, segment=segment)

        update = AddSegment(
            segment=segment,
            prepared=prepared,
            drift=drift,
            drift_of=_map_of(self._reader.snapshot.manifest),
        )
        return self._commit(update, reason, counts, complete).manifest

    def outdated(self) -> Iterator[tuple[Place, IndexRow]]:
        """Live rows that other rules or templates made than those in force here.

        These are first made the newest generation, where they are not: going back to earlier ones
        must outrank the rows that later ones made.
        """
        self._commit(AdoptRecipe(digest=self._describer.digest, newest=True), "recipe")
        snapshot = self._reader.refresh()
        current = self._recipe(snapshot.manifest)
        outdated = sorted(
            key for key, place in self._reader.winners() if place.alive and place.order[1] < current
        )
        for key in outdated:
            place = self._reader.winner(key)  # where a merge has put it since
            if place is None or not place.alive or place.order[1] >= current:
                continue
            if key not in snapshot.manifest.suppressed:
                yield place, self._reader.row(place)

    def live_rows(self) -> Iterator[tuple[Place, IndexRow]]:
        """The rows that readers see, each series once."""
        hidden = self._reader.refresh().manifest.suppressed
        for key in sorted(key for key, place in self._reader.winners() if place.alive):
            place = self._reader.winner(key)  # where a merge has put it since
            if place is not None and place.alive and key not in hidden:
                yield place, self._reader.row(place)

    def reprocess(
        self,
        rows: Sequence[tuple[Place, IndexRow]],
        findings: Mapping[str, Sequence[Finding]] | None = None,
    ) -> Manifest:
        """Apply the rules and templates in force to stored facts; vectors of pixels are copied.

        A series whose row is no longer the best is passed over. `findings`, by series, take the
        place of what a pixel model had found.
        """
        entries = []
        self._reader.refresh()
        for listed, row in rows:
            place = self._reader.winner(row.series_key)  # where a merge has put it since
            if place is None or place.order != listed.order:
                continue
            assert row.facts is not None
            images, places = self._seen_of(place, row)
            entry = Entry(
                series=row.series_key,
                revision=row.revision,
                digest=row.digest,
                record=None,
                facts=None,
                blobs=row.blobs,
                images=images,
                places=places,
                prepared=self._ids.new_id(),
            )
            facts = series_from_json(row.facts)
            if findings is not None and row.series_key in findings:
                facts = replace(facts, findings=tuple(findings[row.series_key]))
            entries.append(self._described(entry, facts))
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

    def _segment(
        self, write_id: str, entries: Sequence[Entry], standing: Mapping[str, MapPoint]
    ) -> tuple[Segment, BatchDrift | None]:
        manifest = self._reader.refresh().manifest
        return self._maker.made(write_id, manifest, entries, self._recipe(manifest), standing)

    def _standing(self, entries: Sequence[Entry]) -> dict[str, MapPoint]:
        """Where those of the series are by now that have a place."""
        keys = [entry.series for entry in entries if entry.images]
        places = self._reader.winners_of(keys).items() if keys else ()
        found: dict[str, MapPoint] = {}
        for key, place in places:
            try:
                point = self._reader.point_of(place) if place.alive else None
            except CorruptIndexError:
                continue  # merged and collected since, or damaged: it is placed as a new one
            if point is not None:
                found[key] = point
        return found

    def _seen_of(
        self, place: Place, row: IndexRow
    ) -> tuple[dict[str, Vector], dict[str, MapPoint]]:
        """What is stored of a row's pixels: vectors by encoder, its place on the map in force."""
        manifest = self._reader.snapshot.manifest
        space, segment = manifest.space(IMAGE_SPACE), manifest.segment(place.segment_id)
        images: dict[str, Vector] = {}
        places: dict[str, MapPoint] = {}
        if row.image_count == 0 or space is None or segment is None:
            return images, places
        for encoder_id in (space.live, space.building):
            if encoder_id is not None and segment.vector_file(IMAGE_SPACE, encoder_id):
                images[encoder_id], xy = self._reader.image_of(place, encoder_id)
                if xy is not None and manifest.projection is not None:
                    places[manifest.projection.version] = xy
        return images, places

    def _recipe(self, manifest: Manifest) -> int:
        for recipe in reversed(manifest.recipes):
            if recipe.digest == self._describer.digest:
                return recipe.number
        raise ConflictError("the rules in use were never given a number; open the index first")

    def _opening(self) -> OpenIndex:
        projector = bootstrap_projector(self._image_dimension, self._describer.image_encoder_id)
        projection = put_projector(self._blobs, projector, self._ids.new_id())
        return OpenIndex(spaces=self._new_spaces(), projection=projection)

    def _new_spaces(self) -> tuple[Space, Space]:
        text, image = self._text_encoder, self._describer.image_encoder_id
        return (
            Space(name=TEXT_SPACE, live=text.encoder_id, dimension=text.dimension),
            Space(name=IMAGE_SPACE, live=image, dimension=self._image_dimension),
        )

    def _check_encoders(self, manifest: Manifest) -> None:
        for space in manifest.spaces:
            if space.name == TEXT_SPACE:
                mine = self._text_encoder.encoder_id
                has_it = self._find_encoder(space.live) is not None
            else:
                mine = ", ".join(self._image_encoder_ids)
                has_it = not mine or space.live in self._image_encoder_ids
            if not has_it:
                raise InvalidInputError(
                    f"the index holds {space.name} vectors of {space.live}, this program makes "
                    f"those of {mine}; vectors of two encoders never meet: use the version of "
                    "dicom-indexer that made it, or another --data directory"
                )

    def _made_with(self) -> dict[str, str]:
        """What the index is made with as of the last look at it, for the lineage."""
        manifest = self._reader.snapshot.manifest
        spaces = manifest.spaces or self._new_spaces()
        return {f"{space.name}Encoder": space.live for space in spaces}

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
                **self._made_with(),
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


def _map_of(manifest: Manifest) -> str:
    return "" if manifest.projection is None else manifest.projection.version
