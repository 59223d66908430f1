"""The map's encoder as an ONNX model, for programs that run neither numpy nor this package.

Written operator by operator from the projector: no exporter, no torch, and the same bytes for the
same projector.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from indexer_core.projector import Activation, Layer, Projector

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "vectors", "points"


def onnx_of(projector: Projector) -> bytes:
    """A model from ``vectors`` (float32, n x dimension) to ``points`` (float32, n x 2).

    Its points are not rounded to the projector's grid, so they differ from published ones by up
    to half a grid step and the error of single precision.
    """
    graph = _Graph()
    centred = graph.add("Sub", INPUT, graph.constant(projector.mu))
    x = graph.add("Div", centred, graph.constant(np.float32(projector.scale)))
    for layer in projector.layers:
        x = graph.layer(x, layer)
    graph.nodes.append(helper.make_node("Identity", [x], [OUTPUT]))
    shapes = ((INPUT, projector.dimension), (OUTPUT, 2))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])]
        for name, width in shapes
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "map", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="dicom-indexer",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(
        model, {"version": projector.version, "encoder_id": projector.encoder_id}
    )
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.constants: list[object] = []

    def constant(self, value: NDArray[np.float32] | np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: int) -> str:
        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def layer(self, x: str, layer: Layer) -> str:
        weight, bias = self.constant(layer.weight), self.constant(layer.bias)
        y = self._activated(self.add("Gemm", x, weight, bias, transB=1), layer.activation)
        return self.add("Add", x, y) if layer.residual else y

    def _activated(self, x: str, activation: Activation) -> str:
        if activation is Activation.RELU:
            return self.add("Relu", x)
        if activation is Activation.GELU_TANH:
            return self._gelu(x)
        return x

    def _gelu(self, x: str) -> str:
        """Opset 17 has no such operator, so that old runtimes can run it."""
        cube = self.add("Mul", self.add("Mul", x, x), x)
        inner = self.add("Add", x, self.add("Mul", cube, self._number(0.044715)))
        bent = self.add("Tanh", self.add("Mul", inner, self._number(np.sqrt(2 / np.pi))))
        half = self.add("Mul", x, self._number(0.5))
        return self.add("Mul", half, self.add("Add", bent, self._number(1.0)))

    def _number(self, value: float) -> str:
        return self.constant(np.float32(value))
