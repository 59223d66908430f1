"""How large the same index is on Milvus, by the type of its index. Pure arithmetic.

The formulas are those of the structures: links of a graph, codes of a quantiser. Milvus stores
every text of every series, repeated or not, and the fields that filters ask for with each vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from indexer_core.costs.figures import Figures
from indexer_core.costs.size_figures import values
from indexer_core.costs.sizing import GIB, MONTH_H, Shape

_GB = 1e9
_ID_BYTES = 8
_FP32 = 4
_LINK = 4

MADE = "FLAT"
"""What the collections of this program have: exact, as the first home is."""


def hnsw_links(m: float) -> float:
    """Links a vector on all levels: 2 m at the bottom, and m on each level that it reaches.

    A vector reaches level l with probability m**-l, so 1 / (m - 1) levels are expected.
    """
    return 2 * m + (m / (m - 1) if m > 1 else m)


_Bytes = Callable[[int, Mapping[str, float]], float]

IN_MEMORY: Mapping[str, _Bytes] = {
    "FLAT": lambda d, _: _FP32 * d,
    "HNSW": lambda d, f: _FP32 * d + _LINK * hnsw_links(f["hnswM"]),
    "IVF_SQ8": lambda d, _: d + _ID_BYTES,
    "IVF_RABITQ": lambda d, _: d / 8 + 2 * _FP32 + _ID_BYTES,
    "IVF_RABITQ+SQ8": lambda d, _: d / 8 + 2 * _FP32 + _ID_BYTES + d,
    "DISKANN": lambda d, f: _FP32 * d * f["diskannShare"],
}
"""Bytes of memory that query nodes take for a vector of d values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusSize:
    """Three collections.

    Parameters
    ----------
    vector_bytes
        Of the index, in memory.
    field_bytes
        Of filter fields and records, in memory too unless they are mapped (``mmap.enabled``).
    disk_bytes
        What query nodes keep on their disks: raw vectors and graphs of DISKANN.
    stored_bytes
        In the object storage.
    n_nodes
        Query nodes; without replicas.
    exact_s
        Seconds of an exact search by words, FLAT only; 0 of others, which are not exact.
    usd_a_month
        On Kubernetes: query nodes, nodes for everything else, object storage.
    """

    index: str
    vector_bytes: float
    field_bytes: float
    disk_bytes: float
    stored_bytes: float
    n_nodes: int
    exact_s: float
    usd_a_month: float

    @property
    def memory_bytes(self) -> float:
        """Of all query nodes."""
        return self.vector_bytes + self.field_bytes


def milvus_size(shape: Shape, index: str, figures: Figures) -> MilvusSize:
    """The collections of a shape with one type of index (a key of `IN_MEMORY`)."""
    f = values(figures)
    spaces = ((shape.n_texts, shape.text_dimension), (shape.n_images, shape.image_dimension))
    vectors = sum(n * IN_MEMORY[index](d, f) for n, d in spaces)
    raw = sum(n * d * _FP32 for n, d in spaces)
    n_entities = shape.n_texts + shape.n_images + shape.n_series
    fields = n_entities * f["entityBytes"] + shape.n_series * f["recordBytes"]
    on_disk = 0.0
    if index == "DISKANN":
        on_disk = raw + (shape.n_texts + shape.n_images) * f["diskannDegree"] * _LINK
    stored = (raw + fields) * f["copies"]
    n_nodes = max(1, ceil((vectors + fields) / (f["nodeGib"] * GIB * f["loadShare"])))
    text_raw = shape.n_texts * shape.text_dimension * _FP32
    read_gb_s = n_nodes * f["nodeVcpus"] * f["vcpuGbPerS"] * f["share-milvus"]
    nodes_usd = n_nodes * f["nodeGib"] * f["gibPrice"] + f["coreNodesPrice"]
    return MilvusSize(
        index=index,
        vector_bytes=vectors,
        field_bytes=fields,
        disk_bytes=on_disk,
        stored_bytes=stored,
        n_nodes=n_nodes,
        exact_s=text_raw / (read_gb_s * _GB) if index == "FLAT" else 0.0,
        usd_a_month=nodes_usd * MONTH_H + stored / _GB * f["blobStoragePrice"],
    )


def managed_usd(shape: Shape, figures: Figures) -> dict[str, float]:
    """What a managed Milvus says that a month costs at least, by its kind of unit.

    Its prices are for vectors of 768 values with a primary key alone; filter fields come on top.
    """
    f = values(figures)
    spaces = ((shape.n_texts, shape.text_dimension), (shape.n_images, shape.image_dimension))
    millions = sum(n * d / 768 for n, d in spaces) / 1e6
    return {
        kind: millions * f[name]
        for kind, name in (
            ("performance-optimized", "zillizPerformance"),
            ("capacity-optimized", "zillizCapacity"),
            ("extended-capacity", "zillizExtended"),
        )
    }
