"""A manifest: the full list of what is live at one commit.

Manifests are numbered from 1, created only if absent, and never changed; number N orders all
commits. An expired one is replaced by an empty stub so that its name is never free again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from indexer_core.errors import CorruptIndexError
from indexer_core.sealed import seal, unseal

FORMAT_VERSION = 3
RECENT = 100
"""New points of which a manifest tells what they say of the map, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """One immutable file, named ``<write id>-<sha256>...`` and checksummed singly."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFile:
    """Vectors of one space under one encoder, in row order (`text_count`, `image_count`)."""

    file: FileRef
    space: str
    encoder_id: str
    kind: str
    n_vectors: int
    dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateFile:
    """Map coordinates of one projection version, in image-vector order (`segment.Points`)."""

    file: FileRef
    projection: str
    n_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An immutable set of rows with its vector and coordinate files.

    `level` counts the merges that made it. A later manifest may add a file, none changes one.
    """

    id: str
    rows: FileRef
    n_rows: int
    n_alive: int
    n_points: int
    vectors: tuple[VectorFile, ...] = ()
    coordinates: tuple[CoordinateFile, ...] = ()
    level: int = 0

    def vector_file(self, space: str, encoder_id: str) -> VectorFile | None:
        """The file of this space and encoder, or None."""
        for vectors in self.vectors:
            if (vectors.space, vectors.encoder_id) == (space, encoder_id):
                return vectors
        return None

    def coordinate_file(self, projection: str) -> CoordinateFile | None:
        """The coordinates of this projection version, or None."""
        for coordinates in self.coordinates:
            if coordinates.projection == projection:
                return coordinates
        return None

    def files(self) -> tuple[FileRef, ...]:
        """Every file of the segment."""
        return (
            self.rows,
            *(vectors.file for vectors in self.vectors),
            *(coordinates.file for coordinates in self.coordinates),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A vector space: the encoder that searches use, and one that is being filled beside it."""

    name: str
    live: str
    dimension: int
    building: str | None = None
    building_dimension: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The map encoder in force; it reads vectors of `encoder_id` in the image space.

    Parameters
    ----------
    state
        What it is carried on from (`indexer_core.map_state`); None for one that was never fitted.
    major
        The encoder of the last major version; None where this is one.
    refused
        Why the last attempt to teach it new series was not published; stable codes.
    refused_at
        Number of the manifest that says so; 0: none does.
    n_since
        New points since it was published, or was refused to learn.
    recent
        What the newest of them say, by commit, the newest last: how many, how many of them are
        strangers, and the sum of the shares of neighbours kept, per mille. At least `RECENT` of
        them, where there are so many.
    """

    version: str
    encoder_id: str
    file: FileRef
    state: FileRef | None = None
    major: FileRef | None = None
    refused: tuple[str, ...] = ()
    refused_at: int = 0
    n_since: int = 0
    recent: tuple[tuple[int, int, int], ...] = ()

    def with_news(self, n: int, n_far: int, kept_per_mille: int) -> "Projection":
        """The same after a commit of `n` new points."""
        kept: list[tuple[int, int, int]] = []
        for batch in ((n, n_far, kept_per_mille), *reversed(self.recent)):
            if sum(each[0] for each in kept) >= RECENT:
                break
            kept.append(batch)
        return replace(self, n_since=self.n_since + n, recent=tuple(reversed(kept)))

    def files(self) -> tuple[FileRef, ...]:
        """Every file of the map but coordinates."""
        return tuple(file for file in (self.file, self.state, self.major) if file is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A generation of rules, templates and image recipe; `number` rises with every change."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What made a manifest."""

    reason: str
    software: str
    created_s: float
    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything live at commit `number`; `commit_id` is stable across retries of one commit.

    Parameters
    ----------
    collected_before
        Fence of the collector: files named earlier may be deleted, so none of them may be added
        any more. Of this and the next two: they only rise, and version 1 had none of them.
    forgotten_before
        Fence of dropped tombstones: rows prepared earlier may have been outranked by one of them,
        so none of them may be added any more.
    retained_from
        Manifests of lower numbers, unless they are pinned, have expired or are about to.
    parent_commit
        Commit id of the manifest before, so that one which was made after a lost or foreign one is
        not taken for its successor; "" where that is not known (version 1, a repair).
    """

    number: int
    commit_id: str
    lineage: Lineage
    segments: tuple[Segment, ...] = ()
    spaces: tuple[Space, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    projection: Projection | None = None
    suppressed: frozenset[str] = frozenset()
    pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    collected_before: str = ""
    forgotten_before: str = ""
    retained_from: int = 1
    parent_commit: str = ""

    @property
    def parent(self) -> int:
        """Number of the manifest that this one follows, 0 for the first."""
        return self.number - 1

    def follows(self, other: "Manifest") -> bool:
        """Whether this manifest was made on top of that one, as far as it says so."""
        return self.parent == other.number and self.parent_commit in ("", other.commit_id)

    def space(self, name: str) -> Space | None:
        """The space of this name, or None."""
        return next((space for space in self.spaces if space.name == name), None)

    def segment(self, segment_id: str) -> Segment | None:
        """The live segment of this id, or None."""
        return next((segment for segment in self.segments if segment.id == segment_id), None)

    def is_retained(self, number: int) -> bool:
        """Whether this manifest says that manifest `number` is kept."""
        return number >= self.retained_from or number in self.pins

    def files(self) -> tuple[FileRef, ...]:
        """Every file that this manifest names."""
        own = tuple(file for segment in self.segments for file in segment.files())
        return own if self.projection is None else (*own, *self.projection.files())


EMPTY = Manifest(
    number=0, commit_id="", lineage=Lineage(reason="empty", software="", created_s=0.0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """What is left of an expired manifest: its name stays taken."""

    number: int


def dump_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON with ``format_version`` and a checksum over everything else."""
    body = _plain(manifest)
    body["suppressed"] = sorted(manifest.suppressed)
    body["pins"] = {str(number): list(names) for number, names in sorted(manifest.pins.items())}
    body["format_version"] = FORMAT_VERSION
    return seal(body)


def _plain(value: Any) -> Any:
    """As `dataclasses.asdict`, which copies whatever it finds and takes ten times as long."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return dict(value) if isinstance(value, Mapping) else value


def dump_stub(number: int) -> bytes:
    """The stub that replaces an expired manifest."""
    return seal({"format_version": FORMAT_VERSION, "stub": True, "number": number})


def parse_manifest(data: bytes, name: str) -> Manifest | Stub:
    """Read a manifest or stub.

    Raises
    ------
    CorruptIndexError
        The checksum does not fit, or the format is newer than this software.
    """
    body = unseal(data, name, FORMAT_VERSION)
    try:
        return Stub(number=int(body["number"])) if body.get("stub") else _manifest(body)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(f"{name}: not a manifest ({type(error).__name__})") from error


def _manifest(body: dict[str, Any]) -> Manifest:
    projection = body["projection"]
    return Manifest(
        number=int(body["number"]),
        commit_id=str(body["commit_id"]),
        lineage=Lineage(**body["lineage"]),
        segments=tuple(_segment(segment) for segment in body["segments"]),
        spaces=tuple(Space(**space) for space in body["spaces"]),
        recipes=tuple(Recipe(**recipe) for recipe in body["recipes"]),
        projection=None if projection is None else _projection(projection),
        suppressed=frozenset(body["suppressed"]),
        pins={int(number): tuple(names) for number, names in body["pins"].items()},
        collected_before=str(body.get("collected_before", "")),
        forgotten_before=str(body.get("forgotten_before", "")),
        retained_from=int(body.get("retained_from", 1)),
        parent_commit=str(body.get("parent_commit", "")),
    )


def _projection(body: dict[str, Any]) -> Projection:
    """Versions before 3 had neither `state` nor what follows it."""
    state, major = body.get("state"), body.get("major")
    return Projection(
        version=body["version"],
        encoder_id=body["encoder_id"],
        file=FileRef(**body["file"]),
        state=None if state is None else FileRef(**state),
        major=None if major is None else FileRef(**major),
        refused=tuple(body.get("refused", ())),
        refused_at=int(body.get("refused_at", 0)),
        n_since=int(body.get("n_since", 0)),
        recent=tuple((int(n), int(far), int(kept)) for n, far, kept in body.get("recent", ())),
    )


def _segment(body: dict[str, Any]) -> Segment:
    return Segment(
        id=body["id"],
        rows=FileRef(**body["rows"]),
        n_rows=body["n_rows"],
        n_alive=body["n_alive"],
        n_points=body["n_points"],
        vectors=tuple(
            VectorFile(**{**vectors, "file": FileRef(**vectors["file"])})
            for vectors in body["vectors"]
        ),
        coordinates=tuple(
            CoordinateFile(**{**coordinates, "file": FileRef(**coordinates["file"])})
            for coordinates in body["coordinates"]
        ),
        level=body["level"],
    )
