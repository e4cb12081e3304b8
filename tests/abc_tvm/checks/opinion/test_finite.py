"""The values that tensors of an ONNX graph take, from the graph alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.opinion.finite import Finite, of_values
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from tests.relay_passes.harness import Net

Build = Callable[[Net], str]


def sign(net: Net, shift: float = 0.125) -> str:
    return net.op("Sign", net.op("Add", "input", net.constant(shift)))


def step(net: Net, at: float) -> str:
    return net.step("input", at)


CASES: dict[str, tuple[Build, list[float] | None]] = {
    "sign": (sign, [-1, 1]),
    "step": (lambda net: step(net, 0.5), [-1, 1]),
    "xnor": (lambda net: net.op("Mul", step(net, 0), step(net, 1)), [-1, 1]),
    "or": (lambda net: net.op("Max", step(net, 0), step(net, 1)), [-1, 1]),
    "sum": (lambda net: net.op("Add", step(net, 0), step(net, 1)), [-2, 0, 2]),
    "cast": (lambda net: net.op("Cast", net.op("Greater", "input", net.constant(0.0)),
                                to=TensorProto.FLOAT), [0, 1]),
    "moved": (lambda net: net.op("Transpose", step(net, 0), perm=[0, 2, 3, 1]), [-1, 1]),
    "padded": (lambda net: net.op("Pad", step(net, 0), net.ints(0, 0, 1, 1, 0, 0, 0, 0),
                                  net.constant(0.5)), [-1, 0.5, 1]),
    "padded by its edge": (lambda net: net.op("Pad", step(net, 0),
                                              net.ints(0, 0, 1, 1, 0, 0, 0, 0), mode="edge"),
                           [-1, 1]),
    "together": (lambda net: net.op("Concat", step(net, 0),
                                    net.op("Mul", step(net, 1), net.constant(2.0)), axis=1),
                 [-2, -1, 1, 2]),
    "pooled": (lambda net: net.op("MaxPool", step(net, 0), kernel_shape=[2, 2]), [-1, 1]),
    "average": (lambda net: net.op("AveragePool", step(net, 0), kernel_shape=[1, 2]), [-1, 0, 1]),
    "whole average": (lambda net: net.op("GlobalAveragePool", step(net, 0)),
                      [-1 + k / 8 for k in range(17)]),
    "mean": (lambda net: net.op("ReduceMean", step(net, 0), axes=[2]), [-1, -0.5, 0, 0.5, 1]),
    "two bits": (lambda net: net.op("Round", net.op("Clip", "input", net.constant(0.0),
                                                    net.constant(3.0))), [0, 1, 2, 3]),
    "two bits, rounded first": (lambda net: net.op("Clip", net.op("Round", "input"),
                                                   net.constant(0.0), net.constant(3.0)),
                                [0, 1, 2, 3]),
    "bounds between": (lambda net: net.op("Clip", net.op("Floor", "input"), net.constant(-0.5),
                                          net.constant(1.25)), [-0.5, 0, 1, 1.25]),
    "Max and Min": (lambda net: net.op("Min", net.op("Max", net.constant(-1.0),
                                                     net.op("Ceil", "input")), net.constant(1.0)),
                    [-1, 0, 1]),
    "Relu and Min": (lambda net: net.op("Relu", net.op("Min", net.op("Round", "input"),
                                                       net.constant(2.0))), [0, 1, 2]),
    "Max, then rounded": (lambda net: net.op("Round", net.op("Max", net.op("Min", "input",
                                                                           net.constant(1.4)),
                                                             net.constant(-1.0))), [-1, 0, 1, 2]),
    "scaled": (lambda net: net.op("Mul", net.op("Clip", net.op("Round", "input"),
                                                net.constant(0.0), net.constant(2.0)),
                                  net.constant(-0.5)), [-1, -0.5, 0]),
    "one bound": (lambda net: net.op("Relu", net.op("Round", "input")), None),
    "clipped": (lambda net: net.op("Clip", "input", net.constant(0.0), net.constant(3.0)), None),
    "bounds by channel": (lambda net: net.op("Min", net.op("Relu", net.op("Round", "input")),
                                             net.channels([1, 2])), None),
    "place": (lambda net: net.op("Cast", net.op("ArgMax", "input", axis=3),
                                 to=TensorProto.FLOAT), [0, 1, 2, 3]),
    "sum of a row": (lambda net: net.op("ReduceSum", step(net, 0), net.ints(3)), [-4, -2, 0, 2, 4]),
    "rounded softmax": (lambda net: net.op("Round", net.op("Mul", net.op("Transpose", net.op(
        "Softmax", "input", axis=1), perm=[0, 2, 3, 1]), net.constant(3.0))), [0, 1, 2, 3]),
    "rounded, then clipped": (lambda net: net.op("Clip", net.op("Round", "input"),
                                                 net.constant(-1.5), net.constant(1.0)),
                              [-1.5, -1, 0, 1]),
    "any": (lambda net: net.op("Add", "input", net.constant(1.0)), None),
    "rounded": (lambda net: net.op("Round", "input"), None),
    "half any": (lambda net: net.op("Mul", step(net, 0), "input"), None),
    "average of a border": (lambda net: net.op("AveragePool", step(net, 0), kernel_shape=[2, 2],
                                               pads=[1, 1, 1, 1]), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    build, wanted = CASES[name]
    net = Net((1, 2, 4, 4))
    made = net.model(build(net))
    found = Finite(OnnxGraph(made), lambda tensor: KnownAtoms()).of("output")
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        np.testing.assert_allclose(found, np.float32(wanted), atol=1e-7)


def test_a_tie_that_is_met_is_a_value() -> None:
    net = Net((1, 2, 4, 4))
    graph = OnnxGraph(net.model(sign(net)))
    met = Finite(graph, lambda tensor: KnownAtoms(everywhere=True)).of("output")
    assert met is not None and list(met) == [-1, 0, 1]


def test_stored_values() -> None:
    values = numpy_helper.from_array(np.float32([3, 1, 3]), "w")
    node = helper.make_node("Neg", ["w"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (3,))
    model = helper.make_model(helper.make_graph([node], "g", [], [out], [values]))
    found = Finite(OnnxGraph(model), lambda tensor: KnownAtoms()).of("y")
    assert found is not None and list(found) == [-3, -1]


def test_probes_are_these_values() -> None:
    probes = of_values(np.float32([-1, 0.5]), 3)
    np.testing.assert_array_equal(probes.values, [[-1] * 3, [0.5] * 3])
    np.testing.assert_array_equal(probes.neutral, [-1] * 3)
