"""Manifests without files behind them, for what is decided by them alone."""

from indexer_core.index.manifest import CoordinateFile, FileRef, Manifest, Segment, VectorFile
from indexer_core.index.updates import Applied, apply_update
from tests.support.segments import IMAGE, TEXT


def file(name: str) -> FileRef:
    return FileRef(name=name, sha256="0" * 64, size_bytes=1)


def vectors(space: str, encoder: str, dimension: int = 8) -> VectorFile:
    return VectorFile(
        file=file(f"{space}-{encoder}"),
        space=space,
        encoder_id=encoder,
        kind="flat",
        n_vectors=5,
        dimension=dimension,
    )


def coordinates(version: str) -> CoordinateFile:
    return CoordinateFile(file=file(f"xy-{version}"), projection=version, n_points=1)


def segment(name: str) -> Segment:
    return Segment(
        id=name,
        rows=file(f"{name}.rows"),
        n_rows=1,
        n_alive=1,
        n_points=1,
        vectors=(vectors("text", TEXT), vectors("image", IMAGE)),
        coordinates=(coordinates("0.1"),),
    )


def applied(manifest: Manifest, update: object) -> Manifest:
    outcome = apply_update(manifest, update)
    assert isinstance(outcome, Applied), outcome
    return outcome.manifest
