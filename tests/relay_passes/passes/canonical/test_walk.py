"""The walk of the rewrites: names of layers, tuples, where Transposes are set."""

from __future__ import annotations

import onnx
import pytest

from abc_tvm.frontend import import_onnx
from abc_tvm.relay_passes.passes.canonical.walk import LayerNames
from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from abc_tvm.relay_passes.rewrite import bindings, hint, op_name
from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until


def test_names_go_by_kind_and_order() -> None:
    names = LayerNames(conv=["a", "main"], dense=[])
    found = [names.next(kind) for kind in ("conv", "dense", "conv", "conv", "dense")]
    assert found == ["a", "dense_0", "main_", "conv_2", "dense_1"]


def mixed_layers() -> Net:
    """A convolution whose weights are computed between two that become NHWC, and a dense layer."""
    net = Net((4, 4, 3, 3))
    first = net.conv("input", net.signs(4, 4, 1, 1))
    second = net.op("Conv", first, first)
    third = net.conv(second, net.signs(2, 4, 1, 1))
    last = net.op("Flatten", third, axis=1)
    net.op("Gemm", last, net.constant(net.signs(5, 2)), transB=1)
    return net


def test_a_refused_layer_spends_its_name() -> None:
    net = mixed_layers()
    result = net._nodes[-1].output[0]
    canonicalise = Canonicalise(["one", "two", "three"], ["four"])
    func = canonicalise(import_onnx(net.model(result)))["main"]
    layers = [hint(v) for v, x in bindings(func) if op_name(x) == "nn.conv2d"]
    assert layers[0] == "one" and layers[2:] == ["three", "four"] and "two" not in layers
    assert canonicalise.dense == {"four"}


def split() -> Net:
    net = Net((2, 4, 5, 5))
    net._nodes.append(onnx.helper.make_node("Split", ["input"], ["left", "right"], axis=1))
    return net


def test_fields_of_tuples_are_turned_once_each() -> None:
    net = split()
    left, right = (net.conv(x, net.signs(3, 2, 3, 3)) for x in ("left", "right"))
    model = net.model(net.op("Add", left, right))
    mod, _ = passes_until(model, "canonicalise")
    assert len(calls(mod, "permute_dims")) <= 3
    assert_same_bits(model, "float")


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_an_input_is_turned_round_once(readers: int) -> None:
    """At its source, however many layers read it."""
    net = Net((2, 4, 5, 5))
    parts = [net.conv("input", net.signs(3, 4, 3, 3)) for _ in range(readers)]
    total = parts[0]
    for part in parts[1:]:
        total = net.op("Add", total, part)
    mod, _ = passes_until(net.model(total), "canonicalise")
    assert len(calls(mod, "permute_dims")) == 2


def test_what_no_layer_reads_stays() -> None:
    net = Net((2, 4, 5, 5))
    mod, _ = passes_until(net.model(net.op("Relu", "input")), "canonicalise")
    assert not calls(mod, "permute_dims")
