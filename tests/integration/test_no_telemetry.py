"""Nothing is sent: libraries that would report to their makers are kept from it."""

import os
import sys
from subprocess import run

import pytest

helper = pytest.importorskip("onnx.helper")
pytest.importorskip("onnxruntime")

USE = """
import sys
from pathlib import Path
from indexer_core.adapters.onnx_text import open_session
session = open_session(Path(sys.argv[1]).read_bytes())
print(session.run(None, {"x": [1.0, 2.0]})[0].tolist())
"""


def identity_model() -> bytes:
    numbers = [
        helper.make_tensor_value_info(name, helper.TensorProto.FLOAT, [2]) for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", numbers[:1], numbers[1:]
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return model.SerializeToString()


def test_running_an_exported_model_leaves_no_device_id_and_no_usage_data_behind(tmp_path):
    model, home = tmp_path / "identity.onnx", tmp_path / "home"
    model.write_bytes(identity_model())
    home.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    done = run(
        [sys.executable, "-c", USE, str(model)],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[1.0, 2.0]"
    assert [str(path) for path in home.rglob("*")] == []
