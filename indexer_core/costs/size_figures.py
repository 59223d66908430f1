"""The numbers that sizes are computed from, beside the prices of `indexer_core.costs.figures`.

Each says whether it was measured here, is quoted, or is an assumption. Any can be replaced
(``--set NAME=VALUE``).
"""

from collections.abc import Sequence

from indexer_core.costs.figures import AS_OF, PRICES, Figure, Figures, figure, with_changes

_INDEX = "docs/benchmarks-index.md"
_FACT = "measured on 495,000 vectors of 512, 2 cores; docs/scale.md"
_GUESS = "an assumption: set your own"
_KNOWN = f"commonly known list price, {AS_OF}, not looked up"
_ZILLIZ = "quoted: docs.zilliz.com/docs/choose-the-right-cu-type-and-size, from"
_LIMITS = "quoted: milvus.io/docs/limitations.md"

FIRST_HOME = (
    figure(
        "segmentRowBytes", 780, "file bytes a series", "measured: 20,000 made-up series in one file"
    ),
    figure("pointBytes", 8, "file bytes an image", "measured: x and y in float32"),
    figure("readerRowBytes", 64, "bytes of memory a series", "indexer_core/index/footprint.py"),
    figure(
        "segmentBytes", 108.5e6, "bytes", "simulated: largest that commits of 32 series merge to"
    ),
    figure("manifestBytes", 1_305, "manifest bytes a segment", "measured: dump_manifest"),
    figure("merging", 2, "times stored", "what was merged stays for the retention time"),
    figure("readGbPerS", 13.1, "GB a second", f"measured: a pass that only reads; {_INDEX}"),
    figure("vcpuGbPerS", 3.0, "GB a second and vCPU of a VM", _GUESS),
    figure("share-fp32", 0.40, "of that pass", f"FAISS Flat; {_FACT}"),
    figure("share-fp16", 0.80, "of that pass", f"this index; {_INDEX}"),
    figure("share-int8", 0.22, "of that pass", f"FAISS SQ8: decoding is what takes time; {_FACT}"),
    figure("share-1-bit", 0.07, "of that pass", "RaBitQFastScan, 500 rescored; 200,000 vectors"),
    figure("listShare", 0.11, "of an exact search's time", f"at recall@10 of 0.99; {_INDEX}"),
    figure("memoryShare", 0.75, "of an instance's memory", "what a reader takes at most"),
    figure("functionGib", 4, "GiB", "the largest instance of Flex Consumption"),
)

MILVUS = (
    figure("entityBytes", 520, "bytes an entity", "measured: its filter fields, values alone"),
    figure("recordBytes", 1_700, "bytes a series", "measured: its row, and values as written"),
    figure("hnswM", 16, "links a node and level", _GUESS),
    figure("diskannShare", 0.225, "of raw vectors in memory", "PQ budget 0.125, search cache 0.1"),
    figure("diskannDegree", 56, "links a node", "quoted: milvus.io/docs/disk_index.md"),
    figure("loadShare", 0.90, "of query nodes' memory", f"{_LIMITS}: more is not loaded"),
    figure("nodeGib", 128, "GiB a query node", "Standard_E16s_v5"),
    figure("nodeVcpus", 16, "vCPUs a query node", "Standard_E16s_v5"),
    figure("share-milvus", 0.40, "of a reading pass", "as FAISS Flat, which its FLAT is built on"),
    figure("copies", 2, "times stored", "log and index files until they are compacted"),
)

SIZE_PRICES = (
    figure("gibPrice", 0.007875, "USD a GiB and hour of a VM", f"Standard_E; {_KNOWN}"),
    figure("largeGibPrice", 0.00577, "USD a GiB and hour of a VM", f"Standard_M; {_KNOWN}"),
    figure("coreNodesPrice", 1.152, "USD an hour", f"three Standard_D8s_v5; {_KNOWN}"),
    figure("zillizPerformance", 65, "USD a million vectors of 768 and month", _ZILLIZ),
    figure("zillizCapacity", 20, "USD a million vectors of 768 and month", _ZILLIZ),
    figure("zillizExtended", 10, "USD a million vectors of 768 and month", _ZILLIZ),
)

_SHARED = ("blobStoragePrice", "alwaysReadyPrice")


def size_figures(changes: Sequence[str] = ()) -> dict[str, Figure]:
    """All of them by name, with changes (``NAME=VALUE``).

    Raises
    ------
    InvalidInputError
        There is no such figure, or its value is no number that it can have.
    """
    shared = tuple(price for price in PRICES if price.name in _SHARED)
    return with_changes((*FIRST_HOME, *MILVUS, *SIZE_PRICES, *shared), changes)


def values(figures: Figures) -> dict[str, float]:
    """Their values by name."""
    return {name: each.value for name, each in figures.items()}
