"""Versions of maps: which one comes next, and which maps were never fitted.

A major version moves everything: a fit, a refit, another encoder of pictures. A minor one leaves
what has a place where it is.
"""

import hashlib
from collections.abc import Iterable

from indexer_core.index.manifest import Manifest, Projection
from indexer_core.projector import bootstrap_projector


def next_major(*versions: str) -> str:
    """The next major version after the newest of some."""
    return f"{max(map(_major, versions)) + 1}.0"


def next_minor(version: str) -> str:
    """The minor version after one."""
    major, _, minor = version.partition(".")
    return f"{major}.{int(minor) + 1}"


def is_placeholder(version: str) -> bool:
    """Whether nothing but the map of a new index has this version."""
    return _major(version) == 0


def is_fitted(manifest: Manifest) -> bool:
    """Whether the map in force was fitted, be what it is carried on from lost or not."""
    projection = manifest.projection
    if projection is None or is_placeholder(projection.version):
        return False
    return projection.state is not None or fixed_file(manifest, projection) is None


def fixed_file(manifest: Manifest, projection: Projection) -> bytes | None:
    """The encoder's file where a map is a fixed one, which needs nothing to be made; else None."""
    for dimension in sorted(_dimensions(manifest)):
        made = bootstrap_projector(dimension, projection.encoder_id, projection.version).to_bytes()
        if hashlib.sha256(made).hexdigest() == projection.file.sha256:
            return made
    return None


def _dimensions(manifest: Manifest) -> Iterable[int]:
    return {space.dimension for space in manifest.spaces}


def _major(version: str) -> int:
    return int(version.partition(".")[0])
