"""Simplification: shapes become constants, stored parts are evaluated, values stay."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend import simplify

Dims = list[int | str]


def build(
    nodes: list[onnx.NodeProto],
    x: Dims,
    y: Dims,
    stored: dict[str, Any] | None = None,
    opset: int = 13,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (stored or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    checker.check_model(model, full_check=True)
    return model


def simplified(model: onnx.ModelProto, *expected: str) -> onnx.ModelProto:
    """The simplified model, with its operators checked, and a second run changing nothing."""
    before = model.SerializeToString()
    result = simplify(model)
    assert model.SerializeToString() == before
    checker.check_model(result, full_check=True)
    assert Counter(node.op_type for node in result.graph.node) == Counter(expected)
    assert simplify(result) == result
    return result


def same(a: onnx.ModelProto, b: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime to compare")
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = [
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for m in (a, b)
    ]
    np.testing.assert_array_equal(*got)


def stored(model: onnx.ModelProto, name: str) -> np.ndarray:
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    return numpy_helper.to_array(tensor)


def flatten_chain(opset: int) -> list[onnx.NodeProto]:
    unsqueeze = (
        helper.make_node("Unsqueeze", ["n"], ["n1"], axes=[0])
        if opset < 13
        else helper.make_node("Unsqueeze", ["n", "axes"], ["n1"])
    )
    return [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        unsqueeze,
        helper.make_node("Concat", ["n1", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]


@pytest.mark.parametrize("opset", [9, 13, 21])
@pytest.mark.parametrize(("batch", "target"), [("N", [0, -1]), (2, [2, -1])])
def test_computed_reshape_becomes_constant(opset: int, batch: int | str, target: list[int]) -> None:
    values = {"zero": np.int64(0), "rest": np.array([-1])}
    if opset >= 13:
        values["axes"] = np.array([0])
    model = build(flatten_chain(opset), [batch, 3, 4], [batch, 12], values, opset)
    result = simplified(model, "Reshape")
    assert stored(result, result.graph.node[0].input[1]).tolist() == target
    same(model, result, (2, 3, 4))


def test_computed_reshape_with_arithmetic_and_slice() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "i0", "i1"], ["n"]),
        helper.make_node("Slice", ["s", "i1", "i3", "i0", "i1"], ["cw"]),
        helper.make_node("Gather", ["cw", "zero"], ["c"]),
        helper.make_node("Gather", ["cw", "one"], ["w"]),
        helper.make_node("Mul", ["c", "w"], ["cww"]),
        helper.make_node("Unsqueeze", ["cww", "i0"], ["cw1"]),
        helper.make_node("Concat", ["n", "cw1"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    values = {f"i{i}": np.array([i]) for i in (0, 1, 3)}
    values |= {"zero": np.int64(0), "one": np.int64(1)}
    model = build(nodes, ["N", 3, 4], ["N", 12], values)
    result = simplified(model, "Reshape")
    assert stored(result, result.graph.node[0].input[1]).tolist() == [0, 12]
    same(model, result, (5, 3, 4))


def test_two_unknown_dimensions_are_left() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "swap"], ["t"]),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    model = build(nodes, ["N", "M"], ["M", "N"], {"swap": np.array([1, 0])})
    simplified(model, "Shape", "Gather", "Reshape")


def test_identity_and_dropout_go() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Dropout", ["b"], ["c"]),
        helper.make_node("Neg", ["c"], ["d"]),
        helper.make_node("Identity", ["d"], ["e"]),
        helper.make_node("Identity", ["e"], ["y"]),
    ]
    model = build(nodes, [3], [3])
    result = simplified(model, "Relu", "Neg")
    same(model, result, (3,))


def test_identity_between_input_and_output_stays() -> None:
    simplified(build([helper.make_node("Identity", ["x"], ["y"])], [3], [3]), "Identity")


def test_renamed_output_reaches_its_other_readers() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Identity", ["a"], ["y"]),
        helper.make_node("Identity", ["a"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["z"]),
    ]
    model = build(nodes, [3], [3])
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [3]))
    result = simplified(model, "Relu", "Neg", "Add")
    same(model, result, (3,))


def test_training_dropout_is_refused() -> None:
    nodes = [helper.make_node("Dropout", ["x", "r", "t"], ["y"])]
    model = build(nodes, [3], [3], {"r": np.float32(0.5), "t": np.array(True)})
    with pytest.raises(UnsupportedError, match="node 'y': operator Dropout is in training mode"):
        simplify(model)


def test_stored_parts_are_evaluated_exactly() -> None:
    weight = np.random.default_rng(1).integers(-1, 2, (4, 3)).astype(np.int8)
    constant = helper.make_node("Constant", [], ["half"], value_float=0.3)
    nodes = [
        constant,
        helper.make_node("Cast", ["w8"], ["wf"], to=TensorProto.FLOAT),
        helper.make_node("GreaterOrEqual", ["wf", "zero"], ["c"]),
        helper.make_node("Where", ["c", "half", "low"], ["ws"]),
        helper.make_node("Mul", ["ws", "scale"], ["wm"]),
        helper.make_node("Transpose", ["wm"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"]),
    ]
    scale = np.array([[0.1], [0.2], [0.3], [0.7]], np.float32)
    values = {"w8": weight, "zero": np.float32(0), "low": np.float32(-0.3), "scale": scale}
    model = build(nodes, ["N", 3], ["N", 4], values)
    result = simplified(model, "MatMul")
    expected = (np.where(weight >= 0, np.float32(0.3), np.float32(-0.3)) * scale).T
    np.testing.assert_array_equal(stored(result, "wt"), expected)
    same(model, result, (2, 3))


@pytest.mark.parametrize(
    ("op_type", "value"), [("Round", 0.5), ("Round", 2.5), ("Sign", -0.0), ("Floor", -0.5)]
)
def test_scalar_results_keep_rank_and_dtype(op_type: str, value: float) -> None:
    nodes = [helper.make_node(op_type, ["v"], ["f"]), helper.make_node("Add", ["x", "f"], ["y"])]
    model = build(nodes, [2], [2], {"v": np.float32(value)})
    result = simplified(model, "Add")
    assert stored(result, "f").shape == () and stored(result, "f").dtype == np.float32
    same(model, result, (2,))


def test_large_results_and_unknown_operators_stay() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["big"], ["z"]),
        helper.make_node("ReduceMax", ["z"], ["m"], keepdims=0),
        helper.make_node("Sin", ["v"], ["e"]),
        helper.make_node("Add", ["e", "m"], ["em"]),
        helper.make_node("Add", ["x", "em"], ["y"]),
    ]
    model = build(nodes, [2], [2], {"big": np.array([1 << 20, 1 << 20]), "v": np.float32(1)})
    simplified(model, "ConstantOfShape", "ReduceMax", "Sin", "Add", "Add")


def test_weights_binarized_in_the_graph_become_constant() -> None:
    """B = sign(W − mean + std), as a layer that was exported with its forward pass leaves it."""
    nodes = [
        helper.make_node("ReduceMean", ["w"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["w", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["var"], keepdims=0),
        helper.make_node("Sqrt", ["var"], ["std"]),
        helper.make_node("Add", ["centred", "std"], ["shifted"]),
        helper.make_node("Sign", ["shifted"], ["b"]),
        helper.make_node("Conv", ["x", "b"], ["y"]),
    ]
    w = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    dims: Dims = ["N", 3, 8, 8]
    model = build(nodes, dims, ["N", 4, 6, 6], {"w": w, "two": np.float32(2)})
    result = simplified(model, "Conv")
    exact = w.astype(np.float64)
    wanted = np.where(exact - exact.mean() + exact.std() >= 0, 1, -1)
    assert np.array_equal(stored(result, "b"), wanted)
    same(model, result, (2, 3, 8, 8))


def test_dead_nodes_and_initializers_go() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["dead"]), helper.make_node("Relu", ["x"], ["y"])]
    result = simplified(build(nodes, [2], [2], {"unused": np.float32(1)}), "Relu")
    assert not result.graph.initializer


def test_sixty_int8_weights_fold_quickly() -> None:
    rng = np.random.default_rng(0)
    nodes, values, last = [], {}, "x"
    for i in range(60):
        values[f"w{i}"] = rng.choice(np.array([-1, 1], np.int8), (256, 256, 3, 3))
        out = "y" if i == 59 else f"c{i}"
        nodes.append(helper.make_node("Cast", [f"w{i}"], [f"f{i}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Conv", [last, f"f{i}"], [out], pads=[1, 1, 1, 1]))
        last = out
    dims: Dims = ["N", 256, 8, 8]
    model = build(nodes, dims, dims, values)
    start = time.process_time()
    result = simplify(model)
    assert time.process_time() - start < 2.0
    assert {node.op_type for node in result.graph.node} == {"Conv"}
