"""An ONNX graph in torch computes what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import frontend, zoo
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.errors import UnsupportedError

pytest.importorskip("torch")

from abc_tvm.engines.torch_engine import OPERATORS, TorchEngine


def graph(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 9, 7])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def both(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    wanted = OnnxEngine(model, optimise=False).run(inputs)
    found = TorchEngine(model, inputs).run(inputs)
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        # Two libraries add the products of a float32 convolution in different orders.
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


W = np.random.default_rng(1).standard_normal((6, 2, 3, 3)).astype(np.float32)
ONES = np.ones(4, np.float32)
NODES: dict[str, tuple[str, dict[str, Any], dict[str, np.ndarray]]] = {
    "conv, even pads": ("Conv", {"pads": [1, 2, 1, 2], "group": 2, "strides": [2, 1]}, {"w": W}),
    "conv, uneven pads": ("Conv", {"pads": [0, 1, 2, 1], "group": 2}, {"w": W}),
    "conv, dilation": ("Conv", {"dilations": [2, 2], "group": 2}, {"w": W}),
    "max pool": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}, {}),
    "max pool, uneven": ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, {}),
    "max pool, ceil": (
        "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, {}
    ),
    "average pool": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}, {}),
    "flatten": ("Flatten", {"axis": 2}, {}),
    "transpose": ("Transpose", {"perm": [0, 2, 3, 1]}, {}),
    "softmax": ("Softmax", {"axis": 1}, {}),
    "reshape": ("Reshape", {}, {"s": np.array([0, -1, 7])}),
    "clip": ("Clip", {}, {"low": np.float32(-0.5), "high": np.float32(0.25)}),
    "round": ("Round", {}, {}),
    "mean": ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, {}),
    "mean of everything": ("ReduceMean", {}, {}),
    "prelu": ("PRelu", {}, {"slope": np.float32([[[0.1]], [[-2.0]], [[0.0]], [[1.0]]])}),
    **{kind: (kind, {}, {}) for kind in ("Abs", "Floor", "Neg", "Relu", "Sigmoid", "Sign", "Tanh")},
    "batch norm": (
        "BatchNormalization",
        {"epsilon": 1e-3},
        {"a": ONES * 2, "b": ONES, "m": ONES, "v": ONES * 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NODES)
def test_operators(case: str, rng: np.random.Generator) -> None:
    kind, attributes, constants = NODES[case]
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    x = rng.standard_normal((2, 4, 9, 7)).astype(np.float32)
    x[0, 0, 0, :3] = [0.5, 1.5, -2.5]  # ties of Round
    both(graph([node], constants), {"x": x})


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "float resnet8": lambda: zoo.build_float("resnet8", batch=1),
    "ABC lenet": lambda: zoo.build("lenet", 2, 2, batch=1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, rng: np.random.Generator) -> None:
    model = frontend.simplify(frontend.standard_onnx(NETWORKS[name]()))
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    both(model, {"input": rng.standard_normal(shape).astype(np.float32)})


def test_an_operator_that_is_missing_is_named() -> None:
    assert "Erf" not in OPERATORS
    model = graph([helper.make_node("Erf", ["x"], ["y"], name="gelu")], {})
    with pytest.raises(UnsupportedError, match="node 'gelu': the engine has no operator Erf"):
        TorchEngine(model, {"x": np.zeros((2, 4, 9, 7), np.float32)})
