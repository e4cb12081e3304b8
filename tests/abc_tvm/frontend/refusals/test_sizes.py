"""Tensors that are too large are refused by name, before anything is as large."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.inferred import Dims
from abc_tvm.frontend.refusals.sizes import (
    MOST_ELEMENTS,
    SPARE,
    TIMES,
    bytes_of,
    check_sizes,
    most_constant_bytes,
)

LIMIT = (SPARE + TIMES * 12) // 4
"""Elements of a constant in the models below, which store 12 bytes."""


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    stored = numpy_helper.from_array(np.float32([1, 2, 3]), "k")
    return helper.make_model(helper.make_graph(list(nodes), "g", [value], [], [stored]))


def check(shape: tuple[int | None, ...], source: str = "x", op_type: str = "F") -> None:
    """One node that reads ``source`` and makes a tensor of a shape."""
    node = helper.make_node(op_type, [source], ["y"], name="node")
    check_sizes(model(node), Dims({"x": (None,), "y": shape}), "m.onnx")


def test_what_a_run_makes() -> None:
    check((MOST_ELEMENTS,))
    check((None, MOST_ELEMENTS))
    check(())
    with pytest.raises(UnsupportedError) as caught:
        check((None, 2, MOST_ELEMENTS // 2 + 1))
    assert str(caught.value) == (
        "m.onnx: node 'node': operator F has 2,147,483,648 elements, more than the 2,147,483,647 "
        "that kernels count to; make the tensor or the batch smaller"
    )


def test_what_a_run_takes() -> None:
    with pytest.raises(UnsupportedError, match=r"m: input 'x' has 2,147,483,648 elements"):
        check_sizes(model(), Dims({"x": (2**31,)}), "m")
    check_sizes(model(), Dims({}), "m")


def test_a_constant_is_bounded_by_what_the_model_stores() -> None:
    assert most_constant_bytes(model()) == SPARE + TIMES * 12
    check((LIMIT,), "k")
    check((LIMIT + 1,), "x")
    with pytest.raises(UnsupportedError, match=f"makes a constant of {LIMIT + 1:,} elements, and"):
        check((LIMIT + 1,), "k")


def test_a_constant_of_a_constant() -> None:
    nodes = [helper.make_node("F", ["k"], ["a"]), helper.make_node("F", ["a"], ["y"], name="node")]
    with pytest.raises(UnsupportedError, match="node 'node': operator F makes a constant"):
        check_sizes(model(*nodes), Dims({"a": (3,), "y": (LIMIT + 1,)}), "m")


def test_nothing_to_compute() -> None:
    with pytest.raises(UnsupportedError, match=r"makes a tensor \[2, 0\] without any element"):
        check((2, 0))
    check((2, 0), "k")
    with pytest.raises(UnsupportedError, match="without any element"):
        check((0,), "k", "RandomNormalLike")


def test_bytes_of_a_stored_tensor() -> None:
    assert bytes_of(numpy_helper.from_array(np.zeros((2, 3), np.int64))) == 48
    assert bytes_of(numpy_helper.from_array(np.float16(1))) == 2
    assert bytes_of(numpy_helper.from_array(np.zeros((0, 3), np.int8))) == 0
