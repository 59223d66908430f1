"""Zero-shot classification: shares, votes of slices, abstention, and the label sets."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from indexer_core.errors import InvalidInputError
from indexer_core.rules import load_rules
from indexer_core.rules.model import PLANES, REGIONS, UNKNOWN
from indexer_core.zero_shot import FIELDS, Label, LabelSet, findings, load_labels, shares

LOG_SCALE = 4.516357
SETS = load_labels()

SMALL = LabelSet(
    labels=(
        Label(texts=("head axial",), region="head", plane="axial"),
        Label(texts=("head coronal",), region="head", plane="coronal"),
        Label(texts=("knee axial",), region="lower extremity", plane="axial"),
        Label(texts=("page of text",)),
    ),
    thresholds={"bodyRegion": 0.5, "plane": 0.6},
)


def told(*slices: list[float], labels: LabelSet = SMALL):
    found = findings(np.array(slices, dtype=np.float64), labels, "model:m")
    return {finding.field: finding for finding in found}


def orthogonal(n: int) -> np.ndarray:
    return np.eye(64, dtype=np.float32)[:n]


def looking_like(labels: np.ndarray, number: int, cosine: float = 0.3) -> np.ndarray:
    """A picture whose cosine with one of the labels is this, and 0 with all others."""
    rest = np.eye(64, dtype=np.float32)[-1]
    return (cosine * labels[number] + np.sqrt(1 - cosine**2) * rest).astype(np.float32)[None]


def test_a_cosine_as_usual_is_enough_with_the_scale_and_not_with_its_logarithm():
    labels = SETS.worded("medimageinsight")["CT"]
    vectors = orthogonal(len(labels.labels))
    number = next(n for n, label in enumerate(labels.labels) if label.region == "chest")
    picture = looking_like(vectors, number)
    sure = {f.field: f for f in findings(shares(picture, vectors, exp(LOG_SCALE)), labels, "m")}
    assert (sure["bodyRegion"].value, sure["plane"].value) == ("chest", "axial")
    assert sure["bodyRegion"].confidence > 0.99
    # The classic mistake: everything looks alike, so that nothing is ever found.
    flat = {f.field: f for f in findings(shares(picture, vectors, LOG_SCALE), labels, "m")}
    assert flat["bodyRegion"].value == flat["plane"].value == UNKNOWN
    assert flat["bodyRegion"].confidence < 0.4


def test_shares_are_the_softmax_of_scaled_cosines():
    labels, picture = orthogonal(3), looking_like(orthogonal(3), 1)
    weights = np.exp(np.array([0, 85.2 * 0.3, 0]))
    np.testing.assert_allclose(shares(picture, labels, 85.2), [weights / weights.sum()], rtol=1e-5)


unit = arrays(
    np.float32, st.tuples(st.integers(1, 5), st.just(6)), elements=st.floats(-1, 1, width=32)
).map(lambda rows: rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-3))


@given(unit, unit, st.floats(1, 1000))
def test_shares_are_shares_whatever_the_scale(slices, labels, scale):
    found = shares(slices, labels, scale)
    assert found.shape == (len(slices), len(labels))
    assert np.all(found >= 0)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    order = np.argsort(found[0], kind="stable")
    logits = (slices[0].astype(float) @ labels.astype(float).T)[order]
    # A better fit never has the smaller share; shares that are all but nothing may be equal.
    is_larger = np.diff(found[0][order]) > 0
    assert np.all(np.diff(logits)[is_larger] >= -1e-9)


def test_the_share_of_a_region_is_the_sum_over_its_labels():
    found = told([0.3, 0.4, 0.2, 0.1])
    assert (found["bodyRegion"].value, found["bodyRegion"].confidence) == ("head", 0.7)
    assert (found["plane"].value, found["plane"].confidence) == (UNKNOWN, 0.5)
    assert found["plane"].scores == (("axial", 0.5), ("coronal", 0.4))


def test_slices_vote_with_their_shares_and_a_stray_one_is_outvoted():
    found = told([0.9, 0.1, 0, 0], [0.8, 0.1, 0.1, 0], [0.0, 0.2, 0.8, 0])["bodyRegion"]
    assert (found.value, found.n_slices, found.n_agreeing) == ("head", 3, 2)
    assert found.confidence == pytest.approx((1.0 + 0.9 + 0.2) / 3, abs=1e-4)


def test_slices_that_disagree_are_no_finding():
    found = told([0.9, 0.1, 0, 0], [0, 0, 1.0, 0])["bodyRegion"]
    assert (found.value, found.confidence) == ("head", 0.5)  # a tie, by name
    found = told([0.7, 0.2, 0, 0.1], [0, 0, 0.9, 0.1])["bodyRegion"]
    assert (found.value, found.confidence) == (UNKNOWN, 0.45)


def test_a_model_that_abstains_keeps_its_best_guess():
    found = told([0.1, 0.1, 0.15, 0.65])["bodyRegion"]
    assert found.value == UNKNOWN
    assert found.scores[0] == ("head", 0.2)
    assert found.n_agreeing == 0  # the slice looks like no body part at all


def test_a_set_without_planes_says_nothing_of_them():
    labels = SETS.worded("biomedclip")["DX"]
    found = findings(np.full((1, len(labels.labels)), 1 / len(labels.labels)), labels, "m")
    assert [finding.field for finding in found] == ["bodyRegion"]


@given(st.permutations(range(3)), st.lists(st.floats(0.01, 1), min_size=12, max_size=12))
def test_the_order_of_slices_is_of_no_consequence(order, weights):
    table = np.array(weights).reshape(3, 4)
    table /= table.sum(axis=1, keepdims=True)
    assert findings(table, SMALL, "m") == findings(table[list(order)], SMALL, "m")


def test_vectors_of_the_texts_of_a_label_are_averaged():
    labels = LabelSet(
        labels=(Label(texts=("a", "b"), region="head"), Label(texts=("c",), region="chest")),
        thresholds=SMALL.thresholds,
    )
    assert labels.texts == ("a", "b", "c")
    pooled = labels.pooled(orthogonal(3))
    np.testing.assert_allclose(pooled[0, :3], [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    np.testing.assert_allclose(pooled[1, :3], [0, 0, 1])


# ---- the label sets ------------------------------------------------------------------------------
@pytest.mark.parametrize("wording", ["medimageinsight", "biomedclip"])
def test_every_label_can_be_told_from_every_other(wording):
    for modality, labels in SETS.worded(wording).items():
        assert len(set(labels.texts)) == len(labels.texts), modality
        for label in labels.labels:
            assert label.region in (*REGIONS, "")
            assert label.plane in (*PLANES, "")
            assert all(text == text.strip() and "{" not in text for text in label.texts)
        assert sum(not label.region for label in labels.labels) >= 2  # what is no body part


def test_the_texts_of_medimageinsight_follow_its_catalogue():
    texts = SETS.worded("medimageinsight")
    assert "magnetic resonance imaging brain axial, (MRI BRAIN AXIAL)" in texts["MR"].texts
    assert "computed tomography chest coronal, (CT CHEST CORONAL)" in texts["CT"].texts
    assert "x-ray chest" in texts["DX"].texts
    # Of the 77 tokens that its text tower reads, none is left out.
    assert max(len(text.split()) for labels in texts.values() for text in labels.texts) < 20


def test_modalities_are_those_of_the_rules():
    known = set(load_rules().tables["modality"]["names"])
    assert set(SETS.worded("biomedclip")) <= known


def test_digests_tell_sets_apart():
    digests = {
        labels.digest
        for wording in ("medimageinsight", "biomedclip")
        for labels in SETS.worded(wording).values()
    }
    assert len(digests) == 2 * 6  # CR, DX and RG share one, and so do PT and NM


def test_a_file_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        """
thresholds: {bodyRegion: 0.3, plane: 0.9}
background: [noise]
wordings: {medimageinsight: {with_plane: ["{PART} {plane}"], without_plane: ["{part}"],
  background: ["{background}"]}}
