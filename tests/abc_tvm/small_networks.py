"""Small ONNX networks for the tests of the whole way from file to result."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def network(
    *, binary: bool = True, opset: int = 13, dims: tuple[Any, ...] = ("N", 8, 6, 6), op: str = ""
) -> onnx.ModelProto:
    """BN, sign, 3x3 convolution, sign, 1x1 convolution; real weights where not ``binary``."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> np.ndarray:
        if binary:
            return rng.choice([-0.5, 0.5], shape).astype(np.float32)
        return rng.standard_normal(shape).astype(np.float32)

    constants = {
        "scale": rng.uniform(0.5, 2, (1, 8, 1, 1)).astype(np.float32),
        "shift": rng.standard_normal((1, 8, 1, 1)).astype(np.float32),
        "w1": weight(16, 8, 3, 3),
        "w2": weight(4, 16, 1, 1),
    }
    step = "Sign" if binary else "Relu"
    nodes = [
        helper.make_node("Mul", ["input", "scale"], ["m"], name="bn_scale"),
        helper.make_node("Add", ["m", "shift"], ["a"], name="bn_shift"),
        helper.make_node(step, ["a"], ["s1"], name="act1"),
        helper.make_node("Conv", ["s1", "w1"], ["c1"], name="block/conv1", pads=[1, 1, 1, 1]),
        helper.make_node(step, ["c1"], ["s2"], name="act2"),
        helper.make_node("Conv", ["s2", "w2"], ["c2"], name="block/conv2"),
        helper.make_node(op or "Relu", ["c2"], ["output"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(dims))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [dims[0], 4, *dims[2:]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def chain(*channels: int) -> onnx.ModelProto:
    """Sign and 3x3 convolution, again and again, from one number of channels to the next."""
    rng = np.random.default_rng(4)
    nodes, weights, last = [], [], "input"
    for n, (cin, cout) in enumerate(itertools.pairwise(channels)):
        values = rng.choice([-1.0, 1.0], (cout, cin, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{n}"))
        nodes.append(helper.make_node("Sign", [last], [f"s{n}"]))
        last = f"c{n}"
        nodes.append(helper.make_node("Conv", [f"s{n}", f"w{n}"], [last], pads=[1, 1, 1, 1]))
    shape = TensorProto.FLOAT, [1, channels[0], 6, 6]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", *shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, channels[-1], 6, 6])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
