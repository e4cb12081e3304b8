"""Small networks that the fuzzer (``tests/fuzz``) found to be wrong, one for each cause."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import abc_tvm
from abc_tvm.errors import UnsupportedError
from tests.fuzz.judge import reference
from tests.fuzz.run_c import run_c

Nodes = Sequence[onnx.NodeProto]
node = helper.make_node


def model_of(
    nodes: Nodes, shapes: dict[str, Sequence[Any]], constants: dict[str, Any], ranks: dict[str, int]
) -> onnx.ModelProto:
    """float32 inputs of these shapes; outputs of these ranks."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [f"{n}{i}" for i in range(rank)])
            for n, rank in ranks.items()
        ],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def check_equal(
    model: onnx.ModelProto, inputs: dict[str, np.ndarray], folder: Path, **options: Any
) -> None:
    """Bit for bit what onnxruntime computes, graph optimisations off."""
    path = folder / "network.so"
    abc_tvm.compile(model, **options).save(path)
    got = abc_tvm.load(path, threads=1).run(inputs)
    for name, right in reference(model, inputs).items():
        np.testing.assert_array_equal(got[name], right)
        assert got[name].dtype == right.dtype and got[name].shape == right.shape


def test_a_reshape_of_one_more_axis_is_a_reshape(tmp_path: Path, rng: np.random.Generator) -> None:
    """It was taken for the Squeeze that undoes an Unsqueeze; and nothing is left to compile."""
    nodes = [node("Unsqueeze", ["x", "one"], ["u"]), node("Reshape", ["u", "shape"], ["y"])]
    constants = {"one": np.array([1]), "shape": np.array([1, 64, 1, 2])}
    model = model_of(nodes, {"x": (1, 8, 4, 4)}, constants, {"y": 4})
    check_equal(model, {"x": rng.random((1, 8, 4, 4), np.float32)}, tmp_path)


def test_a_batch_that_becomes_a_height_is_refused_by_name() -> None:
    nodes = [node("Add", ["x", "z"], ["a"]), node("Conv", ["a", "w"], ["y"])]
    constants = {"w": np.ones((2, 16, 1, 1), np.float32)}
    model = model_of(nodes, {"x": ("N", 16, 1, 1), "z": ("N", 1)}, constants, {"y": 4})
    with pytest.raises(UnsupportedError, match=r"only the first extent may be open"):
        abc_tvm.compile(model)


@pytest.mark.parametrize("shape", [(1, 4), (4,), (), (1, 1), (2, 4), (2, 1)])
def test_the_bias_of_a_gemm_has_any_shape_that_broadcasts(
    shape: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [node("Sign", ["x"], ["s"]), node("Gemm", ["s", "w", "c"], ["y"], beta=0.5)]
    constants = {
        "w": rng.choice([-1, 1], (6, 4)).astype(np.float32),
        "c": rng.integers(-3, 4, shape).astype(np.float32),
    }
    model = model_of(nodes, {"x": (2, 6)}, constants, {"y": 2})
    inputs = {"x": rng.integers(-2, 3, (2, 6)).astype(np.float32)}
    check_equal(model, inputs, tmp_path, lowering="bitserial")


def test_an_open_batch_may_become_another_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("Add", ["t", "c"], ["y"]),
        node("Transpose", ["i"], ["u"], perm=[1, 2, 3, 0]),
        node("Add", ["u", "c"], ["v"]),
        node("MaxPool", ["u"], ["z"], kernel_shape=[2, 1], strides=[2, 1]),
    ]
    shapes = {"x": ("N", 3), "i": ("N", 2, 4, 5)}
    model = model_of(nodes, shapes, {"c": np.float32(0.5)}, {"y": 2, "v": 4, "z": 4})
    inputs = {"x": rng.random((2, 3), np.float32), "i": rng.random((2, 2, 4, 5), np.float32)}
    check_equal(model, inputs, tmp_path)


