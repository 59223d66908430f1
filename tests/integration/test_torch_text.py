"""The text encoder that runs on torch agrees with the exported one, on whatever device."""

import numpy as np
import pytest
import torch

from gpu_worker.encoders.minilm import load_minilm
from gpu_worker.encoders.torch_text import TorchTextEncoder
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from tests.support.command_line import exported_encoder

TEXTS = [
    "Axial T2 FLAIR MRI of the brain without contrast, 3 tesla",
    "CT of the chest",
    "",
    "ultrasound",
    "CT of the chest",
    "brain " * 400,
    *(f"series {n} of the knee, sagittal proton density" for n in range(10)),
]


@pytest.fixture(scope="module")
def exported(request):
    return OnnxTextEncoder.load(exported_encoder(request.config)).encode(TEXTS)


@pytest.mark.parametrize("max_tokens", [40, 300, 65_536])
def test_cpu_vectors_are_those_of_the_export_whatever_the_batches(exported, max_tokens):
    encoder = TorchTextEncoder(load_minilm(), max_tokens_per_batch=max_tokens)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, exported, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(exported, monkeypatch):
    encoder = TorchTextEncoder(load_minilm())
    sizes = []
    run = encoder._run

    def small_memory(tokens):
        sizes.append(len(tokens))
        if len(tokens) > 3:
            raise torch.cuda.OutOfMemoryError("no room")
        return run(tokens)

    monkeypatch.setattr(encoder, "_run", small_memory)
    np.testing.assert_allclose(encoder.encode(TEXTS), exported, atol=1e-5)
    failed = [size for size in sizes if size > 3]
    assert failed
    # What failed is not tried again: not with these texts, and not with the next.
    assert failed == sorted(set(failed), reverse=True)
    sizes.clear()
    encoder.encode(TEXTS)
    assert max(sizes) <= 3


def test_one_text_that_does_not_fit_is_an_error(monkeypatch):
    encoder = TorchTextEncoder(load_minilm())

    def no_memory(tokens):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(encoder, "_run", no_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        encoder.encode(["one"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_vectors_in_bf16_agree_with_the_cpu():
    on_gpu = TorchTextEncoder(load_minilm(), device="cuda").encode(TEXTS)
    on_cpu = TorchTextEncoder(load_minilm()).encode(TEXTS)
    assert (on_gpu * on_cpu).sum(axis=1).min() >= 0.999
