"""Reductions over every spelling of axes, running products, and DFT."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.frontend.operators.reductions import REWRITES
from tests.abc_tvm.frontend.operators.judge import agrees
from tests.abc_tvm.frontend.operators.judge import model_of as one_node
from tests.abc_tvm.frontend.operators.judged import Case, agree, compiled, declared, refusal

KINDS = sorted(kind for kind in REWRITES if kind.startswith("Reduce"))
INTEGERS = ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ReduceL1")


def reduced(op_type: str, x: np.ndarray, axes: list[int] | None, opset: int, **attrs: int) -> Case:
    """A reduction with its axes where the opset has them; ``None`` leaves them out."""
    if axes is None:
        return Case(op_type, {"x": x}, {}, dict(attrs))
    if opset >= (13 if op_type == "ReduceSum" else 18):
        return Case(op_type, {"x": x}, {"axes": np.array(axes, np.int64)}, dict(attrs))
    return Case(op_type, {"x": x}, {}, {"axes": axes, **attrs})


@pytest.mark.parametrize("op_type", KINDS)
@pytest.mark.parametrize("opset", [9, 13, 18])
def test_axes(op_type: str, opset: int, rng: np.random.Generator) -> None:
    x = (np.abs(rng.standard_normal((2, 3, 4))) + 0.1).astype(np.float32)
    axes = [[0], [2], [0, 2], [0, 1, 2], None]
    if opset >= 11:
        axes += [[-1], [-3, -1], [2, 0]]
    cases = [reduced(op_type, x, which, opset, keepdims=keep) for which in axes for keep in (0, 1)]
    cases.append(reduced(op_type, x, [1], opset))  # keepdims is 1 where it is not given
    agree(cases, opset)


@pytest.mark.parametrize("op_type", KINDS)
def test_no_axes_are_all_or_none(op_type: str, rng: np.random.Generator) -> None:
    """An empty list is as if left out: then ``noop_with_empty_axes`` decides.

    Over no axes a sum of squares still squares, and a sum of sizes takes them.
    """
    x = rng.standard_normal((2, 3)).astype(np.float32)
    x = np.abs(x) if op_type == "ReduceLogSum" else x
    cases = [
        reduced(op_type, x, axes, 18, noop_with_empty_axes=noop)
        for axes in (None, [])
        for noop in (0, 1)
    ]
    agree(cases, 18)


@pytest.mark.parametrize("op_type", INTEGERS)
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_integers(op_type: str, kind: str, rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, (2, 3, 4)).astype(kind)
    if op_type == "ReduceProd":  # beyond its type onnxruntime goes by way of floats
        x = np.sign(x) * np.where(x % 4, 1, 2).astype(kind)
    if kind == "int64" and op_type in ("ReduceL1", "ReduceSumSquare"):
        x = x[:, :, :1]
        model = one_node(op_type, {"x": x}, {"axes": np.array([1])}, opset=18)
        agrees(model, {"x": x})
        return
    agree([reduced(op_type, x, axes, 18) for axes in ([1], [-1, 0], None)], 18)


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_bytes(op_type: str, kind: str) -> None:
    x = np.array([[0, 1, 127], [100, 2, 3]], kind)
    x[0, 0] = np.iinfo(kind).min
    agree([reduced(op_type, x, axes, 18, keepdims=0) for axes in ([0], [-1], None)], 18)


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
def test_bools(op_type: str) -> None:
    x = np.array([[True, False, True], [False, False, True]])
    agree([reduced(op_type, x, axes, 20, keepdims=0) for axes in ([0], [-1], None)], 20)


def test_infinite_values() -> None:
    x = np.float32([[np.inf, 1, -np.inf], [-np.inf, -np.inf, -np.inf], [3, 4, 5]])
    cases = [reduced(op_type, x, [1], 18) for op_type in ("ReduceMax", "ReduceMin", "ReduceL1")]
    agree(cases, 18)


def test_large_exponents_do_not_overflow() -> None:
    x = np.float32([[1000, 1000, 999], [-1000, -1001, -1000]])
    agree([reduced("ReduceLogSumExp", x, [1], 18, keepdims=keep) for keep in (0, 1)], 18)


def test_computed_axes_are_refused() -> None:
    x = {"x": np.ones((2, 3), np.float32), "axes": np.array([1], np.int64)}
    assert "axes that the model computes" in refusal(Case("ReduceSum", x), 13, [2])


def test_of_nothing_it_is_a_constant() -> None:
    """ONNX's neutral element; the tensor without elements is made and not given."""
    x = np.ones((2, 3), np.float32)
    for op_type, wanted in (("ReduceSum", 0), ("ReduceProd", 1), ("ReduceSumSquare", 0)):
        nodes = [
            helper.make_node("Slice", ["x", "start", "end", "axis"], ["none"]),
            helper.make_node(op_type, ["none", "axis"], ["sum"], name="node"),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ]
        stored = {"start": [1], "end": [1], "axis": [1]}
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
            [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in stored.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 10
        onnx.checker.check_model(model, full_check=True)
        np.testing.assert_array_equal(compiled(model).run({"x": x})["y"], x + wanted)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, -1, -2])
def test_running_sums_and_products(
    exclusive: int, reverse: int, axis: int, rng: np.random.Generator
) -> None:
    x = rng.integers(-3, 4, (3, 4)).astype(np.float32)
    attrs = {"exclusive": exclusive, "reverse": reverse}
    axes = {"axis": np.array(axis, np.int64)}
    agree([Case("CumSum", {"x": x}, axes, attrs)], 14)
    pytest.importorskip("onnx", minversion="1.20")
    model, feeds = declared(Case("CumProd", {"x": x}, axes, attrs), 26, [2])
    turned = np.flip(x, axis) if reverse else x
    wanted = np.cumprod(turned, axis, dtype=np.float32)
    if exclusive:
        first = np.ones_like(np.take(wanted, [0], axis))
        kept = np.take(wanted, range(wanted.shape[axis] - 1), axis)
        wanted = np.concatenate([first, kept], axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    np.testing.assert_array_equal(compiled(model).run(feeds)["y0"], wanted)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("half", [0, 1])
def test_dft(parts: int, half: int, rng: np.random.Generator) -> None:
    """Shorter and longer than the axis; one-sided of real tensors alone."""
    if half and parts == 2:
        pytest.skip("ONNX has one-sided transforms of real tensors only")
    x = rng.standard_normal((2, 8, 3, parts)).astype(np.float32)
    lengths = [None, 5, 8] if parts == 2 else [None, 5]
    cases = [
        Case(
            "DFT",
            {"x": x},
            {} if length is None else {"length": np.array(length, np.int64)},
            {"axis": axis, "onesided": half},
        )
        for length in lengths
        for axis in (1, -3)
    ]
    agree(cases, 17)
