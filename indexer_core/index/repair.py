"""Mending an index: files made again where something is left to make them from, else taken out.

What is found must stay right all the time. So whatever takes rows out hides, in the same commit,
the older rows that would come to light: a deleted series stays deleted, a changed one is away until
it is indexed again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from indexer_core.encoders import FindEncoder
from indexer_core.errors import ConflictError
from indexer_core.index.aside import Aside, put_back
from indexer_core.index.commit import Committed, Manifests, commit, manifest_name
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import (
    Manifest,
    Segment,
    VectorFile,
    dump_manifest,
    parse_manifest,
)
from indexer_core.index.map_versions import fixed_file, is_fitted
from indexer_core.index.mending import NO_CONTENT, Made, Mender, no_vectors
from indexer_core.index.outcomes import with_segments
from indexer_core.index.reader import Reader
from indexer_core.index.remerging import inputs_of, merged_again
from indexer_core.index.repair_manifests import mend_manifests
from indexer_core.index.repair_report import RepairReport
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, SegmentWriter
from indexer_core.index.survey import FileKind, survey_file, survey_manifests
from indexer_core.index.updates import (
    MendMapState,
    MendSegment,
    MergeSegments,
    Unpin,
    Update,
)
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles

_AGAIN = (
    "these series are indexed again from their files; those whose files are gone are lost, "
    "and rejects names what cannot be read"
)

_NO_MORE = "they named files that are lost, so nobody can search at them any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRepair:
    """A repair of what the manifests name.

    Parameters
    ----------
    find_encoder
        Finds text encoders.
    announced
        By series, the digest of the content that its instance rows announced last.
    """

    blobs: BlobStore
    vector_files: VectorFiles
    clock: Clock
    ids: Ids
    find_encoder: FindEncoder
    announced: Mapping[str, str]
    aside: Aside
    report: RepairReport

    def run(self) -> None:
        """Mend; killed at any point, the next run carries on.

        Raises
        ------
        CorruptIndexError
            Something is of a newer format, or contradicts itself: nothing was changed.
        ConflictError
            Others kept committing.
        """
        mend_manifests(self.blobs, self.clock, self.ids, self.announced, self.aside, self.report)
        self._mend_projector(Manifests(self.blobs).newest())
        self._tell_of_map_state(Manifests(self.blobs).newest())
        self._merge_again(Manifests(self.blobs).newest())
        self._mend_segments(Manifests(self.blobs).newest())
        self._mend_past(Manifests(self.blobs).newest())

    def _damaged(self, *also: FileKind) -> frozenset[str]:
        """Names of the damaged files of segments that retained manifests name."""
        files = survey_manifests(self.blobs).files()
        found = (
            survey_file(self.blobs, kind, file)
            for kind, file in files.values()
            if kind in also or kind not in (FileKind.PROJECTOR, FileKind.MAP_STATE)
        )
        return frozenset(damage.name for damage in found if damage is not None)

    def _mend_projector(self, newest: Manifest) -> None:
        projection = newest.projection
        if projection is None:
            return
        name = projection.file.name
        if survey_file(self.blobs, FileKind.PROJECTOR, projection.file) is None:
            return
        made = fixed_file(newest, projection)
        if made is not None:
            put_back(self.blobs, name, made)
            self.report.restored.append(f"{name}: made again, bit by bit")
            return
        self.report.lose(
            f"{name}: the map encoder {projection.version}",
            "put the file back from a backup or publish another map; until then no series with "
            "pixels can be indexed; searches are not concerned",
        )

    def _tell_of_map_state(self, newest: Manifest) -> None:
        projection = newest.projection
        if projection is None or projection.state is None:
            return
        if survey_file(self.blobs, FileKind.MAP_STATE, projection.state) is None:
            return
        lineage = made_now("repair", self.clock.now_s())
        update = MendMapState(before=projection.state, after=None)
        commit_id = self.ids.new_id()
        commit(Manifests(self.blobs), update, commit_id=commit_id, lineage=lineage)
        self.report.lose(
            f"{projection.state.name}: what map {projection.version} is carried on from",
            "fit the map again (dicom-indexer map refit); until then strangers on it are not told "
            "from others and it learns nothing; series are indexed, placed and found as before",
        )

    def _merge_again(self, newest: Manifest) -> None:
        """Segments of which something is lost that their inputs still have."""
        damaged = self._damaged()
        retained = survey_manifests(self.blobs).retained
        for segment in newest.segments:
            image = segment.vector_file(IMAGE_SPACE, _live(newest, IMAGE_SPACE))
            names = {segment.rows.name, image.file.name if image else ""}
            if names.isdisjoint(damaged):
                continue
            inputs = inputs_of(segment, retained)
            update = merged_again(
                self.blobs, self.vector_files, self.ids, newest, segment, inputs, damaged
            )
            if update is not None and self._is_committed(update):
                self.report.restored.append(
                    f"segment {segment.id}: merged again from {len(inputs)} earlier ones"
                )

    def _mend_segments(self, newest: Manifest) -> None:
        damaged = self._damaged()
        if not damaged:
            return
        mender = Mender(self.blobs, self.vector_files, self.ids, self.find_encoder)
        rowless = [s for s in newest.segments if s.rows.name in damaged]
        legible = tuple(s for s in newest.segments if s not in rowless)
        reader = Reader(self.blobs, self.vector_files)
        reader.adopt(replace(newest, segments=legible))
        for segment in legible:
            names = damaged & {file.name for file in segment.files()}
            if names:
                self._mend(mender, reader, segment, names)
        if rowless:
            self._take_out(reader, newest, rowless)
        mender.sweep(Manifests(self.blobs).newest())

    def _mend(
        self, mender: Mender, reader: Reader, segment: Segment, names: frozenset[str]
    ) -> None:
        """Mend a segment whose rows are intact."""
        newest = reader.snapshot.manifest
        made = mender.remake(newest, segment, names)
        back = mender.put_back(segment, made)
        self.report.restored += [f"{name}: made again, bit by bit" for name in sorted(back)]
        names -= back
        needed = set(_needed(newest, segment))
        failed = {name: why for name, why in made.failed.items() if name in needed}
        image = segment.vector_file(IMAGE_SPACE, _live(newest, IMAGE_SPACE))
        text = segment.vector_file(TEXT_SPACE, _live(newest, TEXT_SPACE))
        if image and text and image.file.name in failed and text.file.name not in failed:
            self._give_up_images(mender, reader, segment, made)
        elif failed:
            for name, why in failed.items():
                self.report.lose(name, f"it was left as it is, since {why}")
        elif names:
            self._exchange(segment, made, names)

    def _exchange(self, segment: Segment, made: Made, names: frozenset[str]) -> None:
        vectors = {name: v for name, v in made.vectors.items() if name in names}
        points = {name: c for name, c in made.coordinates.items() if name in names}
        self._commit(
            MendSegment(
                segment_id=segment.id,
                damaged=names,
                vectors=tuple(vectors.values()),
                coordinates=tuple(points.values()),
            )
        )
        for name in sorted(names):
            how = "made again" if name in vectors or name in points else "taken out, not needed"
            self.report.restored.append(f"{name}: {how}")
        newest = Manifests(self.blobs).newest()
        if points and newest.projection and not newest.projection.state and is_fitted(newest):
            self.report.lose(
                f"which places of segment {segment.id} were provisional",
                "what strangers are told by is lost, too, so they lie where the map's encoder puts "
                "them: fit the map again (dicom-indexer map refit)",
            )

    def _give_up_images(self, mender: Mender, reader: Reader, segment: Segment, made: Made) -> None:
        """Keep a segment searchable by its texts; its series with pixels are indexed again."""
        bad = made.failed.keys() | made.vectors.keys()
        intact = tuple(v for v in segment.vectors if v.file.name not in bad)
        whole = replace(segment, vectors=(*intact, *made.vectors.values()))
        bare = mender.without_images(whole, reader.snapshot.manifest)
        self._commit(MergeSegments(inputs=(segment.id,), output=bare))
        n_found = n_found_by_image(reader, segment.id)
        self.report.lose(
            f"the image vectors and map coordinates of {n_found} series (segment {segment.id})",
            f"found by their texts meanwhile, {_AGAIN}",
        )

    def _take_out(self, reader: Reader, newest: Manifest, gone: Sequence[Segment]) -> None:
        """Take segments out whose rows are lost, and hide what they outranked."""
        ids = {segment.id for segment in gone}
        write_id = self.ids.new_id()
        masks = sorted(self._masks(reader, newest, write_id), key=lambda row: row.series_key)
        output = None
        if masks:
            none = [vectors for space in newest.spaces for vectors in no_vectors(space)]
            output = SegmentWriter(self.blobs, self.vector_files).write(write_id, masks, none)
        self._commit(MergeSegments(inputs=tuple(ids), output=output))
        for segment in gone:
            self.report.lose(f"the {segment.n_rows} rows of segment {segment.id}", _AGAIN)
        if masks:
            self.report.restored.append(f"{len(masks)} outdated series are hidden meanwhile")

    def _masks(self, reader: Reader, newest: Manifest, write_id: str) -> Iterator[IndexRow]:
        """Tombstones for live rows of another content than the one that was announced last."""
        recipe = max((recipe.number for recipe in newest.recipes), default=0)
        for key, place in reader.winners():
            announced = self.announced.get(key)
            if not place.alive or not announced:
                continue
            row = reader.row(place)
            if row.digest != announced:
                yield IndexRow(
                    series_key=key,
                    revision=row.revision,
                    recipe=max(recipe, row.recipe),
                    write_id=write_id,
                    digest=NO_CONTENT,
                    alive=False,
                )

    def _mend_past(self, newest: Manifest) -> None:
        """Earlier manifests: with the files that were made again, else nobody can search at them.

        A retained manifest is rewritten here and by a purge, and never else.
        """
        damaged = self._damaged(FileKind.MAP_STATE) - {file.name for file in newest.files()}
        given_up = []
        for number, manifest in survey_manifests(self.blobs).retained.items():
            if number == newest.number or damaged.isdisjoint(f.name for f in manifest.files()):
                continue
            mended = with_remade(manifest, newest, damaged)
            if damaged.isdisjoint(file.name for file in mended.files()):
                self._rewrite(mended)
                continue
            for name in newest.pins.get(number, ()):
                self._commit(Unpin(number=number, name=name))
                self.report.lose(f"the pin {name} of manifest {number}", _NO_MORE)
            Manifests(self.blobs).expire(number)
            given_up.append(number)
        if given_up:
            self.report.lose(f"{len(given_up)} earlier manifests, up to {given_up[-1]}", _NO_MORE)
        for name in sorted(damaged):
            self.aside.move(name)

    def _rewrite(self, manifest: Manifest) -> None:
        """Replace an earlier manifest, unless it has expired meanwhile."""
        name = manifest_name(manifest.number)
        found = self.blobs.get(name)
        if found is not None and isinstance(parse_manifest(found.data, name), Manifest):
            self.blobs.put_if_match(name, dump_manifest(manifest), found.etag)

    def _commit(self, update: Update) -> None:
        if not self._is_committed(update):
            raise ConflictError("others changed what was being mended: repair again")

    def _is_committed(self, update: Update) -> bool:
        outcome = commit(
            Manifests(self.blobs),
            update,
            commit_id=self.ids.new_id(),
            lineage=made_now("repair", self.clock.now_s()),
        )
        return isinstance(outcome, Committed)


def _live(manifest: Manifest, name: str) -> str:
    space = manifest.space(name)
    return "" if space is None else space.live


def _needed(manifest: Manifest, segment: Segment) -> Iterator[str]:
    """Names of the files of a segment without which the manifest could not be read."""
    for space in manifest.spaces:
        vectors: VectorFile | None = segment.vector_file(space.name, space.live)
        if vectors is not None:
            yield vectors.file.name
    points = manifest.projection and segment.coordinate_file(manifest.projection.version)
    if points:
        yield points.file.name


def with_remade(manifest: Manifest, newest: Manifest, damaged: frozenset[str]) -> Manifest:
    """An earlier manifest with what the newest one has in place of damaged files.

    The state of a map has nothing in its place: nobody carries an earlier map on.
    """
    changed = {}
    projection = manifest.projection
    if projection is not None and projection.state and projection.state.name in damaged:
        manifest = replace(manifest, projection=replace(projection, state=None))
    for segment in manifest.segments:
        now = newest.segment(segment.id)
        if now is not None:
            changed[segment.id] = replace(
                segment,
                vectors=tuple(
                    v if v.file.name not in damaged else now.vector_file(v.space, v.encoder_id) or v
                    for v in segment.vectors
                ),
                coordinates=tuple(
                    c if c.file.name not in damaged else now.coordinate_file(c.projection) or c
                    for c in segment.coordinates
                ),
            )
    return with_segments(manifest, changed)


def n_found_by_image(reader: Reader, segment_id: str) -> int:
    """Number of series whose rows with an image vector in a segment are those in force."""
    (live,) = (s for s in reader.snapshot.segments if s.loaded.segment.id == segment_id)
    return int((live.live & (live.loaded.counts(IMAGE_SPACE) > 0)).sum())
