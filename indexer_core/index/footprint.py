"""How much memory searching an index takes, told from its manifest before any file is opened."""

from collections.abc import Collection
from dataclasses import dataclass

from indexer_core.errors import UnavailableError
from indexer_core.index.manifest import Manifest

# Masks, starts of vectors, hashes of keys, and the columns of a few filters (measured: ADR 0016).
ROW_BYTES = 64
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of memory for vectors that every search reads, and for rows."""

    vector_bytes: int
    row_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of both."""
        return self.vector_bytes + self.row_bytes


def footprint(manifest: Manifest, spaces: Collection[str], *, in_memory: bool) -> Footprint:
    """What searching these spaces takes.

    Parameters
    ----------
    in_memory
        Whether files are held in memory; rows of mapped ones stay on the disk until they are shown.
    """
    live = {space.name: space.live for space in manifest.spaces if space.name in spaces}
    vector_bytes = sum(
        vectors.file.size_bytes
        for segment in manifest.segments
        for vectors in segment.vectors
        if live.get(vectors.space) == vectors.encoder_id
    )
    row_bytes = sum(
        segment.n_rows * ROW_BYTES + (segment.rows.size_bytes if in_memory else 0)
        for segment in manifest.segments
    )
    return Footprint(vector_bytes=vector_bytes, row_bytes=row_bytes)


def check_fits(
    manifest: Manifest, spaces: Collection[str], limit_bytes: int, *, in_memory: bool
) -> None:
    """Make sure that an index may be opened.

    Raises
    ------
    UnavailableError
        It takes more than `limit_bytes`.
    """
    needed = footprint(manifest, spaces, in_memory=in_memory).total_bytes
    if needed > limit_bytes:
        raise UnavailableError(
            f"the index takes {needed / _GIB:.2f} GiB of memory to search and "
            f"{limit_bytes / _GIB:.2f} GiB are allowed: give this program more memory, or raise "
            "its limit (DICOM_INDEXER_MEMORY_MB, on Azure INDEXER_MEMORY_MB)"
        )
