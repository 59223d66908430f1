"""BiomedCLIP's real loading code, on folders of its architecture with weights made here."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from gpu_worker.encoders.biomedclip import CONFIG, load_biomedclip, locate_biomedclip
from gpu_worker.encoders.export import export_tower
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from indexer_core.errors import InvalidInputError
from tests.support.clip_directory import make_clip_directory

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)
WEIGHTS = "open_clip_pytorch_model.bin"
TEXTS = ("Axial T2 FLAIR MRI of the brain", "CT of the chest", "ultrasound", "")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return make_clip_directory(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def copy(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "model")


@pytest.fixture(scope="module")
def model(directory):
    return load_biomedclip(directory)


def test_both_towers_and_the_scale_come_out_of_a_folder_without_a_second_repository(model):
    assert (model.text.dimension, model.text.max_tokens) == (32, 256)
    assert (model.image.rows, model.image.columns) == (32, 32)
    assert model.scale == pytest.approx(1 / 0.07, rel=1e-5)  # e to the power of what is stored


def test_a_text_is_the_same_vector_as_when_open_clip_pads_it(model):
    ids = torch.randint(1000, 30000, (3, 18), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    padded = torch.zeros(3, 256, dtype=torch.long)
    padded[:, :18] = ids * mask
    with torch.inference_mode():
        ours = model.text.module(ids * mask, mask)
        theirs = torch.nn.functional.normalize(model.text.module.tower(padded), dim=1)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_image_vectors_have_length_one(model):
    with torch.inference_mode():
        vectors = model.image.module(torch.rand(2, 3, 32, 32))
    assert vectors.shape == (2, 32)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_exported_text_tower_agrees_with_torch_and_needs_none(model, tmp_path):
    export_tower(model.text, tmp_path / "export")
    encoder = OnnxTextEncoder.load(tmp_path / "export")
    assert encoder.encoder_id == model.text.encoder_id
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_encoder_ids_follow_the_weights(model, tmp_path):
    other = load_biomedclip(make_clip_directory(tmp_path / "other", seed=1))
    assert other.text.encoder_id != model.text.encoder_id
    assert other.image.encoder_id != model.image.encoder_id


def test_weights_that_were_never_trained_are_refused_unless_a_test_asks(tmp_path):
    directory = make_clip_directory(tmp_path / "random", trained=False)
    with pytest.raises(InvalidInputError, match="random, not trained"):
        load_biomedclip(directory)
    assert load_biomedclip(directory, untrained_allowed=True).text.dimension == 32


@pytest.mark.parametrize("tower", ["text", "visual"])
def test_one_untrained_tower_is_enough_to_be_refused(copy, tower):
    state = torch.load(copy / WEIGHTS, weights_only=True)
    model = load_biomedclip(copy)
    module = {"text": model.text, "visual": model.image}[tower].module.tower
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.LayerNorm):
            state[f"{tower}.{name}.weight"] = torch.ones_like(part.weight)
            state[f"{tower}.{name}.bias"] = torch.zeros_like(part.bias)
    torch.save(state, copy / WEIGHTS)
    with pytest.raises(InvalidInputError, match="random, not trained"):
        load_biomedclip(copy)


def test_missing_weights_are_refused(copy):
    (copy / WEIGHTS).unlink()
    with pytest.raises(InvalidInputError, match="without them the model would be random"):
        load_biomedclip(copy)


def test_weights_that_lack_a_tensor_are_refused(copy):
    state = torch.load(copy / WEIGHTS, weights_only=True)
    del state["text.proj.0.weight"]
    torch.save(state, copy / WEIGHTS)
    with pytest.raises(InvalidInputError, match="do not fit the model"):
        load_biomedclip(copy)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(copy, tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    torch.save({"text": Evil()}, copy / WEIGHTS)
    with pytest.raises(InvalidInputError, match="do not fit the model"):
        load_biomedclip(copy)
    assert not mark.exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model_cfg": {"embed_dim": 3}}'])
def test_a_configuration_that_is_none_is_refused(copy, content):
    (copy / CONFIG).write_text(content)
    with pytest.raises(InvalidInputError, match=CONFIG):
        load_biomedclip(copy)


def test_an_unknown_text_model_asks_for_its_configuration(copy):
    config = json.loads((copy / CONFIG).read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "somebody/another-bert"
    (copy / CONFIG).write_text(json.dumps(config))
    (copy / "text_config.json").unlink()
    with pytest.raises(InvalidInputError, match="somebody/another-bert"):
        load_biomedclip(copy)


def test_a_missing_tokenizer_is_refused(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(InvalidInputError, match=r"tokenizer\.json"):
        load_biomedclip(copy)


def test_a_source_is_a_folder_or_says_what_is_wanted(directory, tmp_path):
    assert locate_biomedclip(str(directory)) == directory
    assert locate_biomedclip(f"local-dir:{directory}") == directory
    with pytest.raises(InvalidInputError, match="there is no folder"):
        locate_biomedclip(str(tmp_path / "absent"))


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = (
        "from gpu_worker.encoders.biomedclip import locate_biomedclip\n"
        "from indexer_core.errors import InvalidInputError\n"
        "try: locate_biomedclip('hf-hub:nobody/nothing@main')\n"
        "except InvalidInputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be downloaded from the hub" in done.stdout
    assert done.stdout.count("\n") == 1
