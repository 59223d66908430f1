"""A second text encoder in exported form: the mean of one random vector per token."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from indexer_core.adapters.onnx_text import MANIFEST_NAME, MODEL_NAME, TOKENIZER_NAME

DIMENSION = 24
_OPSET = 17


def write_bag_of_words(folder: Path, tokenizer: Path, seed: int = 1) -> str:
    """Write an export that uses the vocabulary of another encoder; its encoder id."""
    tokenizer_json = tokenizer.read_bytes()
    n_tokens = max(json.loads(tokenizer_json)["model"]["vocab"].values()) + 1
    model = _model(n_tokens, seed)
    encoder_id = f"bag-of-words/{sha256(model).hexdigest()[:12]}/mean-l2"
    folder.mkdir(parents=True)
    (folder / MODEL_NAME).write_bytes(model)
    (folder / TOKENIZER_NAME).write_bytes(tokenizer_json)
    manifest = {
        "format_version": 1,
        "encoder_id": encoder_id,
        "dimension": DIMENSION,
        "max_tokens": 64,
        "sha256": {
            MODEL_NAME: sha256(model).hexdigest(),
            TOKENIZER_NAME: sha256(tokenizer_json).hexdigest(),
        },
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return encoder_id


def _model(n_tokens: int, seed: int) -> bytes:
    table = np.random.default_rng(seed).standard_normal((n_tokens, DIMENSION)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["tokens", "weights"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embeddings"], axis=-1, p=2),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", DIMENSION])
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([-1], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "middle"),
    ]
    graph = helper.make_graph(nodes, "bag_of_words", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
