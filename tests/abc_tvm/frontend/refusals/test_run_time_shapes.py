"""Shapes that only a run decides are refused by name; what shapes alone decide is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.refusals.run_time_shapes import (
    BROADCASTING,
    SHAPING,
    check_known_shapes,
    check_run_time_shapes,
)


def model(
    *nodes: onnx.NodeProto, x: list[int | str] | None = None, z: list[int | str] | None = None
) -> onnx.ModelProto:
    """``x`` and ``z`` are floats, ``n`` integers that a run gives; ``k`` is stored."""
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, x or [2, 3]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, z or [1]),
        helper.make_tensor_value_info("n", TensorProto.INT64, [1]),
    ]
    stored = [numpy_helper.from_array(np.array([1]), "k")]
    graph = helper.make_graph(list(nodes), "g", values, [onnx.ValueInfoProto(name="y")], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def node(op_type: str, inputs: str, out: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [out], name="node", **attrs)


@pytest.mark.parametrize(
    ("op_type", "index"), [(op, index) for op, places in SHAPING.items() for index in places]
)
def test_what_decides_a_shape(op_type: str, index: int) -> None:
    inputs = ["x", *["k"] * 4][: max(SHAPING[op_type]) + 1] if 0 not in SHAPING[op_type] else []
    inputs = inputs or ["k"] * (max(SHAPING[op_type]) + 1)
    check_run_time_shapes(model(node(op_type, " ".join(inputs))), "m")
    inputs[index] = "n"
    with pytest.raises(UnsupportedError) as caught:
        check_run_time_shapes(model(node(op_type, " ".join(inputs))), "m")
    assert str(caught.value) == (
        f"m: node 'node': operator {op_type} computes its {SHAPING[op_type][index]} at run time "
        "from 'n'; export it as a constant"
    )


def test_it_is_followed_through_the_graph() -> None:
    with pytest.raises(UnsupportedError, match="computes its shape at run time from 'b'"):
        check_run_time_shapes(
            model(node("Neg", "n", "a"), node("Abs", "a", "b"), node("Reshape", "x b")), "m"
        )


def test_a_shape_of_what_is_computed_is_no_number_of_a_run() -> None:
    nodes = [node("Relu", "x", "a"), node("Shape", "a", "s"), node("Reshape", "x s")]
    check_run_time_shapes(model(*nodes, x=["N", 3]), "m")
    with pytest.raises(UnsupportedError, match="computes its repeats"):
        check_run_time_shapes(model(node("RandomUniform", "", "r"), node("Tile", "x r")), "m")


@pytest.mark.parametrize("op_type", sorted(BROADCASTING - {"Where", "BitShift", "PRelu"}))
def test_an_open_batch_that_meets_a_number(op_type: str) -> None:
    one = node(op_type, "x z")
    check_run_time_shapes(model(one, x=["N", 3], z=["N", 1]), "m")
    check_run_time_shapes(model(one, x=["N", 3], z=[1, 3]), "m")
    check_run_time_shapes(model(one, x=["N", 3], z=[3]), "m")
    check_run_time_shapes(model(one, x=[5, 3], z=[5, 3]), "m")
    with pytest.raises(UnsupportedError, match=r"an axis of 5 with one that is open \(N\): their"):
        check_run_time_shapes(model(one, x=["N", 3], z=[5, 3]), "m")


def test_a_name_that_no_input_has_may_be_any_number() -> None:
    made = model(node("Relu", "x", "a"), node("Add", "a z"), x=[5, 3], z=[5, 3])
    made.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["M", 3]))
    check_run_time_shapes(made, "m")


def module(first: object, second: object) -> tvm.IRModule:
    """The sum of tensors of two shapes."""
    x, z = (relax.Var(n, relax.TensorType(s, "float32")) for n, s in (("x", first), ("z", second)))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, z]):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(relax.op.add(x, z)))
        builder.emit_func_output(out)
    return builder.get()


def test_an_imported_module() -> None:
    n = tvm.tirx.Var("n", "int64")
    check_known_shapes(module((n, 3), (n, 1)), "m")
    words = r"^m: the shape of what operator add makes of \[n, 3\], \[5, 3\] is not known before"
    with pytest.raises(UnsupportedError, match=words):
        check_known_shapes(module((n, 3), (5, 3)), "m")