@pytest.mark.parametrize("batch", ["N", 2])
@pytest.mark.parametrize("after", [(), ("Relu", "Neg")])
@pytest.mark.parametrize("op_type", ["Sub", "Mul"])
def test_a_result_that_is_simplified_to_a_number_is_computed_where_all_is(
    op_type: str, after: tuple[str, ...], batch: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Loops over the whole tensor were unrolled: too many, or with an open batch impossible."""
    other = "s" if op_type == "Sub" else "zero"
    nodes = [node("Sign", ["x"], ["s"]), node(op_type, ["s", other], ["a0"])]
    nodes += [node(op, [f"a{n}"], [f"a{n + 1}"]) for n, op in enumerate(after)]
    nodes += [node("Add", [f"a{len(after)}", "s"], ["y"])]
    constants = {"zero": np.float32(0)}
    model = model_of(nodes, {"x": (batch, 3, 20, 20)}, constants, {"y": 4, "a0": 4})
    inputs = {"x": rng.integers(-2, 3, (2, 3, 20, 20)).astype(np.float32)}
    check_equal(model, inputs, tmp_path)


def test_the_second_opinion_has_nothing_against_weights_of_zero(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        node("Less", ["x", "zero"], ["l"]),
        node("Where", ["l", "half", "minus"], ["s"]),
        node("Conv", ["s", "w"], ["y"]),
    ]
    constants = {
        "zero": np.float32(0),
        "half": np.float32(0.5),
        "minus": np.float32(-0.5),
        "w": np.zeros((3, 4, 1, 1), np.float32),
    }
    model = model_of(nodes, {"x": (1, 4, 3, 3)}, constants, {"y": 4})
    inputs = {"x": rng.integers(-2, 3, (1, 4, 3, 3)).astype(np.float32)}
    check_equal(model, inputs, tmp_path, lowering="bitserial")


def test_the_second_opinion_knows_that_joined_channels_have_atoms_of_their_own(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        node("Less", ["x", "half"], ["l"]),
        node("Where", ["l", "half", "minus"], ["b"]),
        node("Concat", ["x", "b"], ["c"], axis=1),
        node("Sign", ["c"], ["s"]),
        node("Conv", ["s", "w"], ["y"]),
    ]
    constants = {
        "half": np.float32(0.5),
        "minus": np.float32(-0.5),
        "w": rng.choice([-1, 1], (3, 8, 1, 1)).astype(np.float32),
    }
    model = model_of(nodes, {"x": (1, 4, 3, 3)}, constants, {"y": 4})
    inputs = {"x": rng.integers(-2, 3, (1, 4, 3, 3)).astype(np.float32)}
    check_equal(model, inputs, tmp_path, lowering="bitserial")


def test_an_open_batch_that_meets_another_extent_is_refused_by_name() -> None:
    model = model_of(
        [node("Add", ["x", "z"], ["y"])], {"x": ("N", 2, 1), "z": ("N", 1)}, {}, {"y": 3}
    )
    with pytest.raises(
        UnsupportedError, match=r"node 'y': operator Add meets an axis of 2 .*fixed batch"
    ):
        abc_tvm.compile(model)


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
@pytest.mark.parametrize("channels", [8, 33])
@pytest.mark.parametrize("spread", ["Reciprocal", "Div", "Sqrt"])
def test_slots_without_a_channel_stay_empty(
    spread: str, channels: int, lowering: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Behind 1/x the padding of a word was infinite, reached every threshold, and was counted."""
    behind = {
        "Reciprocal": [node("Reciprocal", ["m"], ["r"])],
        "Div": [node("Div", ["sixteen", "m"], ["r"])],
        "Sqrt": [node("Sqrt", ["m"], ["q"]), node("Reciprocal", ["q"], ["r"])],
    }[spread]
    nodes = [
        node("Sign", ["x"], ["s"]),
        node("Conv", ["s", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Max", ["c", "one"], ["m"]),
        *behind,
        node("GreaterOrEqual", ["r", "limit"], ["g"]),
        node("Where", ["g", "one", "minus"], ["b"]),
        node("Conv", ["b", "v"], ["y"]),
    ]
    constants = {
        "w": rng.choice([-1, 1], (channels, 4, 3, 3)).astype(np.float32),
        "v": rng.choice([-1, 1], (5, channels, 3, 3)).astype(np.float32),
        "one": np.float32(1),
        "minus": np.float32(-1),
        "sixteen": np.float32(16),
        "limit": np.float32(0.3),
    }
    x = rng.choice([-1, 1], (2, 4, 6, 6)).astype(np.float32)
    model = model_of(nodes, {"x": x.shape}, constants, {"y": 4})
    check_equal(model, {"x": x}, tmp_path, lowering=lowering)


@pytest.mark.parametrize("integers", ["sums", "input"])
@pytest.mark.parametrize("operator", ["Pow", "Sqrt", "PowOfTwo"])
def test_integers_meet_ties_behind_powers_and_roots(
    operator: str, integers: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Images of atoms are atoms: x² − 4 is 0 wherever x is 2."""
    first = {
        "sums": [node("Sign", ["x"], ["s"]), node("Conv", ["s", "w"], ["i"])],
        "input": [node("Floor", ["x"], ["i"])],
    }[integers]
    # Values at integers that are exact in every library.
    behind = {
        "Pow": [node("Pow", ["i", "two"], ["p"]), node("Sub", ["p", "four"], ["d"])],
        "Sqrt": [
            node("Abs", ["i"], ["a"]),
            node("Sqrt", ["a"], ["p"]),
            node("Sub", ["p", "two"], ["d"]),
        ],
        "PowOfTwo": [node("Pow", ["two", "i"], ["p"]), node("Sub", ["p", "four"], ["d"])],
    }[operator]
    nodes = [*first, *behind, node("Sign", ["d"], ["b"]), node("Conv", ["b", "v"], ["y"])]
    constants = {
        "w": rng.choice([-1, 1], (6, 6, 1, 1)).astype(np.float32),
        "v": rng.choice([-1, 1], (5, 6, 1, 1)).astype(np.float32),
        "two": np.float32(2),
        "four": np.float32(4),
    }
    x = rng.integers(-5, 6, (4, 6, 5, 5)).astype(np.float32)
    model = model_of(nodes, {"x": x.shape}, constants, {"y": 4})
    check_equal(model, {"x": x}, tmp_path, lowering="bitserial")


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_an_open_batch_of_a_difference_that_is_nothing(lowering: str, tmp_path: Path) -> None:
    """TVM finds ``x - x`` to be 0, so that no sum is left in the kernel of what reads it."""
    nodes = [
        node("Sub", ["x", "x"], ["d"]),
        node("Sign", ["d"], ["s"]),
        node("Sub", ["s", "d"], ["t"]),
        node("Conv", ["t", "w"], ["y"]),
    ]
    model = model_of(
        nodes, {"x": ("N", 1, 1, 1)}, {"w": np.full((1, 1, 1, 1), -2.0, "f4")}, {"y": 4}
    )
    inputs = {"x": np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)}
    check_equal(model, inputs, tmp_path, lowering=lowering)


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0, 2.0**30, -(2.0**30)])
def test_an_activation_that_is_constant(lowering: str, level: float, tmp_path: Path) -> None:
    """Sums of zeros reach one level alone; a step has a threshold all the same."""
    nodes = [
        node("Sign", ["x"], ["s"]),
        node("Conv", ["s", "zeros"], ["z"]),
        node("Greater", ["z", "half"], ["g"]),
        node("Greater", ["z", "one"], ["h"]),
        node("Where", ["g", "one", "level"], ["a"]),
        node("Where", ["h", "half", "a"], ["b"]),
        node("Conv", ["b", "w"], ["y"]),
    ]
    constants = {
        "zeros": np.zeros((2, 3, 1, 1), np.float32),
        "half": np.float32(0.5),
        "one": np.float32(1),
        "level": np.float32(level),
        "w": np.array([[1, -1], [1, 1]], np.float32).reshape(2, 2, 1, 1),
    }
    model = model_of(nodes, {"x": (1, 3, 4, 4)}, constants, {"y": 4})
    inputs = {"x": np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)}
    check_equal(model, inputs, tmp_path, lowering=lowering)


def test_factors_of_rows_are_no_step_of_channels(tmp_path: Path) -> None:
    """A constant of fewer axes than the image: its first is not the batch."""
    nodes = [
        node("Mul", ["x", "rows"], ["m"]),
        node("Sign", ["m"], ["s"]),
        node("Conv", ["s", "w"], ["y"]),
    ]
    constants = {
        "rows": np.array([1.0, -1.0, 2.0], np.float32).reshape(3, 1),
        "w": np.ones((1, 2, 1, 1), np.float32),
    }
    model = model_of(nodes, {"x": (1, 2, 3, 3)}, constants, {"y": 4})
    inputs = {"x": np.arange(-9, 9, dtype=np.float32).reshape(1, 2, 3, 3)}
    check_equal(model, inputs, tmp_path, lowering="bitserial")


def test_a_tensor_of_a_c_library_begins_at_its_pointer() -> None:
    """TVM leaves the offset of CumSum's tensors open."""
    nodes = [node("CumSum", ["x", "axis"], ["y"])]
    model = model_of(nodes, {"x": (1, 2, 3)}, {"axis": np.array(1)}, {"y": 3})
    form = abc_tvm.compile_c(model, "native", name="net")
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        x = rng.standard_normal((1, 2, 3)).astype(np.float32)
        (found,) = run_c(form, Path(folder), [x], ["y"], False).values()
    np.testing.assert_allclose(found.reshape(x.shape), np.cumsum(x, 1), rtol=1e-6)


ONE_OF_MANY = {
    "values that a function leaves as they are": (
        [node("Mul", ["x", "x"], ["q"]), node("Mish", ["q"], ["r"])], "r",
    ),
    "the bias of a transposed convolution": (
        [node("ConvTranspose", ["x", "t", "c"], ["r"], dilations=[2, 2])], "r",
    ),
    "a truth": (
        [
            node("Greater", ["x", "c4"], ["g"]),
            node("Cast", ["g"], ["f"], to=TensorProto.FLOAT),
            node("Add", ["f", "near"], ["r"]),
        ], "r",
    ),
    "a number beside one": ([node("Elu", ["x"], ["r"])], "r"),
}  # fmt: skip


@pytest.mark.parametrize("what", ONE_OF_MANY)
def test_the_second_opinion_asks_for_what_a_root_can_be(
    what: str, rng: np.random.Generator
) -> None:
    """In the tests a disagreement is an error."""
    nodes, root = ONE_OF_MANY[what]
    nodes = [*nodes, node("Sign", [root], ["s"]), node("Conv", ["s", "w"], ["y"])]
    constants = {
        "t": rng.standard_normal((2, 2, 2, 2)).astype(np.float32),
        "c": np.array([0.25, -0.5], np.float32),
        "c4": np.zeros((1, 2, 1, 1), np.float32),
        "near": np.float32(-0.4111797),
        "w": rng.choice([-1, 1], (1, 2, 1, 1)).astype(np.float32),
    }
    model = model_of(nodes, {"x": (1, 2, 4, 4)}, constants, {"y": 4})
    model.opset_import[0].version = 18
    report = abc_tvm.compile(model, lowering="bitserial").report
    assert [row.lowering for row in report.layers if row.op == "Conv"] == ["bitserial"]


def test_a_kernel_that_sorts_is_refused_for_a_c_library() -> None:
    """It calls TVM's runtime from within."""
    nodes = [node("TopK", ["x", "k"], ["y", "i"])]
    model = model_of(nodes, {"x": (3, 8)}, {"k": np.array([4])}, {"y": 2})
    with pytest.raises(UnsupportedError, match=r"tvm\.contrib\.sort\.topk needs TVM's runtime"):
        abc_tvm.compile_c(model, "native", name="net")


@pytest.mark.parametrize("layer", ["Conv", "Gemm"])
def test_a_layer_of_computed_weights_was_not_joined(layer: str, rng: np.random.Generator) -> None:
    """It has no name in the compiled module, and no layer took it in."""
    image = layer == "Conv"
    shape = (2, 3, 1, 1) if image else (3, 2)
    nodes = [
        node("Sign", ["x"], ["s"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        node(layer, ["s", "d"], ["a"]),
        node(layer, ["s", "w"], ["b"]),
        node("Add", ["a", "b"], ["y"]),
    ]
    constants = {
        "q": rng.integers(-3, 4, shape).astype(np.int8),
        "scale": np.float32(1),
        "zero": np.int8(0),
        "w": rng.choice([-1, 1], shape).astype(np.float32),
    }
    model = model_of(
        nodes, {"x": (1, 3, 4, 4) if image else (1, 3)}, constants, {"y": 4 if image else 2}
    )
    report = abc_tvm.compile(model, lowering="bitserial").report
    assert {row.lowering for row in report.layers} >= {"bitserial"}
