"""A map as files: every bit comes back, damage is named, other programs can run it."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from gpu_worker.projection.artifacts import (
    FORMAT_VERSION,
    LANDMARKS,
    MODEL,
    PAGE,
    WEIGHTS,
    artifacts_of,
    read_artifacts,
)
from indexer_core.errors import CorruptIndexError, InvalidInputError, NotFoundError
from indexer_core.map_state import Landmarks, MapState
from indexer_core.projector import bootstrap_projector
from tests.support.maps import archive, fitted, in_force


@pytest.fixture(scope="module")
def made():
    x = archive(300, dimension=64)
    found = fitted(x)
    old = in_force(found, x)
    rows = old.landmark_rows
    state = MapState(
        version="1.0",
        n_frozen=found.n_frozen,
        seed=7,
        n_neighbours=15,
        reference=found.reference,
        landmarks=Landmarks(
            keys=tuple(f"series {row}" for row in rows),
            vectors=x[rows],
            points=old.points[rows],
            anchors=old.anchors,
        ),
        watermark=41,
        n_points=300,
        box=(-1.5, 2.0, -3.0, 4.25),
        metrics={"trust": 0.99},
    )
    return found.projector, state


@pytest.fixture
def folder(tmp_path, made):
    for name, data in artifacts_of(*made).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_map_comes_back_bit_by_bit(folder, made):
    projector, state = read_artifacts(folder)
    assert projector.to_bytes() == made[0].to_bytes()
    assert state.to_bytes() == made[1].to_bytes()
    x = archive(50, seed=3, dimension=64)
    assert projector.project(x).tobytes() == made[0].project(x).tobytes()


def test_the_same_map_gives_the_same_files(made):
    assert artifacts_of(*made) == artifacts_of(*made)


def test_the_onnx_model_places_points_where_the_map_does(folder, made):
    session = onnxruntime.InferenceSession((folder / MODEL).read_bytes())
    x = archive(50, seed=3, dimension=64)
    (points,) = session.run(None, {"vectors": x})
    assert np.abs(points - made[0].project(x)).max() <= 1e-4


def test_a_map_that_was_never_fitted_has_no_landmarks(tmp_path):
    projector = bootstrap_projector(64, "image/x")
    files = artifacts_of(projector, None)
    assert LANDMARKS not in files
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found, state = read_artifacts(tmp_path)
    assert (found.to_bytes(), state) == (projector.to_bytes(), None)


@pytest.mark.parametrize("victim", [PAGE, WEIGHTS, LANDMARKS])
def test_a_missing_file_is_told(folder, victim):
    (folder / victim).unlink()
    with pytest.raises(NotFoundError if victim == PAGE else CorruptIndexError):
        read_artifacts(folder)


@pytest.mark.parametrize("victim", [PAGE, WEIGHTS, LANDMARKS])
def test_a_file_that_was_cut_is_told(folder, victim):
    data = (folder / victim).read_bytes()
    (folder / victim).write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptIndexError):
        read_artifacts(folder)


def changed(folder, **changes):
    page = json.loads((folder / PAGE).read_text()) | changes
    page = {key: value for key, value in page.items() if value != "gone"}
    (folder / PAGE).write_text(json.dumps(page))
    return folder


def test_a_newer_format_is_refused_with_what_to_do(folder):
    with pytest.raises(InvalidInputError, match="reads up to 1: update it"):
        read_artifacts(changed(folder, format_version=FORMAT_VERSION + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "letter"},
        {"kind": "gone"},
        {"layers": "gone"},
        {"layers": []},
        {"layers": [{"activation": "step", "residual": False}]},
        {"state": {"landmarks": ["one too few"]}},
        {"state": {}},
    ],
)
def test_a_page_with_an_impossible_content_is_refused(folder, changes):
    with pytest.raises((CorruptIndexError, InvalidInputError)):
        read_artifacts(changed(folder, **changes))


def test_no_page_says_nan(made):
    projector, state = made
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts_of(projector, replace(state, metrics={"trust": float("nan")}))
