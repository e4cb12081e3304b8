"""NaN, infinity, tensors that are too large, and weights that contradict their node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import abc_tvm
from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend import simple_onnx
from abc_tvm.frontend.fold import fold_constants

INF, NAN = float("inf"), float("nan")


def model(
    *nodes: onnx.NodeProto,
    opset: int = 13,
    dims: tuple[Any, ...] = (1, 4, 6, 6),
    **constants: Any,
) -> onnx.ModelProto:
    """A graph from ``x`` to ``y`` with constants by name."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.FLOAT, [f"d{i}" for i in range(len(dims))]
            )
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(","), [output], name=f"the_{op}", **attributes)


def weight(value: float, shape: tuple[int, ...] = (3, 4, 3, 3)) -> np.ndarray:
    array = np.ones(shape, np.float32)
    array.flat[array.size // 2] = value
    return array


def f32(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


BN = node("BatchNormalization", "x,s,b,m,v")
GOOD = {"s": f32(1, 1, 1, 1), "b": f32(0, 0, 0, 0), "m": f32(0, 0, 0, 0), "v": f32(1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (model(node("Conv", "x,w"), w=weight(NAN)), "'w' holds NaN"),
        (model(node("Conv", "x,w"), w=weight(INF)), "'w' holds infinity"),
        (model(node("Conv", "x,w,b"), w=weight(1), b=f32(0, NAN, 0)), "'b' holds NaN"),
        (model(node("Add", "x,c"), c=f32(-INF)), "'c' holds infinity"),
        (model(node("Mul", "x,c"), c=f32(NAN)), "'c' holds NaN"),
        (model(node("Clip", "x,c"), c=np.float32(NAN)), "'c' holds NaN"),
        (model(BN, **{**GOOD, "s": f32(1, NAN, 1, 1)}), "'s' holds NaN"),
        (model(BN, **{**GOOD, "v": f32(1, -1, 1, 1)}), "variance 'v' plus epsilon is not"),
        (model(node("LeakyRelu", "x", alpha=NAN)), "the_LeakyRelu.*alpha holds NaN"),
        (model(node("Max", "x,c"), c=f32(INF)), "the_Max.*'c' holds a lower bound of inf"),
        (model(node("Min", "x,c"), c=f32(-INF)), "the_Min.*'c' holds an upper bound of -inf"),
        (model(node("Clip", "x,c"), c=np.float32(INF)), "the_Clip.*'c' holds a lower bound of inf"),
        (model(node("Elu", "x", alpha=INF)), "the_Elu.*alpha holds infinity"),
        (model(node("Constant", "", "c", value_float=NAN), node("Add", "x,c")), "holds NaN"),
        # What becomes infinite, or NaN, only when it is computed.
        (model(node("Div", "a,z", "c"), node("Mul", "x,c"), a=f32(1), z=f32(0)), "'c' holds inf"),
        (model(node("Log", "a", "c"), node("Mul", "x,c"), a=f32(-1)), "'c' holds NaN"),
        # A padded infinity that a convolution would multiply.
        (
            model(
                node("Pad", "x,p,v", "t"), node("Conv", "t,w"),
                p=np.int64([0, 0, 1, 1, 0, 0, 1, 1]), v=np.float32(-INF), w=weight(1),
            ),
            "'v' holds infinity",
        ),
    ],
)  # fmt: skip
def test_what_is_not_finite_is_refused_by_name(made: onnx.ModelProto, named: str) -> None:
    made.graph.node[0].input[:] = [n for n in made.graph.node[0].input if n]
    with pytest.raises(ModelError, match=named):
        simple_onnx(made)


PADS = np.int64([0, 0, 1, 1, 0, 0, 1, 1])


@pytest.mark.parametrize(
    "made",
    [
        model(node("Clip", "x,low,high"), low=np.float32(-INF), high=np.float32(INF)),
        model(node("Clip", "x", min=-INF, max=1.0), opset=9),
        model(node("Max", "x,c"), c=f32(-INF)),
        model(
            node("Pad", "x,p,v", "t"), node("MaxPool", "t", kernel_shape=[3, 3]),
            p=PADS, v=np.float32(-INF),
        ),
        model(node("Add", "x,mask", "t"), node("Softmax", "t"), mask=f32(0, 0, -INF, 0, 0, -INF)),
        model(
            node("Where", "c,x,low", "t"), node("Softmax", "t"),
            c=np.array([True] * 5 + [False]), low=np.float32(-INF),
        ),
    ],
)  # fmt: skip
def test_infinity_as_a_bound_is_right(made: onnx.ModelProto, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)
    wanted = onnx.reference.ReferenceEvaluator(made).run(None, {"x": x})[0]
    abc_tvm.compile(made).save(tmp_path / "m.so")
    got = abc_tvm.load(tmp_path / "m.so", threads=1).run(x)["y"]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def shaped(op: str, shape: list[int]) -> onnx.ModelProto:
    data = "" if op == "ConstantOfShape" else "one,"
    return model(
        node(op, f"{data}n", "c"), node("ReduceMax", "c", "t", keepdims=0), node("Add", "x,t"),
        one=f32(1).reshape(1, 1), n=np.int64(shape),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (model(node("Relu", "x"), dims=(1 << 40, 4, 5, 5)), "input 'x' has 109,951,162,777,600"),
        (model(node("Relu", "x"), dims=(1 << 60, 1 << 60)), "input 'x' has"),
        (model(node("Expand", "x,n"), n=np.int64([1 << 24, 4, 6, 6])), "the_Expand.* elements"),
        (model(node("Tile", "x,n"), n=np.int64([1 << 20, 1, 6, 600])), "the_Tile.* elements"),
        (shaped("ConstantOfShape", [1 << 15, 1 << 15]), "makes a constant of 1,073,741,824"),
        (shaped("Expand", [1 << 15, 1 << 15]), "makes a constant of 1,073,741,824"),
        (shaped("Tile", [1 << 15, 1 << 15]), "makes a constant of 1,073,741,824"),
        (
            model(
                node("Greater", "x,none", "t"),
                node("Cast", "t", to=1),
                dims=(5, 2, 6, 1),
                none=f32(),
            ),
            "without any element",
        ),
    ],
)
def test_sizes_are_refused_with_numbers(made: onnx.ModelProto, word: str) -> None:
    with pytest.raises((UnsupportedError, ModelError), match=word):
        simple_onnx(made)


def test_a_batch_that_no_kernel_counts_to_is_refused() -> None:
    made = model(node("Relu", "x"), dims=("N", 4, 6, 6))
    with pytest.raises(UnsupportedError, match="has 14,400,000,000 elements"):
        simple_onnx(made, batch=100_000_000)


def test_many_small_constants_are_no_large_one() -> None:
    """Each is below the bound, and together they are not."""
    nodes = [node("Expand", "one,n", f"c{i}") for i in range(64)]
    made = model(*nodes, one=f32(1), n=np.int64([1 << 20]))
    fold_constants(made)
    assert 0 < sum(n.op_type == "Expand" for n in made.graph.node) < 64


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (model(node("Conv", "x,w", group=0), w=weight(1)), "group is 0"),
        (model(node("Conv", "x,w", group=2), w=weight(1, (4, 4, 3, 3))), "take 8"),
        (model(node("Conv", "x,w", group=4), w=weight(1, (3, 1, 3, 3))), "3 channels cannot"),
        (model(node("Conv", "x,w"), w=weight(1, (3, 5, 3, 3))), "4 channels.* take 5"),
        (model(node("Conv", "x,w,b"), w=weight(1), b=f32(1, 2)), r"bias is \[2\] for 3"),
        (model(node("Conv", "x,w", kernel_shape=[1, 1]), w=weight(1)), "kernel_shape"),
        (model(node("Conv", "x,w", strides=[0, 1]), w=weight(1)), "stride"),
        (
            model(node("ConvTranspose", "x,w,b"), w=weight(1, (4, 3, 2, 2)), b=f32(1)),
            r"bias is \[1\] for 3",
        ),
        (model(BN, **{**GOOD, "m": f32(1, 2, 3)}), r"'m' is \[3\] for 4|[Mm]ismatch"),
    ],
)
def test_contradicting_sizes_are_refused(made: onnx.ModelProto, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        simple_onnx(made)
