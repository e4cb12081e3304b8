"""Conv and ConvTranspose: every attribute, one to three dimensions, all floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from abc_tvm.frontend import simplify
from tests.abc_tvm.frontend.operators.judged import Case, agree, model_of, refusal


def draw(rng: np.random.Generator, op_type: str) -> Case:
    """A random convolution that onnxruntime takes."""
    dims = int(rng.integers(1, 4))
    size = [int(n) for n in rng.integers(4, 7, dims)]
    kernel = [int(n) for n in rng.integers(1, 4, dims)]
    strides = [int(n) for n in rng.integers(1, 4, dims)]
    groups, per_in, per_out = (int(n) for n in rng.integers(1, 4, 3))
    attrs: dict[str, Any] = {"group": groups, "strides": strides}
    auto_pad = str(rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad == "NOTSET":
        attrs["dilations"] = [1 if k > 2 else int(rng.integers(1, 3)) for k in kernel]
        attrs["pads"] = [int(n) for n in rng.integers(0, 3, 2 * dims)]
    else:
        attrs["auto_pad"] = auto_pad
    shape = (groups * per_out, per_in) if op_type == "Conv" else (groups * per_in, per_out)
    if op_type == "ConvTranspose" and auto_pad == "NOTSET":
        attrs["pads"] = [0] * 2 * dims
        attrs["output_padding"] = [int(rng.integers(0, s)) for s in strides]
        if rng.random() < 0.5:
            del attrs["output_padding"]
            pairs = zip(size, kernel, strides, attrs["dilations"], strict=True)
            full = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in pairs]
            attrs["output_shape"] = [
                max(n, f - int(rng.integers(0, 3))) for n, f in zip(size, full, strict=True)
            ]
    x = rng.standard_normal((2, groups * per_in, *size)).astype(np.float32)
    stored = {"w": rng.standard_normal((*shape, *kernel)).astype(np.float32)}
    if rng.random() < 0.5:
        stored["b"] = rng.standard_normal(groups * per_out).astype(np.float32)
    return Case(op_type, {"x": x}, stored, attrs)


@pytest.mark.sweep("number", short=range(1), full=range(30))
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("open_batch", [False, True])
def test_random(op_type: str, open_batch: bool, number: int) -> None:
    rng = np.random.default_rng([number, open_batch, len(op_type)])
    agree([draw(rng, op_type) for _ in range(8)], 11, open_batch=open_batch)


def test_auto_pad_becomes_pads(rng: np.random.Generator) -> None:
    """As the passes want it: the padding is the convolution's own."""
    x = rng.standard_normal((1, 2, 6, 6)).astype(np.float32)
    stored = {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32)}
    cases = [
        Case("Conv", {"x": x}, stored, {"auto_pad": auto_pad, "strides": [2, 2]})
        for auto_pad in ("SAME_UPPER", "SAME_LOWER")
    ]
    model, _ = model_of(cases, 13)
    nodes = simplify(model).graph.node
    assert [node.op_type for node in nodes] == ["Conv", "Conv"]
    pads = [onnx.helper.get_node_attr_value(node, "pads") for node in nodes]
    assert pads == [[0, 0, 1, 1], [1, 1, 0, 0]]


def test_a_plain_convolution_is_left_alone(rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 2, 6, 6)).astype(np.float32)
    stored = {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32)}
    model, _ = model_of([Case("Conv", {"x": x}, stored, {"pads": [1, 1, 1, 1]})], 13)
    assert simplify(model).graph.node[0] == model.graph.node[0]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_of_other_floats_keep_their_type(rng: np.random.Generator, dtype: str) -> None:
    """Weights of two values too, which float32 would take for planes of bits."""
    x = np.sign(rng.standard_normal((1, 4, 5, 5))).astype(dtype)
    weight = np.sign(rng.standard_normal((3, 4, 3, 3))).astype(dtype)
    bias = rng.standard_normal(3).astype(dtype)
    model, feeds = _float32_model(x, weight, bias)
    from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime, same

    single, _ = _float32_model(*(a.astype(np.float32) for a in (x, weight, bias)))
    wanted = run_onnxruntime(single, {"x": x.astype(np.float32)})["y"]
    same(compiled(model).run(feeds)["y"], wanted.astype(dtype), dtype)


def _float32_model(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])],
        "g",
        [onnx.helper.make_tensor_value_info("x", kind, x.shape)],
        [onnx.helper.make_tensor_value_info("y", kind, [1, 3, 5, 5])],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model, {"x": x}


def test_refusals(rng: np.random.Generator) -> None:
    x = {"x": rng.standard_normal((1, 2, 4, 4)).astype(np.float32)}
    wide = {"w": rng.standard_normal((3, 2, 5, 5)).astype(np.float32)}
    assert "window of 5 on an axis of 4" in refusal(Case("Conv", x, wide), 13)
    small = {"w": rng.standard_normal((2, 3, 1, 1)).astype(np.float32)}
    pads = Case("ConvTranspose", x, small, {"pads": [2, 0, 2, 0]})
    assert "pads away all 4 of its output" in refusal(pads, 13)
