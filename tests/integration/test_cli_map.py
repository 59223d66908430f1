"""The map from the command line: fit, status, refit, export, and new series in between."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from gpu_worker.projection.artifacts import MODEL, PAGE, read_artifacts
from local_host import map_picture, output
from local_host.map_picture import draw_png
from tests.support.cli import Cli

N = 40


@pytest.fixture
def indexed(run) -> Cli:
    """Series whose pictures differ."""
    put(run, range(N))
    run.index()
    return run


def put(run: Cli, numbers) -> None:
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 2000, (16, 16)).astype(np.uint16)
        run.put(
            f"{number:03d}.dcm",
            series=f"s{number}",
            PixelData=pixels.tobytes(),
            SeriesDescription="Head axial" if number % 2 else "Chest axial",
        )


def places(run: Cli) -> dict[str, tuple[float, float]]:
    return {key: (r["x"], r["y"]) for key, r in run.records().items()}


def versions(run: Cli) -> set[str]:
    return {record["projectionVersion"] for record in run.records().values()}


def test_a_map_from_its_first_fit_to_the_next(indexed):
    assert "it was never fitted" in indexed.run("map", "status")
    said = indexed.run("map", "fit")
    assert "map 1.0 is in force from manifest" in said
    assert f"{N} series, trust" in said
    assert versions(indexed) == {"1.0"}
    before = places(indexed)

    put(indexed, range(100, 104))
    indexed.index()
    after = places(indexed)
    assert len(after) == N + 4
    assert {key: after[key] for key in before} == before
    status = json.loads(indexed.run("map", "status", "--format", "json"))
    assert status["version"] == "1.0"
    assert status["isFitted"]
    assert (status["points"], status["placed"], status["newSince"]) == (N, N + 4, 4)
    assert not status["isDue"]
    told = indexed.run("map", "status")
    assert f"map 1.0: {N + 4} series have a place on it" in told
    assert "4 new since" in told

    indexed.run("map", "fit", status=1)
    assert "map refit" in indexed.error
    assert "map 2.0 is in force" in indexed.run("map", "refit")
    assert versions(indexed) == {"2.0"}
    assert "every checksum fits" in indexed.run("verify")
    log = [json.loads(line) for line in indexed.run("log", "--format", "json").splitlines()]
    reasons = [line["reason"] for line in log]
    assert [reason for reason in reasons if "fit" in reason] == ["refit", "fit"]
    assert "mapKept" not in indexed.run("log")


def test_a_map_is_exported_for_other_programs_and_for_eyes(indexed, tmp_path):
    indexed.run("map", "fit")
    first = indexed.newest()
    indexed.run("map", "refit")
    folder = tmp_path / "out" / "map"
    indexed.run("map", "export", folder, "--png", tmp_path / "now.png")
    projector, state = read_artifacts(folder)
    assert projector.version == state.version == "2.0"
    assert len(state.landmarks) == N
    assert (folder / MODEL).stat().st_size > 10_000
    assert json.loads((folder / PAGE).read_text())["state"]["n_points"] == N
    with (folder / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = {row["seriesKey"]: (float(row["x"]), float(row["y"])) for row in rows}
    records = indexed.records().values()
    assert told == {record["seriesKey"]: (record["x"], record["y"]) for record in records}
    assert {row["modality"] for row in rows} == {"CT"}
    assert {row["bodyRegion"] for row in rows} == {"head", "chest"}
    assert {row["provisional"] for row in rows} == {"false"}
    with Image.open(tmp_path / "now.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50
    # The map before it, as its manifest has it.
    indexed.run("map", "export", tmp_path / "then", "--at", first)
    assert read_artifacts(tmp_path / "then")[0].version == "1.0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export",), "name a folder"),
        (("status", "FOLDER"), "takes no folder"),
        (("fit", "--png", "x.png"), "--png goes with map export"),
        (("status", "--at", "1"), "--at goes with map export"),
        (("export", "--full", "--png", "x.png"), "--full goes with"),
        (("refit", "--format", "json"), "--format json goes with map status"),
        (("export", "--png", "x.png", "--format", "json"), "--format json goes with map status"),
        (("export", "--png", "x.jpg"), "name a file that ends in .png"),
    ],
)
def test_what_makes_no_sense_is_one_line(indexed, arguments, says):
    indexed.run("map", *arguments, status=1)
    assert says in indexed.error
    assert indexed.error.count("\n") == 1


def damage(run: Cli, folder: str) -> None:
    """Cut the newest file of a folder of the index short."""
    path = max((run.data / "index" / folder).iterdir())
    path.write_bytes(path.read_bytes()[:-9])


def test_a_damaged_state_is_told_and_the_places_are_exported(indexed, tmp_path):
    indexed.run("map", "fit")
    put(indexed, range(100, 104))
    indexed.index()
    whole = tmp_path / "whole"
    indexed.run("map", "export", whole)
    damage(indexed, "maps")
    assert "dicom-indexer verify --repair" in indexed.run("map", "status")
    status = json.loads(indexed.run("map", "status", "--format", "json"))
    assert (status["isDamaged"], status["isFitted"], status["placed"]) == (True, True, N + 4)
    left = tmp_path / "left"
    said = indexed.run("map", "export", left, "--png", tmp_path / "m.png", status=1)
    assert "wrote map 1.0" in said
    assert "without the landmarks, which are damaged" in indexed.error
    assert (left / "points.csv").read_bytes() == (whole / "points.csv").read_bytes()
    assert read_artifacts(left)[1] is None
    # The repair says what is lost, and asks for a refit.
    assert "map refit" in indexed.run("verify", "--repair")
    assert "map refit" in indexed.run("map", "status")
    indexed.run("map", "refit")
    assert json.loads(indexed.run("map", "status", "--format", "json"))["isDamaged"] is False


def test_of_a_map_whose_encoder_is_damaged_the_places_are_exported(indexed, tmp_path):
    indexed.run("map", "fit")
    damage(indexed, "projections")
    assert "map 1.0" in indexed.run("map", "status")
    indexed.run("map", "export", tmp_path / "left", status=1)
    assert "only points.csv" in indexed.error
    assert [path.name for path in (tmp_path / "left").iterdir()] == ["points.csv"]


class Watching:
    """Progress that notes the stages, and is asked to end at one of them."""

    def __init__(self, ends_at: str = "") -> None:
        self.stages: list[tuple[str, int, int]] = []
        self._ends_at = ends_at

    def advance(self, stage, n_done, n_total):
        self.stages.append((stage, n_done, n_total))
        if stage == self._ends_at:
            raise KeyboardInterrupt

    def close(self):
        """Nothing was opened."""


def test_teaching_shows_how_far_it_is_and_ends_between_steps_when_told_to(indexed, monkeypatch):
    indexed.run("map", "fit")
    before = places(indexed)
    for number in range(200, 310):
        pixels = 900 + np.random.default_rng(number).integers(0, 9, (16, 16)).astype(np.uint16)
        pixels[:8] = 3
        indexed.put(f"{number}.dcm", series=f"s{number}", PixelData=pixels.tobytes())
    ending = Watching(ends_at="teaching")
    monkeypatch.setattr(output, "progress", lambda: ending)
    indexed.run("index", indexed.folder, status=1)
    assert "stopped" in indexed.error
    stage, n_done, n_total = ending.stages[-1]
    assert (stage, 0 < n_done < n_total) == ("teaching", True)
    # The map is as it was, and still due.
    status = json.loads(indexed.run("map", "status", "--format", "json"))
    assert (status["version"], status["refused"], status["isDue"]) == ("1.0", [], True)
    after = places(indexed)
    assert {key: after[key] for key in before} == before
    # The same command carries on.
    patient = Watching()
    monkeypatch.setattr(output, "progress", lambda: patient)
    put(indexed, [400])
    indexed.index()
    assert [stage for stage, done, total in patient.stages if done == total].count("teaching")
    status = json.loads(indexed.run("map", "status", "--format", "json"))
    assert status["version"] == "1.1" or status["refused"]


def test_without_series_there_is_no_map(run):
    for action in (("status",), ("fit",), ("export", "--png", "x.png")):
        run.run("map", *action, status=1)
        assert "nothing is indexed" in run.error
    run.put("a.dcm", pixels=False)
    run.index()
    run.run("map", "fit", status=1)
    assert "no series with pixels is indexed yet" in run.error
    run.run("map", "export", "--png", "x.png", status=1)
    assert "no series with pixels is indexed yet" in run.error


def test_too_few_series_are_told_how_many_are_needed(run):
    put(run, range(5))
    run.index()
    run.run("map", "fit", status=1)
    assert "a map needs at least 32 different vectors, and these 5 hold 5" in run.error
    assert versions(run) == {"0.1"}


def test_a_picture_that_cannot_be_written_is_told(indexed, tmp_path):
    (tmp_path / "file").write_text("")
    indexed.run("map", "export", "--png", tmp_path / "file" / "x.png", status=1)
    assert "cannot be written" in indexed.error


def test_provisional_series_are_drawn_hollow_and_counted_in_the_legend(monkeypatch):
    from indexer_core.map_points import MapPoints

    drawn = []
    axes_scatter = map_picture.draw

    def recorded(axes, points, **others):
        axes_scatter(axes, points, **others)
        drawn.extend(axes.collections)

    monkeypatch.setattr(map_picture, "draw", recorded)
    points = MapPoints(
        keys=("a", "b", "c"),
        modalities=("CT", "MR", "CT"),
        regions=("head", "chest", "nowhere"),
        points=np.array([[0, 0], [1, 1], [2, 0]], np.float32),
        is_provisional=np.array([False, True, False]),
    )
    assert draw_png(points, "title").startswith(b"\x89PNG")
    shown = [each for each in drawn if len(each.get_offsets())]
    hollow = [each for each in shown if not len(each.get_facecolors())]
    assert [each.get_offsets().tolist() for each in hollow] == [[[1.0, 1.0]]]
    labels = [handle.get_label() for handle in map_picture._legend(points)]
    assert "provisional (1)" in labels
    assert "CT (2)" in labels
