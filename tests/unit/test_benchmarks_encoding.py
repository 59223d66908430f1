"""The benchmark of text encoding in small: agreement, FLOPs and repeated texts, and no times."""

import math
from importlib.util import find_spec

import pytest

from benchmarks import true_clip
from benchmarks.text_encoding import Sizes, flops_of, lines, measure, page
from indexer_core.adapters.onnx_text import OnnxTextEncoder

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)
SMALL = Sizes(rounds=1, n_texts=40, n_padded=4, n_batch=8, part=16, n_series=60, product=64)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def tower(kept):
    return true_clip.text_tower(kept, "tiny")


@pytest.fixture(scope="module")
def found(kept, tower):
    return measure(tower, OnnxTextEncoder.load(true_clip.exported(tower, kept)), SMALL)


def test_flops_are_those_of_the_tokens_and_of_no_padding(tower):
    width, layers, inner, projection = 64, 2, 128, (64 + 32) // 2

    def by_hand(length):
        weights = 4 * width**2 + 2 * width * inner
        attention = 2 * length * width
        head = width * projection + projection * 32  # of one token
        return 2 * (layers * length * (weights + attention) + head)

    for lengths in ([5], [5, 5, 17]):
        tokens = [[1] * length for length in lengths]
        assert flops_of(tower, tokens) == sum(map(by_hand, lengths))


def test_vectors_are_those_of_open_clips_padded_way(found):
    assert found["cosine"] >= 0.9999
    assert found["centred_cosine"] >= 0.9999


def test_each_distinct_text_is_embedded_once_and_never_again(found):
    repeats = found["repeats"]
    assert repeats["texts"] == 5 * SMALL.n_series
    assert repeats["embedded"] == repeats["distinct"] < repeats["texts"]
    assert (repeats["most_often"], repeats["embedded_again"]) == (1, 0)


def test_the_page_says_which_bars_are_met_and_missed(found):
    fast = {**found, "share": 0.9, "times": math.inf}
    assert all(line.met for line in lines(fast) if line.met is not None)
    assert "**missed**" not in page(fast)
    slow = {**found, "share": math.nan, "times": math.nan, "cosine": 0.9}
    assert [line.met for line in lines(slow) if line.met is not None] == [False] * 3 + [True]


def test_the_model_is_made_once(kept, tower):
    made = true_clip.weights(kept, "tiny") / "open_clip_pytorch_model.bin"
    before = made.stat().st_mtime_ns
    assert true_clip.text_encoder(kept, "tiny").encoder_id == tower.encoder_id
    assert made.stat().st_mtime_ns == before
