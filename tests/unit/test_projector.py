"""The numpy projector and its file."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.array_file import ArrayFile, arrays_to_bytes
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.projector import (
    BOOTSTRAP_VERSION,
    KIND,
    Activation,
    Layer,
    Projector,
    bootstrap_projector,
)

DIMENSION = 96
PINNED_SIGNS = [1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0]


def layer(n_out, n_in, activation, *, residual=False, seed=0):
    random = np.random.default_rng(seed)
    weight = random.normal(size=(n_out, n_in)) * (2 / n_in) ** 0.5
    return Layer(
        weight=weight.astype(np.float32),
        bias=random.normal(size=n_out).astype(np.float32),
        activation=activation,
        residual=residual,
    )


def network(dimension=DIMENSION, width=64):
    return Projector(
        version="1.0",
        encoder_id="image/x",
        mu=np.linspace(-0.1, 0.1, dimension, dtype=np.float32),
        scale=0.25,
        layers=(
            layer(width, dimension, Activation.GELU_TANH),
            layer(width, width, Activation.GELU_TANH, residual=True, seed=1),
            layer(width, width, Activation.RELU, seed=2),
            layer(2, width, Activation.LINEAR, seed=3),
        ),
    )


def vectors(n, dimension=DIMENSION, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def reference(projector, x):
    """The network written out with scalars, point by point."""
    y = (x.astype(np.float64) - projector.mu) / projector.scale
    for item in projector.layers:
        z = item.weight.astype(np.float64) @ y + item.bias
        if item.activation is Activation.RELU:
            z = np.where(z > 0, z, 0)
        elif item.activation is Activation.GELU_TANH:
            z = np.array(
                [v / (1 + np.exp(-2 * (2 / np.pi) ** 0.5 * (v + 0.044715 * v**3))) for v in z]
            )
        y = y + z if item.residual else z
    return y


def test_the_network_is_computed_as_written_down():
    projector, x = network(), vectors(20)
    expected = np.array([reference(projector, row) for row in x])
    found = projector.project(x)
    assert found.shape == (20, 2)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 2.0**-14


@pytest.mark.parametrize("projector", [network(1024, 256), bootstrap_projector(1024, "e")])
def test_coordinates_are_byte_identical_whatever_the_batch(projector):
    x = vectors(300, 1024)
    together = projector.project(x).tobytes()
    for size in (1, 2, 3, 7, 16, 31, 128, 299):
        bounds = [*range(0, 300, size), 300]
        parts = [projector.project(x[a:b]) for a, b in pairwise(bounds)]
        assert np.concatenate(parts).tobytes() == together


@given(st.permutations(range(12)))
def test_coordinates_follow_their_vectors_in_any_order(order):
    projector, x = network(), vectors(12)
    assert np.array_equal(projector.project(x[list(order)]), projector.project(x)[list(order)])


def test_many_vectors_are_projected_in_chunks_without_a_seam():
    x = vectors(2050)
    assert np.array_equal(network().project(x)[1020:1030], network().project(x[1020:1030]))


def test_no_vectors_give_no_points():
    assert network().project(np.empty((0, DIMENSION), np.float32)).shape == (0, 2)


def test_vectors_of_another_dimension_are_refused():
    with pytest.raises(InvalidInputError, match=str(DIMENSION)):
        network().project(vectors(3, 50))
    with pytest.raises(InvalidInputError):
        network().project(vectors(1)[0])


def test_layers_that_do_not_fit_are_refused():
    good = network()
    with pytest.raises(InvalidInputError, match="fit together"):
        replace(good, layers=good.layers[1:])
    with pytest.raises(InvalidInputError, match="fit together"):
        replace(good, layers=(replace(good.layers[0], residual=True), *good.layers[1:]))
    with pytest.raises(InvalidInputError, match="two outputs"):
        replace(good, layers=good.layers[:-1])
    with pytest.raises(InvalidInputError, match="two outputs"):
        replace(good, scale=0.0)


def test_a_round_trip_keeps_every_bit_and_the_file_is_deterministic():
    projector, x = network(), vectors(50)
    data = projector.to_bytes()
    again = Projector.from_bytes(data)
    assert again.to_bytes() == data == network().to_bytes()
    assert again.project(x).tobytes() == projector.project(x).tobytes()
    assert (again.version, again.encoder_id) == ("1.0", "image/x")
    assert [item.residual for item in again.layers] == [False, True, False, False]


@given(st.integers(0, 10**9), st.integers(1, 255))
def test_a_file_with_one_changed_byte_is_refused(place, change):
    data = bytearray(bootstrap_projector(8, "e").to_bytes())
    data[place % len(data)] ^= change
    with pytest.raises(CorruptIndexError):
        Projector.from_bytes(bytes(data))


@given(st.integers(0, 200))
def test_a_shortened_file_is_refused(length):
    data = bootstrap_projector(8, "e").to_bytes()
    with pytest.raises(CorruptIndexError):
        Projector.from_bytes(data[: min(length, len(data) - 1)])


def test_a_newer_format_is_refused_and_not_guessed_at():
    newer = arrays_to_bytes(KIND, 99, ArrayFile(fields={}, arrays={}))
    with pytest.raises(InvalidInputError, match="99"):
        Projector.from_bytes(newer)


def test_another_kind_of_file_and_incomplete_contents_are_refused():
    with pytest.raises(CorruptIndexError):
        Projector.from_bytes(arrays_to_bytes("text-cache", 1, ArrayFile(fields={}, arrays={})))
    with pytest.raises(CorruptIndexError):
        Projector.from_bytes(arrays_to_bytes(KIND, 1, ArrayFile(fields={}, arrays={})))


def test_the_bootstrap_projector_is_the_same_on_every_machine():
    projector = bootstrap_projector(1024, "image/x")
    assert projector.version == BOOTSTRAP_VERSION == "0.1"
    weight = projector.layers[0].weight
    assert set(np.unique(weight)) == {-10.0, 10.0}
    # Pinned: a change would move every point of a map that was never fitted.
    assert [int(v > 0) for v in weight[0, :12]] == PINNED_SIGNS
    assert abs(weight[0] @ weight[1]) / 100 < 4 * 1024**0.5


def test_the_bootstrap_projector_spreads_distinct_vectors():
    points = bootstrap_projector(64, "e").project(vectors(50, 64))
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == 50
