"""QuantizeLinear and DequantizeLinear of every integer type, and layers behind them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import abc_tvm
from abc_tvm.frontend.operators.linear_quantization import RANGES
from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime, same

NARROW = {
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
    "int2": ml_dtypes.int2,
    "uint2": ml_dtypes.uint2,
}
SINCE = {"int8": 10, "uint8": 10, "int16": 21, "uint16": 21, "int4": 21, "uint4": 21}
SINCE |= {"int2": 25, "uint2": 25}


def dtype_of(kind: str) -> np.dtype:
    return np.dtype(NARROW.get(kind, kind))


def layer(
    kind: str,
    opset: int,
    *,
    float_weights: bool = False,
    axis: int | None = None,
    zero: int = 0,
    seed: int = 0,
) -> onnx.ModelProto:
    """A quantized activation and quantized weights of two bits, and their convolution."""
    rng = np.random.default_rng(seed)
    dtype = dtype_of(kind)
    low, high = RANGES[helper.np_dtype_to_tensor_dtype(dtype)]
    middle = 0 if low < 0 else min(zero + 2, high - 1)
    codes = rng.integers(middle - 2 + (kind == "uint2"), middle + 2, (32, 32, 3, 3))
    codes = np.clip(codes, low, high).astype(np.int32).astype(dtype)
    per_axis = axis is not None
    scale = np.float32(rng.uniform(0.1, 0.3, 32) if per_axis else 0.125)
    zeros = np.full(32 if per_axis else (), middle).astype(np.int32).astype(dtype)
    stored = {
        "a_scale": np.float32(0.4),
        "a_zero": np.array(zero).astype(np.int32).astype(dtype),
        "w_scale": np.asarray(scale),
        "w_zero": zeros,
        "codes": codes,
    }
    nodes = [helper.make_node("QuantizeLinear", ["x", "a_scale", "a_zero"], ["q"])]
    source = "q"
    if high > 15 and opset >= 12:
        stored["a_low"] = np.array(max(low, zero - 2)).astype(dtype)
        stored["a_high"] = np.array(zero + 1).astype(dtype)
        if kind in ("int8", "uint8"):
            nodes.append(helper.make_node("Clip", ["q", "a_low", "a_high"], ["c"]))
            source = "c"
    nodes.append(helper.make_node("DequantizeLinear", [source, "a_scale", "a_zero"], ["a"]))
    along = {"axis": axis} if per_axis else {}
    if float_weights:
        real = (codes.astype(np.float32) - middle) * (scale.reshape(-1, 1, 1, 1))
        stored["real"] = real + rng.uniform(-0.02, 0.02, real.shape).astype(np.float32)
        node = helper.make_node("QuantizeLinear", ["real", "w_scale", "w_zero"], ["codes"], **along)
        nodes.append(node)
        del stored["codes"]
    names = ["codes", "w_scale", "w_zero"]
    nodes.append(helper.make_node("DequantizeLinear", names, ["w"], **along))
    nodes.append(helper.make_node("Conv", ["a", "w"], ["y"], name="layer", pads=[1, 1, 1, 1]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, 6, 6])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 13 if opset >= 25 else 10
    return model


def judge(model: onnx.ModelProto, bits: int = 1) -> None:
    report = abc_tvm.inspect(model, lowering="bitserial")  # wherever it is possible at all
    low = [row for row in report if row.lowering in ("bitserial", "int8")]
    assert len(low) == bits, [(row.name, row.reason) for row in report]
    assert [row.name for row in report] == ["layer"]
    x = np.random.default_rng(1).standard_normal((1, 32, 6, 6)).astype(np.float32) * 2
    x[0, 0, 0] = [0.2, -0.2, 0.6, -0.0, 1e6, -1e6]  # ties, and what saturates
    wanted = run_onnxruntime(model, {"x": x})["y"]
    same(compiled(model).run({"x": x})["y"], wanted, "y")


@pytest.mark.parametrize("opset", [10, 11, 12, 13, 17, 19, 21, 23, 24])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_layers_of_every_opset(kind: str, opset: int) -> None:
    """Before opset 12 integers have no Clip, and so all 256 levels."""
    judge(layer(kind, opset, zero=0 if kind == "int8" else 2))


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("float_weights", [False, True])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int4", "uint4"])
def test_weights_by_scale_and_zero_point(kind: str, float_weights: bool, axis: int | None) -> None:
    zero = 1 if kind.startswith("u") else -1
    judge(layer(kind, 21, float_weights=float_weights, axis=axis, zero=zero))


@pytest.mark.parametrize("kind", sorted(SINCE))
@pytest.mark.parametrize("zero", [0, 1])
def test_there_and_back_again(kind: str, zero: int, rng: np.random.Generator) -> None:
    """Saturation, ties to the even integer, -0.0: as NumPy computes them, at every type."""
    dtype = dtype_of(kind)
    low, high = RANGES[helper.np_dtype_to_tensor_dtype(dtype)]
    x = np.concatenate([
        np.arange(low - 2, min(high, low + 300) + 2, 0.5), [1e9, -1e9, -0.0, 0.25, -0.25, -0.75],
        rng.standard_normal(99) * high,
    ]).astype(np.float32)  # fmt: skip
    scale = np.float32(0.5)
    stored = {"s": scale, "z": np.array(zero).astype(np.int32).astype(dtype)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()],
    )
    opset = max(SINCE[kind], 13)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 13 if opset >= 25 else 10
    wanted = (np.clip(np.rint(x / scale) + zero, low, high) - zero).astype(np.float32) * scale
    np.testing.assert_array_equal(compiled(model).run({"x": x})["y"], wanted)
    if kind in ("int8", "uint8", "int16", "uint16"):
        np.testing.assert_array_equal(run_onnxruntime(model, {"x": x})["y"], wanted)
