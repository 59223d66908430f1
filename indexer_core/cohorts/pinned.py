"""The pins that saved cohorts hold; needs nothing that knows filters, so that `status` is quick."""

from collections.abc import Iterator

from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import COHORTS


def pin_name(name: str, version: int) -> str:
    """The pin that it holds; `search --at` knows it."""
    return f"{COHORTS}{name}:{version}"


def pinned_cohorts(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Names of the saved cohorts with their versions, as the pins of the newest manifest tell."""
    found: dict[str, list[int]] = {}
    for _, name, version in pins_of(manifest):
        found.setdefault(name, []).append(version)
    return {name: tuple(sorted(set(versions))) for name, versions in sorted(found.items())}


def pins_of(manifest: Manifest) -> Iterator[tuple[int, str, int]]:
    """Manifest, name and version of every pin that is a cohort's."""
    for number, names in manifest.pins.items():
        for pin in names:
            if pin.startswith(COHORTS):
                name, _, version = pin.removeprefix(COHORTS).rpartition(":")
                if name and version.isdigit():
                    yield number, name, int(version)
