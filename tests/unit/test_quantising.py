"""8-bit text encoders: taken where they find the same texts, refused elsewhere, and why."""

import copy
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.encoders import quantising
from gpu_worker.encoders.biomedclip import NormalisedText, load_biomedclip
from gpu_worker.encoders.export import export_tower
from gpu_worker.encoders.quantising import FEWEST_TEXTS, Measured, recall_at, spread
from indexer_core.adapters.onnx_text import MODEL_NAME, OnnxTextEncoder, read_export
from tests.support.clip_directory import make_clip_directory

needs_open_clip = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)
TEXTS = [
    f"{plane} {sequence} of the {part}"
    for plane in ("axial", "sagittal", "coronal", "oblique")
    for sequence in ("T1", "T2", "FLAIR", "DWI", "ADC", "STIR")
    for part in ("brain", "knee", "liver", "spine", "heart", "pelvis")
]


def unit(n, dimension, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 1000), st.integers(12, 40))
def test_recall_is_that_of_counting_by_hand(seed, n):
    exact, rounded = unit(n, 8, seed), unit(n, 8, seed) + 0.1 * unit(n, 8, seed + 1)
    found = 0
    for row in range(n):
        others = [other for other in range(n) if other != row]

        nearest = [
            sorted(others, key=(-vectors @ vectors[row]).__getitem__)[:10]
            for vectors in (exact, rounded)
        ]
        found += len({*nearest[0]} & {*nearest[1]})
    assert recall_at(10, exact, rounded) == pytest.approx(found / (10 * n), abs=0.02)
    assert recall_at(10, exact, exact) == 1.0


def test_equally_near_rows_are_as_good_as_each_other():
    exact = np.repeat(unit(2, 8), 20, axis=0)  # twenty rows each the same
    assert recall_at(10, exact, exact + 1e-5 * unit(40, 8)) == 1.0


def test_recall_tells_vectors_that_have_nothing_to_do_with_each_other():
    assert recall_at(10, unit(500, 8), unit(500, 8, seed=1)) < 0.1


def test_a_part_of_many_texts_is_spread_over_all_of_them():
    texts = [str(number) for number in range(1000)]
    assert spread(texts, 5) == ["0", "250", "500", "749", "999"]
    assert spread(texts[:3], 5) == texts[:3]


def test_just_enough_is_enough_and_nothing_measured_is_not():
    assert Measured(n_texts=500, recall=0.99).is_good_enough
    assert not Measured(n_texts=500, recall=0.98999).is_good_enough
    assert not Measured(n_texts=5).is_good_enough
    assert Measured(n_texts=5).to_json()["used"] == "fp32"


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return load_biomedclip(make_clip_directory(tmp_path_factory.mktemp("clip") / "model")).text


def kept_precision(folder):
    return json.loads((folder / "encoder.json").read_text())["precision"]


def keeps_texts_apart(tower):
    """The tower with stronger weights: those of a new one put all texts in one place."""
    model = copy.deepcopy(tower.module.tower)
    with torch.no_grad():
        for name, weights in model.transformer.encoder.named_parameters():
            if name.endswith("dense.weight") or ".self." in name:
                weights.mul_(5)
    # Built anew: it holds weights of its own, joined from those of the model.
    return replace(tower, module=NormalisedText(model).eval())


@needs_open_clip
def test_an_encoder_that_finds_the_same_in_8_bits_is_exported_so(tower, tmp_path, monkeypatch):
    tower = keeps_texts_apart(tower)
    # It finds nine in ten; no tower that is made in a second finds more.
    monkeypatch.setattr(quantising, "BAR", 0.8)
    manifest = export_tower(tower, tmp_path / "export", int8_on=TEXTS)
    assert manifest["encoder_id"] == f"{tower.encoder_id}-int8"
    precision = kept_precision(tmp_path / "export")
    assert (precision["used"], precision["texts"]) == ("int8", len(TEXTS))
    assert 0.8 <= precision["recall_at_10"] <= 1
    encoder = OnnxTextEncoder.load(tmp_path / "export")
    exact = export_tower(tower, tmp_path / "exact")
    assert "precision" not in exact
    expected = OnnxTextEncoder.load(tmp_path / "exact").encode(TEXTS)
    found = encoder.encode(TEXTS)
    assert (found * expected).sum(axis=1).min() > 0.98
    assert np.abs(found - expected).max() > 1e-6  # it is another encoder
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS[:5]])
    # Activations are rounded by the range of their batch.
    assert (found[:5] * alone).sum(axis=1).min() > 0.98


@needs_open_clip
def test_one_that_8_bits_ruin_stays_in_single_precision_and_says_so(tower, tmp_path):
    manifest = export_tower(tower, tmp_path / "export", int8_on=TEXTS)
    assert manifest["encoder_id"] == tower.encoder_id
    precision = kept_precision(tmp_path / "export")
    assert (precision["wanted"], precision["used"]) == ("int8", "fp32")
    assert precision["recall_at_10"] < precision["bar"] == 0.99
    assert OnnxTextEncoder.load(tmp_path / "export").encode(TEXTS[:2]).shape == (2, 32)


@needs_open_clip
def test_too_few_texts_prove_nothing(tower, tmp_path):
    texts = TEXTS[: FEWEST_TEXTS - 1]
    manifest = export_tower(tower, tmp_path / "export", int8_on=texts * 3)
    assert manifest["encoder_id"] == tower.encoder_id
    assert kept_precision(tmp_path / "export")["recall_at_10"] is None


@needs_open_clip
def test_an_export_is_kept_where_the_same_was_asked_for(tower, tmp_path):
    folder = tmp_path / "export"
    few = TEXTS[:5]
    export_tower(tower, folder, int8_on=few)
    model = (folder / MODEL_NAME).stat().st_mtime_ns
    export_tower(tower, folder, int8_on=few)
    assert (folder / MODEL_NAME).stat().st_mtime_ns == model
    assert "precision" not in export_tower(tower, folder)
    assert "precision" not in read_export(folder).manifest
