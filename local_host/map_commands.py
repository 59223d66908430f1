"""The command `map`: fit it, look at it, take it elsewhere."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer_core.errors import CorruptIndexError, InvalidInputError, NotFoundError
from local_host import output
from local_host.encoder_sources import newest
from local_host.opening import reading
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.index.manifest import Manifest, Projection
    from indexer_core.map_points import MapPoints
    from local_host.wiring import LocalSystem

_POINTS = "points.csv"
_PNG = ".png"
_DAMAGED = (
    "what it is carried on from is damaged, so it learns nothing and tells no strangers: "
    "dicom-indexer verify --repair"
)


def run_map(options: argparse.Namespace, settings: Settings) -> int:
    """Do what is asked of the map.

    No action takes the writer lock: they write to the index alone, whose commits are safe with
    several writers, and indexing goes on while a map is fitted.
    """
    if options.folder is not None and options.action != "export":
        raise InvalidInputError(f"map {options.action} takes no folder")
    for option, value in (("--png", options.png), ("--at", options.at)):
        if value is not None and options.action != "export":
            raise InvalidInputError(f"{option} goes with map export")
    if options.full and options.action not in {"fit", "refit"}:
        raise InvalidInputError("--full goes with map fit and map refit")
    if options.format != "text" and options.action != "status":
        raise InvalidInputError("--format json goes with map status")
    if options.png is not None and Path(options.png).suffix.lower() not in {"", _PNG}:
        raise InvalidInputError(f"the picture is a PNG: name a file that ends in {_PNG}")
    actions = {"fit": _fit, "refit": _fit, "status": _status, "export": _export}
    with closing(reading(settings)) as system:
        return actions[options.action](options, system)


def _fit(options: argparse.Namespace, system: "LocalSystem") -> int:
    from gpu_worker.projection.keeping import MapSettings
    from gpu_worker.projection.recipe import FULL_MAP, FitRecipe

    newest(system)
    recipe = FULL_MAP if options.full else FitRecipe()
    index_map = system.index_map(MapSettings(fit=recipe))
    with closing(output.progress()) as bar:
        manifest = index_map.fit(
            again=options.action == "refit",
            training=_told(bar, "training"),
            placing=_told(bar, "placing"),
        )
    projection = manifest.projection
    assert projection is not None
    found = _described(system, manifest, projection)
    print(
        f"map {projection.version} is in force from manifest {manifest.number} on: "
        f"{found['points']:,} series, trust {found['metrics']['trust']:.3f}"
    )
    return 0


def _told(bar: "output.Bar", stage: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        bar.advance(stage, done, total)

    return tell


def _status(options: argparse.Namespace, system: "LocalSystem") -> int:
    manifest = newest(system)
    projection = manifest.projection
    if projection is None:
        raise NotFoundError("nothing is indexed yet, so there is no map")
    found = {"manifest": manifest.number, **_described(system, manifest, projection)}
    found |= _newcomers(system, is_watched=not found.get("isDamaged"))
    if options.format == "json":
        print(json.dumps(found, indent=2))
        return 0
    for line in _told_status(found):
        print(line)
    return 0


def _described(
    system: "LocalSystem", manifest: "Manifest", projection: "Projection"
) -> dict[str, Any]:
    from indexer_core.index.map_versions import is_fitted
    from indexer_core.index.projections import load_state

    found: dict[str, Any] = {
        "version": projection.version,
        "isFitted": is_fitted(manifest),
        "encoder": projection.encoder_id,
        "refused": list(projection.refused),
        "refusedAt": projection.refused_at or None,
    }
    if projection.state is None:
        return found
    try:
        state = load_state(system.index, projection.state)
    except CorruptIndexError:
        return {**found, "isDamaged": True}
    return {
        **found,
        "isDamaged": False,
        "points": state.n_points,
        "madeOf": state.watermark,
        "landmarks": len(state.landmarks),
        "metrics": dict(state.metrics),
    }


def _newcomers(system: "LocalSystem", *, is_watched: bool) -> dict[str, Any]:
    """What has come since, and what it says of the map."""
    from indexer_core.map_points import map_points

    watched = system.index_map().watch() if is_watched else None
    snapshot = system.snapshot(None)
    drawn = map_points(snapshot)
    found: dict[str, Any] = {
        "placed": len(drawn),
        "provisional": int(drawn.is_provisional.sum()),
    }
    if watched is not None:
        n = max(watched.window.n, 1)
        found |= {
            "newSince": watched.n_since,
            "window": watched.window.n,
            "farShare": watched.window.n_far / n,
            "neighboursKept": watched.window.preserved_sum / n,
            "isDue": watched.alarm is not None,
        }
    return found


def _told_status(found: dict[str, Any]) -> list[str]:
    lines = [f"map {found['version']}: {found['placed']:,} series have a place on it"]
    if not found["isFitted"]:
        return [
            *lines,
            "it was never fitted, so places mean little: dicom-indexer map fit",
        ]
    if found.get("isDamaged"):
        return [
            *lines,
            _DAMAGED,
        ]
    if "metrics" not in found:
        return [
            *lines,
            "what it was carried on from is lost, so it learns nothing: dicom-indexer map refit",
        ]
    metrics = found["metrics"]
    lines.append(
        f"made of {found['points']:,} series of manifest {found['madeOf']}, held by "
        f"{found['landmarks']:,} landmarks"
    )
    if "trust" in metrics:
        lines.append(
            f"trust {metrics['trust']:.3f}, neighbours kept {metrics['recall']:.2f} of those of "
            "the vectors"
        )
    else:
        lines.append(
            f"taught {metrics['learnt']:,.0f} series; the others moved by "
            f"{metrics['movedP95']:.2%} of its diagonal at most (p95)"
        )
    lines.append(
        f"{found['provisional']:,} series are provisional: unlike all others, placed among their "
        "nearest"
    )
    if found.get("window"):
        lines.append(
            f"{found['newSince']:,} new since; of the last {found['window']:,}, "
            f"{found['farShare']:.0%} are strangers and {found['neighboursKept']:.2f} of "
            "neighbours are kept"
        )
    if found.get("isDue"):
        lines.append("it is due to learn them: the worker does so after the next series")
    if found["refused"]:
        reasons = ", ".join(found["refused"])
        lines.append(
            f"it was to learn at manifest {found['refusedAt']} and stayed as it was ({reasons}); "
            "dicom-indexer map refit makes a new one, which moves all points"
        )
    return lines


def _export(options: argparse.Namespace, system: "LocalSystem") -> int:
    """Write the files of the map, its points, a picture; whatever was asked for."""
    if options.folder is None and options.png is None:
        raise InvalidInputError("name a folder for the map's files, or --png FILE for a picture")
    from indexer_core.map_points import map_points

    snapshot = system.snapshot(options.at)
    projection = snapshot.manifest.projection
    if projection is None:
        raise NotFoundError("nothing is indexed yet, so there is no map")
    drawn = map_points(snapshot)
    if not len(drawn):
        raise NotFoundError("no series with pixels is indexed yet, so there is no map")
    if options.png is not None:
        from local_host.map_picture import draw_png

        title = f"Map {projection.version}, manifest {snapshot.manifest.number}: "
        title += f"{len(drawn):,} series"
        output.write_file(Path(options.png), draw_png(drawn, title))
        print(f"wrote {options.png}")
    if options.folder is not None:
        folder = Path(options.folder)
        files, missing = _files(projection, snapshot.manifest, system)
        for name, data in {_POINTS: _table(drawn), **files}.items():
            output.write_file(folder / name, data)
        print(f"wrote map {projection.version} to {folder}")
        if missing:
            print(
                f"dicom-indexer: {missing}: dicom-indexer verify --repair says what can be done",
                file=sys.stderr,
            )
            return 1
    return 0


def _files(
    projection: "Projection", drawn_at: "Manifest", system: "LocalSystem"
) -> tuple[dict[str, bytes], str]:
    """The files of the map itself, and what is missing among them; "" if nothing is."""
    from gpu_worker.projection.artifacts import artifacts_of
    from indexer_core.index.projections import load_projector, load_state

    try:
        projector = load_projector(system.index, projection.file)
    except CorruptIndexError:
        return {}, f"only {_POINTS}, for the map's encoder is damaged"
    state = None
    missing = ""
    if projection.state is not None:
        try:  # whoever deleted a series does not want it taken elsewhere
            state = load_state(system.index, projection.state).without(drawn_at.suppressed)
        except CorruptIndexError:
            missing = "without the landmarks, which are damaged"
    return artifacts_of(projector, state), missing


def _table(drawn: "MapPoints") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seriesKey", "x", "y", "provisional", "modality", "bodyRegion"])
    for row in range(len(drawn)):
        x, y = drawn.points[row].tolist()
        is_provisional = str(bool(drawn.is_provisional[row])).lower()
        key, modality = drawn.keys[row], drawn.modalities[row]
        writer.writerow([key, x, y, is_provisional, modality, drawn.regions[row]])
    return text.getvalue().encode()