sets: [{modality: [CT], long: l, short: s, planes: [axial], parts: {tooth: head}}]
"""
    )
    sets = load_labels(file).worded("medimageinsight")
    assert sets["CT"].texts == ("TOOTH axial", "noise")
    assert sets["CT"].thresholds == {"bodyRegion": 0.3, "plane": 0.9}
    with pytest.raises(InvalidInputError, match="no wordings"):
        load_labels(file).worded("biomedclip")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("sets: [{modality: [CT], long: l, short: s, parts: {tooth: mouth}}]", "mouth"),
        ("sets: [{modality: [CT], long: l, short: s, parts: {}}]", "needs"),
        ("thresholds: {bodyRegion: 2, plane: 0.5}", "threshold of bodyRegion"),
        (
            "wordings: {m: {with_plane: ['{x}'], without_plane: ['{x}'], background: []}}",
            "wording m",
        ),
        ("wordings: {m: {}}", "wording m"),
        ("background: [", "not YAML"),
    ],
)
def test_mistakes_in_a_file_are_told_in_one_line(tmp_path, change, told):
    base = {
        "thresholds": "{bodyRegion: 0.5, plane: 0.5}",
        "background": "[a]",
        "wordings": "{m: {with_plane: ['{part}'], without_plane: ['{part}'], background: ['b']}}",
        "sets": "[{modality: [CT], long: l, short: s, parts: {tooth: head}}]",
    }
    name, _, value = change.partition(": ")
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(f"{k}: {v}" for k, v in {**base, name: value}.items()))
    with pytest.raises(InvalidInputError, match=told) as caught:
        load_labels(file)
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_empty_is_told(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_labels(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(InvalidInputError, match="must hold"):
        load_labels(tmp_path / "empty.yaml")


def test_every_field_has_a_threshold_that_chance_does_not_reach():
    for wording in ("medimageinsight", "biomedclip"):
        for labels in SETS.worded(wording).values():
            chance = findings(np.full((3, len(labels.labels)), 1 / len(labels.labels)), labels, "m")
            assert all(finding.value == UNKNOWN for finding in chance)
            assert set(labels.thresholds) == set(FIELDS)
    assert log(exp(LOG_SCALE)) == pytest.approx(LOG_SCALE)
