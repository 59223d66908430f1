"""An exported image tower is the tower: the same vectors, without torch, and only of its slices."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from gpu_worker.encoders.biomedclip import load_biomedclip
from gpu_worker.encoders.export_image import export_image_tower
from gpu_worker.encoders.onnx_image import MODEL_NAME, OnnxImageEncoder, read_image_export
from gpu_worker.encoders.torch_image import TorchImageEncoder
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.pixels.recipe import PixelRecipe
from tests.support.clip_directory import make_clip_directory

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)
RECIPE = PixelRecipe(rows=48, columns=40)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return load_biomedclip(make_clip_directory(tmp_path_factory.mktemp("clip") / "model")).image


@pytest.fixture(scope="module")
def made(tower, tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "export"
    export_image_tower(tower, folder, RECIPE)
    return folder


@pytest.fixture
def export(made, tmp_path):
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def stacks(seed=0, shape=(48, 40)):
    random = np.random.default_rng(seed)
    return [random.random((n, *shape), dtype=np.float32) for n in (3, 1, 20, 2)]


def test_vectors_and_id_are_those_of_torch_whatever_the_batches(tower, export):
    in_torch = TorchImageEncoder(tower, recipe=RECIPE)
    encoder = OnnxImageEncoder.load(export)
    assert (encoder.encoder_id, encoder.dimension) == (in_torch.encoder_id, in_torch.dimension)
    found = encoder.encode(stacks())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_torch.encode(stacks()), atol=1e-5)
    alone = np.vstack([encoder.encode([stack]) for stack in stacks()])
    np.testing.assert_allclose(found, alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_it_needs_no_torch(export):
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from gpu_worker.encoders.onnx_image import OnnxImageEncoder\n"
        f"encoder = OnnxImageEncoder.load(Path({str(export)!r}))\n"
        "print(encoder.encode([np.zeros((1, 48, 40), np.float32)]).shape, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32) False"


def test_slices_of_another_recipe_are_refused(export):
    with pytest.raises(InvalidInputError, match="takes slices of"):
        OnnxImageEncoder.load(export).encode(stacks(shape=(40, 48)))


def test_an_export_says_by_which_recipe_and_one_that_is_prepared_for_otherwise_is_refused(export):
    assert OnnxImageEncoder.load(export).recipe == RECIPE
    path = export / "encoder.json"
    path.write_text(path.read_text().replace(RECIPE.recipe_id, "px1-0123456789ab"))
    with pytest.raises(InvalidInputError, match="another version of this program"):
        OnnxImageEncoder.load(export)


def test_a_damaged_export_is_refused(export):
    model = bytearray((export / MODEL_NAME).read_bytes())
    model[len(model) // 2] ^= 1
    (export / MODEL_NAME).write_bytes(model)
    with pytest.raises(CorruptIndexError, match="wrong sha256"):
        read_image_export(export)
    (export / MODEL_NAME).unlink()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_image_export(export)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"format_version": 2}, InvalidInputError),
        ({"kind": "text"}, CorruptIndexError),
        ({"dimension": "32"}, CorruptIndexError),
        ({"sha256": None}, CorruptIndexError),
    ],
)
def test_a_manifest_that_is_not_of_this_format_is_refused(export, changed, error):
    path = export / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(error):
        read_image_export(export)


def test_an_export_that_is_not_the_tower_is_never_given_its_name(tower, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gpu_worker.encoders.export_image._resizing",
        lambda size, wanted: __import__("torch").rand(wanted, size),
    )
    with pytest.raises(InvalidInputError, match="differs from torch"):
        export_image_tower(tower, tmp_path / "export", RECIPE)
    assert list(tmp_path.iterdir()) == []
