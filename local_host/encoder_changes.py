"""What it takes to change the encoder of a space, text or image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_host.encoder_sources import newest

if TYPE_CHECKING:
    from indexer_core.index.filling import VectorsOf
    from indexer_core.index.manifest import Manifest
    from indexer_core.index.switching import Progress, SpaceSwitch
    from indexer_core.ports import ImageEncoder, TextEncoder
    from indexer_core.projector import Projector
    from local_host.wiring import LocalSystem

_SERIES_PER_PART = 128
"""A series takes seconds where there is no GPU; what a kill may cost is minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An encoder that is to take the place of the live one of a space.

    stage: what its progress is called. projector: the map that comes with it, where the map in
    force reads the encoder that goes. n_unseen: series that got no vector, having no pixels now.
    announce: tells the world of that map.
    """

    space: str
    encoder_id: str
    dimension: int
    stage: str
    vectors_of: "VectorsOf"
    switcher: "SpaceSwitch"
    projector: "Projector | None" = None
    n_unseen: Callable[[], int] = lambda: 0
    announce: "Callable[[Manifest], None]" = lambda _: None

    def start(self) -> None:
        """Begin to build it; nothing happens where that was done before."""
        self.switcher.start(self.space, self.encoder_id, self.dimension)

    def fill(self, progress: "Progress") -> "Manifest":
        """Make the vectors that are missing."""
        return self.switcher.fill(self.space, self.encoder_id, self.vectors_of, progress=progress)

    def switch(self, progress: "Progress") -> "Manifest":
        """Put it in force, filling what is still missing."""
        after = self.switcher.switch(
            self.space,
            self.encoder_id,
            self.vectors_of,
            projector=self.projector,
            progress=progress,
        )
        self.announce(after)
        return after


def change_of_texts(encoder: "TextEncoder", system: "LocalSystem") -> Change:
    """To another text encoder; each distinct text is embedded once."""
    from indexer_core.index.filling import DEFAULT_PART_VECTORS, text_vectors
    from indexer_core.index.segment import TEXT_SPACE
    from indexer_core.indexing import cached

    encoder = system.as_worker(encoder)
    return Change(
        space=TEXT_SPACE,
        encoder_id=encoder.encoder_id,
        dimension=encoder.dimension,
        stage="embedding",
        vectors_of=text_vectors(
            cached(encoder, system.stores),
            uncached=encoder,
            hidden=lambda: newest(system).suppressed,
        ),
        switcher=_switcher(system, DEFAULT_PART_VECTORS),
    )


def change_of_images(encoder: "ImageEncoder", system: "LocalSystem") -> Change:
    """To another image encoder: the slices of every series are fetched and seen again."""
    from gpu_worker.seeing_again import SeenAgain, slices_by
    from indexer_core.index.segment import IMAGE_SPACE

    worker = system.worker
    again = SeenAgain(encoder, slices_by(worker, encoder.recipe), worker.threads)
    return Change(
        space=IMAGE_SPACE,
        encoder_id=encoder.encoder_id,
        dimension=encoder.dimension,
        stage="seeing",
        vectors_of=again,
        n_unseen=lambda: again.n_unseen,
        switcher=_switcher(system, _SERIES_PER_PART),
        projector=_provisional_map(encoder, newest(system)),
        announce=system.index_map().announce,
    )


def _provisional_map(encoder: "ImageEncoder", manifest: "Manifest") -> "Projector":
    """A map for the new vectors until one is fitted, under a version that was never used.

    A major one: everything moves.
    """
    from indexer_core.index.map_versions import next_major
    from indexer_core.projector import BOOTSTRAP_VERSION, bootstrap_projector

    used = {file.projection for segment in manifest.segments for file in segment.coordinates}
    in_force = manifest.projection.version if manifest.projection else BOOTSTRAP_VERSION
    version = next_major(*used, in_force)
    return bootstrap_projector(encoder.dimension, encoder.encoder_id, version)


def _switcher(system: "LocalSystem", part_vectors: int) -> "SpaceSwitch":
    from indexer_core.index.switching import SpaceSwitch

    return SpaceSwitch(
        blobs=system.index,
        vector_files=system.vector_files,
        clock=system.clock,
        ids=system.ids,
        part_vectors=part_vectors,
    )


def abandon(system: "LocalSystem", space: str, encoder_id: str) -> None:
    """Give the build of an encoder up."""
    from indexer_core.index.filling import DEFAULT_PART_VECTORS

    _switcher(system, DEFAULT_PART_VECTORS).abandon(space, encoder_id)


def changes_building(system: "LocalSystem", spaces: Sequence[str]) -> list[Change]:
    """Those that are under way in some spaces.

    Raises
    ------
    NotFoundError
        An encoder that is being built is not here.
    """
    from indexer_core.index.segment import TEXT_SPACE

    found = []
    for space in newest(system).spaces:
        if space.building is None or space.name not in spaces:
            continue
        if space.name == TEXT_SPACE:
            found.append(change_of_texts(system.encoders.needed(space.building), system))
        else:
            found.append(change_of_images(system.encoders.needed_image(space.building), system))
    return found
