"""A map as a picture: a point for each series, coloured by body region, shaped by modality."""

from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np

from indexer_core.errors import InvalidInputError
from indexer_core.map_points import MapPoints

_COLOURS = {
    "head": "#1f77b4",
    "neck": "#17becf",
    "chest": "#d62728",
    "breast": "#e377c2",
    "heart": "#8c1515",
    "abdomen": "#2ca02c",
    "pelvis": "#98a72a",
    "spine": "#9467bd",
    "upper extremity": "#ff7f0e",
    "lower extremity": "#c8902a",
    "whole body": "#8c564b",
    "other": "#7f7f7f",
    "unknown": "#bbbbbb",
}
_SHAPES = "osD^vP*XhpdH<>8"
_N_SHAPES = 9
_INCHES, _DPI = (10.0, 7.5), 130


def draw_png(drawn: MapPoints, title: str) -> bytes:
    """A PNG of the map.

    Raises
    ------
    InvalidInputError
        The plotting library is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError("a picture needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, drawn)
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(handles=_legend(drawn), loc="outside right upper", frameon=False, fontsize=8)
    data = BytesIO()
    figure.savefig(data, format="png", metadata={"Software": "dicom-indexer"})
    return data.getvalue()


def draw(
    axes: Any, drawn: MapPoints, *, box: tuple[float, float, float, float] | None = None
) -> None:
    """The points on axes that have no ticks: directions and distances of a map mean nothing."""
    modalities, regions = np.array(drawn.modalities), np.array(drawn.regions)
    size = float(np.clip(6000 / max(len(drawn.points), 1), 2, 28))
    for modality, shape in _shapes(drawn).items():
        for is_provisional in (False, True):
            rows = (modalities == modality) & (drawn.is_provisional == is_provisional)
            colours = [_COLOURS.get(region, _COLOURS["other"]) for region in regions[rows]]
            x, y = drawn.points[rows].T
            axes.scatter(
                x,
                y,
                s=size,
                marker=shape,
                facecolors="none" if is_provisional else colours,
                edgecolors=colours if is_provisional else "none",
                linewidths=0.8 if is_provisional else 0,
                alpha=0.85,
            )
    if box is not None:
        axes.set_xlim(box[0], box[1])
        axes.set_ylim(box[2], box[3])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])


def _shapes(drawn: MapPoints) -> dict[str, str]:
    """A shape for each modality, the commonest first; the rare ones share the last."""
    common = [modality for modality, _ in Counter(drawn.modalities).most_common()]
    return {name: _SHAPES[min(n, _N_SHAPES)] for n, name in enumerate(common)}


def _legend(drawn: MapPoints) -> list[Any]:
    from matplotlib.lines import Line2D

    def entry(label: str, **looks: Any) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **looks)

    counts = Counter(drawn.regions)
    handles = [entry("body region", marker="")]
    handles += [
        entry(f"{region} ({counts[region]:,})", marker="o", color=colour, markersize=6)
        for region, colour in _COLOURS.items()
        if counts[region]
    ]
    handles.append(entry("modality", marker=""))
    modalities = Counter(drawn.modalities)
    handles += [
        entry(f"{name or 'none'} ({modalities[name]:,})", marker=shape, color="#555555")
        for name, shape in _shapes(drawn).items()
    ]
    n_provisional = int(drawn.is_provisional.sum())
    if n_provisional:
        hollow = {"markerfacecolor": "none", "markeredgecolor": "#555555"}
        handles.append(entry(f"provisional ({n_provisional:,})", marker="o", **hollow))
    return handles
