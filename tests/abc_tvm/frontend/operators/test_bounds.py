"""What an operator asks to be stored is bounded before it is computed, and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import abc_tvm
from abc_tvm.errors import UserError
from tests.abc_tvm.frontend.operators.judge import agrees


def stored(op_type: str, shape: tuple[int, ...], tensors: list[np.ndarray], **attrs: Any) -> Any:
    """One node ``n`` that reads ``x`` of a shape, where that is not empty, and stored tensors."""
    names = ["x"] * bool(shape) + [f"t{i}" if t.size else "" for i, t in enumerate(tensors)]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], name="n", **attrs)],
        "g",
        [helper.make_tensor_value_info("x", 1, shape or (1,))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(t, f"t{i}") for i, t in enumerate(tensors) if t.size],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].type.tensor_type.elem_type = 1
    return model


NONE = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    "model",
    [
        stored("Resize", (1, 1, 4, 4), [NONE, NONE, np.array([1, 1, 2**25, 2**25])]),
        stored("Resize", (1, 4, 4, 4), [NONE, np.array([1, 1, 1e9, 1e9], np.float32)]),
        stored("Resize", (1, 1, 4, 4), [NONE, NONE, np.array([1, 1, 4, 2**27])], mode="linear"),
        stored("OneHot", (4,), [np.array(2**40), np.array([0, 1], np.float32)]),
        stored("DFT", (1, 16, 1), [np.array(2**30)]),
        stored("HannWindow", (), [np.array(2**34)]),
        stored("HammingWindow", (), [np.array(2**34)]),
        stored("BlackmanWindow", (), [np.array(2**34)]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_what_is_too_large_is_refused_by_name(model: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match=r"elements, more than the "):
        abc_tvm.compile(model)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (stored("LpPool", (1, 1, 4, 4), [], kernel_shape=[2, 2], p=0), "LpPool has p = 0"),
        (stored("CumSum", (2, 3), [np.array(7)]), "CumSum sums up axis 7 of 2"),
        (stored("Slice", (6,), [np.array([n]) for n in (0, 6, 0, -(2**63))]), "Slice has steps"),
    ],
)
def test_what_makes_no_sense_is_named(model: onnx.ModelProto, words: str) -> None:
    with pytest.raises(UserError, match=words):
        abc_tvm.compile(model)


@pytest.mark.parametrize("size", [5, 7, 64, 2**31 - 1])
def test_lrn_over_more_channels_than_there_are(size: int) -> None:
    x = np.arange(-8, 8, dtype=np.float32).reshape(1, 4, 2, 2)
    model = stored("LRN", x.shape, [], size=size, alpha=0.5, beta=0.5, bias=2.0)
    total = np.zeros_like(x)
    for channel in range(4):
        low, high = max(0, channel - (size - 1) // 2), min(3, channel + size // 2)
        total[:, channel] = (x[:, low : high + 1] ** 2).sum(1)
    agrees(model, {"x": x}, [x / np.sqrt(2 + 0.5 * total / size)], rtol=1e-6)
