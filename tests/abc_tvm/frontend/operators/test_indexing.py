"""Indices: negative, scalar, stored and computed; and never outside the tensor."""

from __future__ import annotations

import numpy as np
import pytest

import abc_tvm
from abc_tvm import frontend
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.frontend.operators.judge import agrees, model_of
from tests.operators.judge import in_memory

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("index", [2, -3, [0], [-1, 2], [[0, -3], [1, 1]]])
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("opset", [9, 13])
def test_gather(index: object, dtype: type, stored: bool, opset: int) -> None:
    i = np.asarray(index, dtype)
    given = {"x": X} if stored else {"x": X, "i": i}
    model = model_of("Gather", given, {"i": i} if stored else None, opset=opset, axis=1)
    agrees(model, given)


@pytest.mark.parametrize("index", [3, -4, [0, 100_000], [[0, 1], [2, -99]]])
def test_a_stored_index_outside_the_axis_is_refused(index: object) -> None:
    model = model_of("Gather", {"x": X}, {"i": np.asarray(index, np.int64)}, axis=1)
    with pytest.raises(
        UnsupportedError, match=r"node 'node': operator Gather reads index -?\d+ of"
    ):
        frontend.simple_onnx(model)


@pytest.mark.parametrize("op_type", ["Gather", "GatherElements", "GatherND"])
def test_a_computed_index_outside_reads_inside(op_type: str) -> None:
    i = np.array([[1, 5, -9, 2**40]], np.int64).T.repeat(3, 1)
    attrs = {} if op_type == "GatherND" else {"axis": 0}
    model = model_of(op_type, {"x": X[0], "i": i[:, :2] if op_type == "GatherND" else i}, **attrs)
    given = {"x": X[0], "i": i[:, :2] if op_type == "GatherND" else i}
    (found,) = in_memory(model).run(given).values()
    assert np.isin(found, X[0]).all()


@pytest.mark.parametrize("op_type", ["ScatterElements", "ScatterND"])
def test_a_computed_index_outside_writes_inside(op_type: str) -> None:
    i = np.array([[7, -8, 1, 2**40]], np.int64)
    updates = np.full((1, 4), -1, np.float32)
    if op_type == "ScatterND":
        i, updates = i.reshape(4, 1), np.full((4, 4), -1, np.float32)
    given = {"x": X[0], "i": i, "u": updates}
    model = model_of(op_type, given, opset=18)
    (found,) = in_memory(model).run(given).values()
    assert np.isin(found[found != -1], X[0]).all()
    assert found.shape == X[0].shape


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("keep", [0, 1])
def test_ties_of_arg_extremes(op_type: str, last: int, keep: int) -> None:
    x = np.array([[2, 1, 2, 1], [0, 0, 0, 0]], np.float32)
    model = model_of(op_type, {"x": x}, axis=-1, select_last_index=last, keepdims=keep)
    agrees(model, {"x": x})


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.float64, np.int8])
def test_one_hot_keeps_the_type_of_its_values(axis: int, kind: type) -> None:
    i, values = np.array([[1, -1, 9, -9]], np.int64), np.array([2, 5], kind)
    stored = {"depth": np.asarray(4, np.int64), "values": values}
    agrees(model_of("OneHot", {"i": i}, stored, axis=axis), {"i": i})


def test_results_of_unknown_size_are_refused() -> None:
    for op_type in ("NonZero", "Unique"):
        with pytest.raises(UnsupportedError, match="whose size only its run decides"):
            frontend.simple_onnx(model_of(op_type, {"x": X}))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("order", [0, 1])
def test_the_first_of_top_k(dtype: type, axis: int, largest: int, order: int) -> None:
    """Of equal values the first one is chosen."""
    x = np.random.default_rng(0).integers(0, 4, (3, 5, 6)).astype(dtype)
    facts = {"axis": axis, "largest": largest, "sorted": order}
    agrees(model_of("TopK", {"x": x}, {"k": np.array([1])}, outputs=2, opset=13, **facts), {"x": x})


def test_the_first_of_top_k_in_c() -> None:
    """It needs no sorting, and no runtime."""
    model = model_of("TopK", {"x": X}, {"k": np.array([1])}, outputs=2, opset=13)
    assert abc_tvm.compile_c(model, "native", name="net") is not None
