"""A BERT with fewer operations gives the first token that transformers gives."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from gpu_worker.encoders.first_token import FirstTokenBert, is_plain_bert
from gpu_worker.encoders.torchvision_workaround import mend_torchvision


@pytest.fixture(scope="module")
def bert():
    mend_torchvision()
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for weights in model.parameters():  # biases and norms begin at 0 and 1
            weights.add_(0.3 * torch.randn_like(weights))
    return model


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 16), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_first_token_is_that_of_the_whole_model_whatever_is_padded(bert, lengths, seed):
    ids = torch.randint(1, 50, (len(lengths), max(lengths)), generator=seeded(seed))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    with torch.inference_mode():
        expected = bert(input_ids=ids * mask, attention_mask=mask).last_hidden_state[:, 0]
        found = FirstTokenBert(bert).eval()(ids * mask, mask)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_it_computes_less_than_the_whole_model(bert):
    ids = torch.ones((2, 12), dtype=torch.long)
    fewer = FirstTokenBert(bert).eval()
    flops = []
    for model in (lambda: bert(ids), lambda: fewer(ids, torch.ones_like(ids))):
        with torch.inference_mode(), FlopCounterMode(display=False) as counted:
            model()
        flops.append(counted.get_total_flops())
    # Nearly all of one of three layers but its keys and values.
    assert 0.68 < flops[1] / flops[0] < 0.78


def test_only_a_plain_encoder_is_computed_so(bert):
    assert is_plain_bert(bert)
    assert not is_plain_bert(torch.nn.Linear(2, 2))
    usual = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    assert is_plain_bert(SimpleNamespace(config=SimpleNamespace(**usual)))
    for changed in (
        {"model_type": "roberta"},
        {"hidden_act": "gelu_new"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"position_embedding_type": "relative_key"},
    ):
        config = SimpleNamespace(**{**usual, **changed})
        assert not is_plain_bert(SimpleNamespace(config=config)), changed
