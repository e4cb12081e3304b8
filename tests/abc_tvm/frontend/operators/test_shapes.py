"""Expand of an open batch, Slice of opset 9, axes that are no list, Split of what is stored."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import stages
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.frontend.operators.judged import Case, agree, compiled, model_of, refusal, same


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_expand_of_an_open_batch(rng: np.random.Generator) -> None:
    x = {"x": normal(rng, 2, 1, 3)}
    cases = [
        Case("Expand", x, {"shape": np.array(shape)})
        for shape in ([1, 4, 3], [4, 3], [5, 1, 4, 1], [1])
    ]
    cases.append(Case("Expand", {"x": normal(rng, 2, 1) > 0}, {"shape": np.array([1, 3])}))
    agree(cases, 13, open_batch=True)
    agree(cases, 9, open_batch=True)


def test_an_open_batch_is_not_stretched(rng: np.random.Generator) -> None:
    case = Case("Expand", {"x": normal(rng, 1, 3)}, {"shape": np.array([2, 3])})
    model, feeds = model_of([case], 13, open_batch=True)
    with pytest.raises(
        UnsupportedError, match=r"'node0': operator Expand stretches axis 0.*1 or 2"
    ):
        stages.import_model(model)
    found = compiled_with_batch(model, 1).run(feeds)["y0_0"]
    same(found, np.broadcast_to(feeds["x0"], (2, 3)), "Expand")


def compiled_with_batch(model: onnx.ModelProto, batch: int) -> object:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return compiled(fixed)


@pytest.mark.parametrize("open_batch", [False, True])
def test_slice_of_opset_9(rng: np.random.Generator, open_batch: bool) -> None:
    x = {"x": normal(rng, 2, 5, 6)}
    forms = [
        {"axes": [1, 2], "starts": [1, -3], "ends": [4, 100]},
        {"axes": [-1], "starts": [0], "ends": [-2]},
        {"axes": [0], "starts": [0], "ends": [2**31 - 1]},
        {"axes": [1], "starts": [-100], "ends": [3]},
    ]
    agree([Case("Slice", x, attrs=form) for form in forms], 9, open_batch=open_batch)


def test_slice_of_opset_9_without_axes(rng: np.random.Generator) -> None:
    agree([Case("Slice", {"x": normal(rng, 4, 5)}, attrs={"starts": [1, 2], "ends": [3, 4]})], 9)
    case = Case("Slice", {"x": normal(rng, 4, 5)}, attrs={"starts": [3], "ends": [2]})
    assert "'node': operator Slice takes no element of axis 0" in refusal(case, 9, (2,))


def test_axes_that_are_one_number(rng: np.random.Generator) -> None:
    agree([Case("Unsqueeze", {"x": normal(rng, 4, 5)}, {"axes": np.array(-1)})], 13)


def test_sizes_that_are_split() -> None:
    """Range takes lists of one number, as onnxruntime does."""
    sizes = numpy_helper.from_array(np.array([3, 5]), "sizes")
    scalars = [numpy_helper.from_array(np.array(n), name) for n, name in ((0, "a"), (1, "b"))]
    nodes = [
        helper.make_node("Split", ["sizes"], ["three", "five"], axis=0),
        helper.make_node("Range", ["a", "five", "b"], ["row"]),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.INT64, [2, 5]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [sizes, *scalars])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    x = np.arange(10).reshape(2, 5)
    same(compiled(model).run({"x": x})["y"], x + np.arange(5), "Split")


@pytest.mark.parametrize(
    ("op_type", "what", "feeds"),
    [
        ("Tile", "repeats", {"x": np.zeros((2, 3), "f4"), "n": np.array([1, 2])}),
        ("Expand", "shape", {"x": np.zeros((2, 3), "f4"), "n": np.array([2, 3])}),
        ("Reshape", "shape", {"x": np.zeros((2, 3), "f4"), "n": np.array([3, 2])}),
        ("Slice", "starts", {"x": np.zeros((2, 3), "f4"), "n": np.array([0]), "e": np.array([1])}),
        ("Unsqueeze", "axes", {"x": np.zeros((2, 3), "f4"), "n": np.array([0])}),
        ("Split", "sizes", {"x": np.zeros((2, 3), "f4"), "n": np.array([2])}),
    ],
)
def test_a_shape_of_the_run_is_named(op_type: str, what: str, feeds: dict[str, np.ndarray]) -> None:
    line = refusal(Case(op_type, feeds), 13, (3 if op_type == "Unsqueeze" else 2,))
    assert f"node 'node': operator {op_type} computes its {what} at run time from 'n'" in line


def test_an_open_batch_that_meets_a_number_is_named(rng: np.random.Generator) -> None:
    feeds = {"x": normal(rng, 3, 4, 5) > 0, "y": normal(rng, 5) > 0}
    model, _ = model_of([Case("And", feeds)], 13)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.raises(UnsupportedError, match=r"'node0': operator And meets an axis of 5 .*\(N\)"):
        stages.import_model(model)
