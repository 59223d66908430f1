"""The command `size`: how large an index gets, where it fits, and when to go to Milvus."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from indexer_core.costs.advice import advise
from indexer_core.costs.figures import AS_OF, Figures
from indexer_core.costs.milvus_sizing import IN_MEMORY, MilvusSize, managed_usd, milvus_size
from indexer_core.costs.size_figures import size_figures
from indexer_core.costs.sizing import PRECISIONS, Reading, Shape, Size, reading_of, size_of
from local_host import output
from local_host.settings import Settings

_RIGHT = ("memory GB", "disk GB", "segments", "manifest kB", "exact s", "lists s", "USD a month")
_MILVUS_RIGHT = ("vectors GB", "fields GB", "disk GB", "stored GB", "nodes", *_RIGHT[4:])


def run_size(options: argparse.Namespace, settings: Settings) -> int:
    """Print sizes in both homes, what they cost, and which home the numbers speak for."""
    del settings
    figures = size_figures(options.set)
    shapes = [_shape(options, n_series) for n_series in options.series]
    if options.format == "json":
        sizes = [_as_json(shape, options.within, figures) for shape in shapes]
        said = [asdict(figure) for figure in figures.values()]
        print(json.dumps({"asOf": AS_OF, "sizes": sizes, "figures": said}, indent=2))
        return 0
    for shape in shapes:
        _print_shape(shape, options.within, figures)
    _print_figures(figures)
    return 0


def _shape(options: argparse.Namespace, n_series: int) -> Shape:
    return Shape(
        n_series=n_series,
        texts=options.texts,
        text_dimension=options.text_dimension,
        images=options.images,
        image_dimension=options.image_dimension,
        distinct=options.distinct,
    )


def _print_shape(shape: Shape, within_s: float, figures: Figures) -> None:
    advice = advise(shape, within_s, figures)
    texts = f"{shape.n_texts:,.0f} texts of {shape.text_dimension}"
    images = f"{shape.n_images:,.0f} images of {shape.image_dimension}"
    print(f"{shape.n_series:,} series: {texts}, {images}")
    sizes = [size_of(shape, precision, figures) for precision in PRECISIONS]
    rows = [_row(size, reading_of(size, figures)) for size in sizes]
    output.print_table(rows, right=list(_RIGHT))
    print()
    collections = [milvus_size(shape, index, figures) for index in IN_MEMORY]
    output.print_table([_milvus_row(each) for each in collections], right=list(_MILVUS_RIGHT))
    managed = ", ".join(f"{usd:,.0f} {kind}" for kind, usd in managed_usd(shape, figures).items())
    print(f"  managed, USD a month from: {managed}")
    print(f"for answers within {within_s:g} s: {advice.home}; {advice.reason}\n")


def _row(size: Size, reading: Reading) -> dict[str, str]:
    fits = reading.machine
    kept = size.precision.is_kept
    return {
        "  one reader": f"  {size.precision.name}{' (kept)' if kept else ''}",
        "memory GB": _gb(size.memory_bytes),
        "disk GB": _gb(size.disk_bytes),
        "segments": f"{size.n_segments:,}",
        "manifest kB": f"{size.manifest_bytes / 1e3:,.0f}",
        "fits": "-" if fits is None else fits.name,
        "exact s": "-" if fits is None else f"{reading.exact_s:.2f}",
        "lists s": "-" if fits is None or not kept else f"{reading.approximate_s:.2f}",
        "USD a month": "-" if fits is None else f"{reading.usd_a_month:,.0f}",
    }


def _milvus_row(size: MilvusSize) -> dict[str, str]:
    return {
        "  on Milvus": f"  {size.index}",
        "vectors GB": _gb(size.vector_bytes),
        "fields GB": _gb(size.field_bytes),
        "disk GB": _gb(size.disk_bytes),
        "stored GB": _gb(size.stored_bytes),
        "nodes": f"{size.n_nodes:,}",
        "exact s": f"{size.exact_s:.2f}" if size.exact_s else "-",
        "USD a month": f"{size.usd_a_month:,.0f}",
    }


def _print_figures(figures: Figures) -> None:
    print(f"what is assumed, {AS_OF} (--set NAME=VALUE replaces any)")
    rows = [
        {
            "  name": f"  {figure.name}",
            "value": f"{figure.value:.10g}",
            "unit": figure.unit,
            "from": figure.source,
        }
        for figure in figures.values()
    ]
    output.print_table(rows, right=["value"])


def _as_json(shape: Shape, within_s: float, figures: Figures) -> dict[str, Any]:
    sizes = [size_of(shape, precision, figures) for precision in PRECISIONS]
    return {
        "shape": asdict(shape),
        "withinSeconds": within_s,
        "reader": [{**asdict(s), "reading": asdict(reading_of(s, figures))} for s in sizes],
        "milvus": [asdict(milvus_size(shape, index, figures)) for index in IN_MEMORY],
        "managedUsd": managed_usd(shape, figures),
        "advice": asdict(advise(shape, within_s, figures)),
    }


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f}"
