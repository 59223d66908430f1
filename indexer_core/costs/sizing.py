"""How large an index is in its first home, and where one reader of it fits. Pure arithmetic.

An exact search reads every vector of its space once, so it takes as long as that reading takes:
bytes, by the memory's bandwidth, by the share of it that a search reaches. Nothing here is a
promise; `indexer_core.costs.size_figures` says where each number comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from indexer_core.costs.figures import Figures
from indexer_core.costs.size_figures import values

GIB = 2**30
MONTH_H = 730
_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an index holds.

    Parameters
    ----------
    texts, images
        Vectors a series, of `text_dimension` and `image_dimension`.
    distinct
        Share of texts that no other text of their file equals: the others are stored and searched
        once (0.74 of 4,500 made-up series, docs/benchmarks-seed.md; real archives repeat more).
    """

    n_series: int
    texts: int = 5
    text_dimension: int = 512
    images: float = 1.0
    image_dimension: int = 1024
    distinct: float = 0.74

    @property
    def n_texts(self) -> float:
        """Text vectors, repeated ones included."""
        return float(self.n_series * self.texts)

    @property
    def n_images(self) -> float:
        """Image vectors."""
        return self.n_series * self.images


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How a value of a vector is kept.

    Parameters
    ----------
    bits
        Of one value, in what every search reads.
    rescored_bits
        Of one value in the copy, on disk, that the best are scored by again; 0: there is none.
    is_kept
        Whether the first home keeps vectors so; others are computed to compare with.
    """

    name: str
    bits: int
    rescored_bits: int = 0
    is_kept: bool = False


PRECISIONS = (
    Precision(name="fp32", bits=32),
    Precision(name="fp16", bits=16, is_kept=True),
    Precision(name="int8", bits=8),
    Precision(name="1-bit", bits=1, rescored_bits=16),
)
KEPT = next(precision for precision in PRECISIONS if precision.is_kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An index in one precision.

    Parameters
    ----------
    text_bytes, image_bytes
        What a search by words, or by images, reads.
    memory_bytes
        What one reader needs to search both: vectors, and what it keeps of rows.
    disk_bytes
        Files that the newest manifest names: vectors, their copies to score again by, rows, places
        of the map.
    stored_bytes
        The same with what was merged and is kept for a while.
    n_segments, manifest_bytes
        Settled segments, and one manifest that lists them.
    read_s
        Seconds of a pass that only reads the text vectors, on two cores.
    exact_s
        Seconds of an exact search by words, at the share of such a pass that was measured.
    approximate_s
        The same where lists are searched instead.
    """

    precision: Precision
    text_bytes: float
    image_bytes: float
    memory_bytes: float
    disk_bytes: float
    stored_bytes: float
    n_segments: int
    manifest_bytes: float
    read_s: float
    exact_s: float
    approximate_s: float


def size_of(shape: Shape, precision: Precision, figures: Figures) -> Size:
    """The index of a shape in one precision."""
    f = values(figures)
    text_values = shape.n_texts * shape.distinct * shape.text_dimension
    image_values = shape.n_images * shape.image_dimension
    text_bytes, image_bytes = (n * precision.bits / 8 for n in (text_values, image_values))
    copies = (text_values + image_values) * precision.rescored_bits / 8
    rows = shape.n_series * f["segmentRowBytes"] + shape.n_images * f["pointBytes"]
    disk = text_bytes + image_bytes + copies + rows
    n_segments = ceil(disk / f["segmentBytes"])
    read_s = text_bytes / (f["readGbPerS"] * _GB)
    exact_s = read_s / f[f"share-{precision.name}"]
    return Size(
        precision=precision,
        text_bytes=text_bytes,
        image_bytes=image_bytes,
        memory_bytes=text_bytes + image_bytes + shape.n_series * f["readerRowBytes"],
        disk_bytes=disk,
        stored_bytes=disk * f["merging"],
        n_segments=n_segments,
        manifest_bytes=n_segments * f["manifestBytes"],
        read_s=read_s,
        exact_s=exact_s,
        approximate_s=exact_s * f["listShare"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Something that a reader runs on. vcpus: 0 for an instance of the functions."""

    name: str
    gib: float
    vcpus: int
    usd_a_month: float


def machines(figures: Figures) -> tuple[Machine, ...]:
    """What a reader could run on, by memory: an instance of the functions, then VMs."""
    f = values(figures)
    ready = f["functionGib"] * MONTH_H * 3600 * f["alwaysReadyPrice"]
    small = [("E", n, n * 8, f["gibPrice"]) for n in (2, 4, 8, 16, 32, 64)]
    large = [("M", 64, 1_792, f["largeGibPrice"]), ("M", 128, 3_892, f["largeGibPrice"])]
    return (
        Machine(name="functions", gib=f["functionGib"], vcpus=0, usd_a_month=ready),
        *(
            Machine(
                name=f"Standard_{family}{vcpus}{'s_v5' if family == 'E' else 'ms'}",
                gib=gib,
                vcpus=vcpus,
                usd_a_month=gib * price * MONTH_H,
            )
            for family, vcpus, gib, price in (*small, *large)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reader of an index on a machine.

    machine: None where none of them has the memory. The seconds are of that machine.
    usd_a_month: of the machine and of what is stored.
    """

    machine: Machine | None
    exact_s: float
    approximate_s: float
    usd_a_month: float


def reading_of(size: Size, figures: Figures, among: Sequence[Machine] | None = None) -> Reading:
    """The smallest machine that holds an index, and how fast it searches it."""
    f = values(figures)
    stored = size.stored_bytes / _GB * f["blobStoragePrice"]
    fitting = (
        machine
        for machine in (machines(figures) if among is None else among)
        if size.memory_bytes <= machine.gib * GIB * f["memoryShare"]
    )
    machine = next(fitting, None)
    if machine is None:
        return Reading(machine=None, exact_s=0.0, approximate_s=0.0, usd_a_month=stored)
    # Two cores were measured; more of them read more at once, each VM by its number of them.
    faster = max(1.0, machine.vcpus * f["vcpuGbPerS"] / f["readGbPerS"])
    return Reading(
        machine=machine,
        exact_s=size.exact_s / faster,
        approximate_s=size.approximate_s / faster,
        usd_a_month=machine.usd_a_month + stored,
    )
