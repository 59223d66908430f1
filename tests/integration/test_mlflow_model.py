"""MedImageInsight as a folder on this node: loaded by MLflow, and refused where it is not whole."""

import shutil

import numpy as np
import pytest

from gpu_worker.medimageinsight import mlflow_model
from gpu_worker.medimageinsight.mlflow_model import load_mlflow_model
from indexer_core.errors import InvalidInputError
from tests.support.mlflow_directory import DIMENSION, make_mlflow_directory

pytest.importorskip("mlflow", reason="a model folder needs MLflow, which is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_mlflow_directory(tmp_path_factory.mktemp("mlflow") / "model")


@pytest.fixture(scope="module")
def encoder(folder):
    return load_mlflow_model(folder, dimension=DIMENSION)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def weights(folder):
    [file] = folder.rglob("small-v1.pt")
    return file


def pictures(n):
    random = np.random.default_rng(4)
    return [random.random((20, 30), dtype=np.float32) for _ in range(n)]


def test_pictures_and_texts_become_unit_vectors_in_order(encoder):
    images = encoder.encode_slices(pictures(20))  # more than one call takes
    assert images.shape == (20, DIMENSION)
    assert images.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(images[17], encoder.encode_slices([pictures(20)[17]])[0], atol=1e-6)
    texts = encoder.encode_labels(["CT brain", "MRI knee", "CT brain"])
    np.testing.assert_array_equal(texts[0], texts[2])
    assert not np.allclose(texts[0], texts[1], atol=1e-3)
    assert encoder.encode_labels([]).shape == (0, DIMENSION)


def test_vectors_are_those_of_the_weights(encoder, folder):
    import torch

    state = torch.load(weights(folder), weights_only=True)
    codes = torch.zeros(1, 64)
    codes[0, :4] = torch.tensor([ord(letter) / 128 for letter in "knee"])
    normed = torch.nn.functional.layer_norm(
        codes, (64,), state["text.norm.weight"], state["text.norm.bias"]
    )
    raw = normed @ state["text.proj.weight"].T + state["text.proj.bias"]
    expected = torch.nn.functional.normalize(raw, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode_labels(["knee"]), expected, atol=1e-5)


def test_the_scale_is_the_exponential_of_what_the_model_tells(encoder):
    encoder.encode_labels(["a"])
    assert encoder.scale == pytest.approx(91.5, abs=0.1)


def test_other_weights_are_another_encoder(encoder, tmp_path):
    other = make_mlflow_directory(tmp_path / "other", seed=1)
    found = load_mlflow_model(other, dimension=DIMENSION)
    assert found.encoder_id != encoder.encoder_id
    assert found.encoder_id.startswith("medimageinsight/")
    assert (encoder.recipe.rows, encoder.recipe.columns) == (480, 480)
    assert encoder.encoder_id.endswith(f"/png8-v1-{encoder.recipe.recipe_id}")


def test_a_folder_without_weights_is_refused(copy):
    weights(copy).unlink()
    with pytest.raises(InvalidInputError, match="holds no weights"):
        load_mlflow_model(copy, dimension=DIMENSION)


def test_weights_that_nobody_trained_are_refused(tmp_path):
    random = make_mlflow_directory(tmp_path / "random", trained=False)
    with pytest.raises(InvalidInputError, match="random, not trained"):
        load_mlflow_model(random, dimension=DIMENSION)
    found = load_mlflow_model(random, dimension=DIMENSION, untrained_allowed=True)
    assert found.encode_labels(["a"]).shape == (1, DIMENSION)


def test_safetensors_by_another_name_are_looked_at_too(copy):
    import torch
    from safetensors.torch import save_file

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    (copy / "artifacts" / "extra.pt").unlink(missing_ok=True)
    save_file(model.state_dict(), copy / "artifacts" / "extra.pt")
    with pytest.raises(InvalidInputError, match=r"extra\.pt are random"):
        load_mlflow_model(copy, dimension=DIMENSION)


def test_damaged_weights_are_told(copy):
    weights(copy).write_bytes(weights(copy).read_bytes()[:1000])
    with pytest.raises(InvalidInputError, match="damaged"):
        load_mlflow_model(copy, dimension=DIMENSION)


def test_a_pickle_among_the_weights_is_not_run(copy, tmp_path):
    import pickle

    class Touch:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    (copy / "artifacts" / "evil.bin").write_bytes(pickle.dumps(Touch()))
    with pytest.raises(InvalidInputError, match=r"evil\.bin is damaged"):
        load_mlflow_model(copy, dimension=DIMENSION)
    assert not (tmp_path / "touched").exists()


def test_what_is_no_model_folder_is_told(tmp_path, copy):
    with pytest.raises(InvalidInputError, match="not the folder of an MLflow model"):
        load_mlflow_model(tmp_path)
    (copy / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    with pytest.raises(InvalidInputError, match="cannot be called from Python"):
        load_mlflow_model(copy)
    (copy / "MLmodel").write_text("flavors: [")
    with pytest.raises(InvalidInputError, match="not the folder of an MLflow model"):
        load_mlflow_model(copy)


def test_a_model_of_another_length_is_refused_when_it_is_loaded(folder):
    with pytest.raises(InvalidInputError, match="24 numbers, not 1024"):
        load_mlflow_model(folder)


def test_code_that_fails_is_told_without_what_it_said(copy):
    (copy / "python_model.pkl").write_bytes(b"broken")
    with pytest.raises(InvalidInputError, match="cannot be loaded") as caught:
        load_mlflow_model(copy, dimension=DIMENSION)
    assert "requirements.txt" in str(caught.value)


def test_its_makers_are_told_nothing(encoder):
    assert mlflow_model.os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
