"""Stored formats of the map as older programs wrote them are read by today's: tests/formats."""

import numpy as np
import pytest

from indexer_core.index.manifest import (
    CoordinateFile,
    FileRef,
    Lineage,
    Manifest,
    Projection,
    Recipe,
    Segment,
    Space,
    VectorFile,
    parse_manifest,
)
from indexer_core.index.segment import load_points
from indexer_core.map_state import DriftReference, MapState
from tests.conftest import ROOT

FORMATS = ROOT / "tests" / "formats"


def ref(name, number):
    return FileRef(name=name, sha256=f"{number:064x}", size_bytes=number)


SECOND = Manifest(
    number=9,
    commit_id="c9",
    lineage=Lineage(
        reason="index",
        software="dicom-indexer 0.1.0",
        created_s=1_700_000_000.5,
        counts={"rows": 2},
    ),
    segments=(
        Segment(
            id="s",
            rows=ref("segments/s-1.rows.arrow", 1),
            n_rows=2,
            n_alive=1,
            n_points=1,
            vectors=(
                VectorFile(
                    file=ref("segments/s-2.image.faiss", 2),
                    space="image",
                    encoder_id="eye",
                    kind="flat",
                    n_vectors=1,
                    dimension=4,
                ),
            ),
            coordinates=(
                CoordinateFile(
                    file=ref("segments/s-3.points.npy", 3), projection="0.1", n_points=1
                ),
            ),
            level=1,
        ),
    ),
    spaces=(Space(name="image", live="eye", dimension=4, building="eye2", building_dimension=8),),
    recipes=(Recipe(number=1, digest="r1"),),
    # No state: a map of those days was never fitted.
    projection=Projection(version="0.1", encoder_id="eye", file=ref("projections/p.projector", 4)),
    suppressed=frozenset({"k1"}),
    pins={3: ("cohort",)},
    collected_before="0000000000ff",
    forgotten_before="0000000000ee",
    retained_from=2,
    parent_commit="c8",
)

THIRD = Manifest(
    number=9,
    commit_id="c9",
    lineage=Lineage(
        reason="keep-map",
        software="dicom-indexer 0.1.0",
        created_s=1_700_000_000.5,
        details={"map": "2.1"},
    ),
    segments=(
        Segment(
            id="s",
            rows=ref("segments/s-1.rows.arrow", 1),
            n_rows=2,
            n_alive=1,
            n_points=1,
            coordinates=(
                CoordinateFile(
                    file=ref("segments/s-3.points.npy", 3), projection="2.1", n_points=1
                ),
            ),
        ),
    ),
    spaces=(Space(name="image", live="eye", dimension=4),),
    projection=Projection(
        version="2.1",
        encoder_id="eye",
        file=ref("projections/p.projector", 4),
        state=ref("maps/s.map", 5),
        major=ref("projections/m.projector", 6),
        refused=("oldPointsMoved", "newNeighbourhoodsNotLearnt"),
        refused_at=9,
        n_since=120,
        recent=((100, 3, 40_500), (20, 20, 100)),
    ),
    parent_commit="c8",
)


@pytest.mark.parametrize(("version", "expected"), [(2, SECOND), (3, THIRD)])
def test_manifests_of_older_formats_are_read(version, expected):
    data = (FORMATS / f"manifest-v{version}.json").read_bytes()
    assert f'"format_version":{version}'.encode() in data
    assert parse_manifest(data, "m") == expected


def test_coordinates_with_provisional_points_are_read():
    data = (FORMATS / "points-provisional.npy").read_bytes()
    named = CoordinateFile(file=ref("p.npy", 1), projection="2.1", n_points=3)
    points = load_points(data, named)
    assert points.projection == "2.1"
    assert points.xy.tolist() == [[0.5, -1.25], [3, 4], [-2.5, 0.0625]]
    assert points.is_provisional is not None
    assert points.is_provisional.tolist() == [False, True, False]


def test_the_state_of_a_map_of_the_first_format_is_read():
    """It did not say yet up to which write id rows were known."""
    state = MapState.from_bytes((FORMATS / "map-state-v1.map").read_bytes())
    assert (state.version, state.n_frozen, state.seed, state.n_neighbours) == ("2.1", 1, 7, 15)
    assert state.reference == DriftReference(k=2, tau=0.5, preservation=0.25)
    assert state.landmarks.keys == ("k1", "k2")
    vectors = np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0]], np.float32)
    np.testing.assert_array_equal(state.landmarks.vectors, vectors)
    assert state.landmarks.points.tolist() == [[0.5, -1.25], [3, 4]]
    assert state.landmarks.anchors.tolist() == [[0.5, -1], [3, 4.5]]
    assert (state.watermark, state.n_points) == (3, 9)
    assert state.box == (-2.5, 3.0, -1.25, 4.0)
    assert state.metrics == {"trust": 0.875}
    assert state.known_until == ""
