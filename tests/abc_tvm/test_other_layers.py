"""Rows of layers that the passes do not take up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import abc_tvm
from tests.relay_passes.harness import Net

Build = Callable[[Net], str]


def random(net: Net, *shape: int) -> str:
    return net.constant(net.rng.standard_normal(shape).astype(np.float32))


def product(net: Net) -> str:
    x = net.op("Reshape", "input", net.ints(2, 3, 8, 8))
    return net.op("MatMul", x, net.op("Transpose", x, perm=[0, 1, 3, 2]))


CASES: dict[str, tuple[Build, str, int, str]] = {
    "product": (product, "MatMul", 3 * 8 * 8 * 8, "both of its factors are computed"),
    "stack": (lambda net: net.op("MatMul", "input", random(net, 3, 8, 5)), "MatMul",
              3 * 8 * 8 * 5, "no matrix on the right"),
    "left": (lambda net: net.op("MatMul", random(net, 5, 2), net.op("Flatten", "input")), "MatMul",
             5 * 2 * 192, "no matrix on the right"),
    "transposed": (lambda net: net.op("ConvTranspose", "input", random(net, 3, 4, 3, 3),
                                      dilations=[2, 2]), "ConvTranspose",
                   8 * 8 * 9 * 3 * 4, "transposed convolution"),
    "volumes": (lambda net: net.op("Conv", net.op("Unsqueeze", "input", net.ints(2)),
                                   random(net, 4, 3, 1, 3, 3), kernel_shape=[1, 3, 3]), "Conv",
                6 * 6 * 9 * 3 * 4, "volumes"),
}  # fmt: skip


def model(build: Build) -> onnx.ModelProto:
    net = Net((2, 3, 8, 8))
    made = net.model(net.op("Relu", build(net)))
    for node in made.graph.node:
        if node.op_type in ("MatMul", "Conv", "ConvTranspose"):
            node.name = "mine.layer"
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_row_with_its_kind_name_and_macs(name: str) -> None:
    build, op, macs, reason = CASES[name]
    (row,) = abc_tvm.inspect(model(build))
    assert (row.name, row.op, row.macs, row.lowering) == ("mine_layer", op, macs, "float")
    assert reason in row.reason


def test_rows_are_in_the_order_of_the_graph() -> None:
    net = Net((2, 3, 8, 8))
    first = net.conv(net.step("input"), net.signs(3, 3, 1, 1))
    between = net.op("MatMul", first, net.op("Transpose", first, perm=[0, 1, 3, 2]))
    made = net.model(net.conv(between, net.signs(4, 3, 3, 3)))
    assert [row.op for row in abc_tvm.inspect(made)] == ["Conv", "MatMul", "Conv"]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("QLinearConv", (4, 3, 3, 3)),
        ("ConvInteger", (4, 3, 3, 3)),
        ("QLinearMatMul", (8, 5)),
        ("MatMulInteger", (8, 5)),
    ],
)
def test_integer_layers_have_their_own_kind(kind: str, shape: tuple[int, ...]) -> None:
    net = Net((2, 3, 8, 8))
    scale, point, zero = net.constant(0.03), np.array(113, np.uint8), np.array(0, np.int8)
    x = net.op("QuantizeLinear", "input", scale, net.constant(point, np.uint8))
    stored = net.constant(net.rng.integers(-127, 128, shape), np.int8)
    if "QLinear" in kind:
        numbers = [scale, net.constant(point, np.uint8), stored, net.constant(0.01)]
        numbers += [net.constant(zero, np.int8), net.constant(0.5), net.constant(point, np.uint8)]
        y = net.op(kind, x, *numbers)
    else:
        y = net.op(kind, x, stored, net.constant(point, np.uint8))
    made = net.model(net.op("Cast", y, to=onnx.TensorProto.FLOAT))
    next(node for node in made.graph.node if node.op_type == kind).name = "mine"
    (row,) = abc_tvm.inspect(made)
    macs = 6 * 6 * 9 * 3 * 4 if "Conv" in kind else 3 * 8 * 8 * 5
    assert (row.name, row.op, row.macs) == ("mine", kind, macs)


@pytest.mark.parametrize("depth", [300, 3000])
def test_a_long_integer_product_has_a_row(depth: int) -> None:
    """Whether a float32 holds its sums, or they stay integers."""
    net = Net((2, depth))
    x = net.op("QuantizeLinear", "input", net.constant(0.03), net.constant(np.uint8(9), np.uint8))
    stored = net.constant(np.full((depth, 5), 127), np.int8)
    made = net.model(net.op("Cast", net.op("MatMulInteger", x, stored), to=onnx.TensorProto.FLOAT))
    made.graph.node[1].name = "a name"
    (row,) = abc_tvm.inspect(made)
    assert (row.name, row.op, row.macs) == ("a name", "MatMulInteger", 5 * depth)
    assert ("integers of 32 bits" in row.reason) == (depth == 3000)


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
def test_a_layer_that_is_quantized_at_run_time(kind: str) -> None:
    net = Net((2, 3, 8, 8))
    x = net.op("DynamicQuantizeLinear", "input")
    scale, zero = f"{x}/scale", f"{x}/zero"
    net._nodes[-1].output.extend([scale, zero])
    shape = (4, 3, 3, 3) if kind == "ConvInteger" else (8, 5)
    y = net.op(kind, x, net.constant(net.rng.integers(-127, 128, shape), np.int8), zero)
    made = net.model(net.op("Mul", net.op("Cast", y, to=onnx.TensorProto.FLOAT), scale))
    (row,) = abc_tvm.inspect(made)
    assert (row.op, row.lowering) == (kind, "float") and "quantized at run time" in row.reason


def test_a_transposed_convolution_in_parts() -> None:
    net = Net((2, 3, 8, 8))
    made = net.model(net.op("ConvTranspose", net.step("input"), net.constant(net.signs(3, 4, 3, 3)),
                            strides=[2, 2]))  # fmt: skip
    made.graph.node[-2].name = "mine"
    rows = abc_tvm.inspect(made)
    assert {row.op for row in rows} == {"ConvTranspose"}
    assert [row.name for row in rows] == ["mine", "mine/1", "mine/2", "mine/3"]


def test_a_layer_in_float_names_the_node_that_it_reads() -> None:
    net = Net((2, 3, 8, 8))
    soft = net.op("Transpose", net.op("Softmax", "input", axis=1), perm=[0, 1, 3, 2])
    made = net.model(net.op("Add", net.conv(soft, net.signs(4, 3, 3, 3)),
                            net.conv("input", net.signs(4, 3, 3, 3))))  # fmt: skip
    made.graph.node[0].name = "scores.of.it"
    first, second = abc_tvm.inspect(made)
    assert first.reason.endswith("; it reads Softmax 'scores.of.it'")
    assert second.reason == "its input is a float tensor: the network's input"
