"""Groups of operators that run as one kernel."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tvm import relax

from abc_tvm.relay_passes.emit.frame import GROUP
from abc_tvm.relay_passes.lowerings.kernel_groups import same_slots
from abc_tvm.relay_passes.passes.fuse import Fuse
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
    two_layers,
)


def residual(channels: int = 8) -> onnx.ModelProto:
    """Float stem, two binary convolutions with a shortcut round the second, bits behind it."""
    net = Net((1, 3, 6, 6))
    stem = net.conv("input", net.rng.integers(-2, 3, (channels, 3, 3, 3)).astype(np.float32), 1)
    first = net.conv(net.step(stem), net.signs(channels, channels, 3, 3), 1)
    first = net.op("Relu", net.bn(first, np.full(channels, 2.0), 0.5, 0.0, 4.0 - 1e-5))
    second = net.conv(net.step(first, 1.0), net.signs(channels, channels, 3, 3), 1)
    total = net.op("Add", second, first)
    return net.model(net.conv(net.step(total, 1.5), net.signs(5, channels, 1, 1)))


def branches() -> onnx.ModelProto:
    """Two convolutions of one input, of different sizes, and an average pool between."""
    net = Net((2, 4, 6, 6))
    x = net.step("input")
    one = net.op(
        "AveragePool", net.conv(x, net.signs(4, 4, 1, 1)), kernel_shape=[2, 2], strides=[2, 2]
    )
    two = net.conv(x, net.signs(4, 4, 2, 2), strides=[2, 2])
    return net.model(net.op("Add", one, two))


def regrouped() -> onnx.ModelProto:
    """Bits of 12 channels that the next convolution wants in 3 groups: lanes do not fit."""
    net = Net((1, 4, 5, 5))
    x = net.step(net.conv(net.step("input"), net.signs(12, 4, 3, 3)))
    return net.model(net.conv(x, net.signs(6, 4, 1, 1), group=3))


def groups(model: onnx.ModelProto) -> dict[str, relax.Function]:
    mod, _ = passes_until(model, "fuse")
    assert "input_names" in mod["main"].attrs.keys()  # noqa: SIM118
    found = {g.name_hint: f for g, f in mod.functions_items() if g.name_hint != "main"}
    assert all(int(f.attrs[GROUP]) == 1 for f in found.values())
    return found


def test_one_kernel_a_layer() -> None:
    assert sorted(groups(two_layers())) == ["fused_bits", "fused_conv_0", "fused_conv_1"]


def test_no_float_tensor_between_binary_layers() -> None:
    found = groups(two_layers())["fused_conv_0"]
    assert str(found.ret_ty.dtype).endswith("uint32")


def test_a_residual_needs_the_floats_as_well() -> None:
    """The first convolution returns bits and floats; the addition joins the second."""
    found = groups(residual())
    first = found["fused_conv_1"].ret_ty
    assert [str(t.dtype).rsplit(".", 1)[-1] for t in first.fields] in (
        ["float32", "uint32"],
        ["uint32", "float32"],
    )
    assert len(found["fused_conv_2"].params) == 2
    assert str(found["fused_conv_2"].ret_ty.dtype).endswith("uint32")


def test_other_operators_stay_in_main() -> None:
    """Refuses: an average pool has a kernel of its own."""
    mod, _ = passes_until(branches(), "fuse")
    (pool,) = calls(mod, "nn.avg_pool2d")
    assert pool in [v for b in mod["main"].body.blocks for v in (x.value for x in b.bindings)]


def test_refuses_lanes_that_lie_otherwise() -> None:
    """The step of a regrouped convolution is packed by a kernel of its own."""
    found = groups(regrouped())
    assert len(found) == 4
    assert same_slots(12, 1, 1) and not same_slots(12, 1, 3) and same_slots(96, 1, 3)


@pytest.mark.parametrize(
    ("name", "model"), [("two_layers", two_layers()), ("residual", residual())]
)
def test_golden(name: str, model: onnx.ModelProto) -> None:
    check_golden(f"fuse_{name}", passes_until(model, "fuse")[0])


@pytest.mark.parametrize("model", [residual(), residual(40), branches(), regrouped()])
def test_numbers(model: onnx.ModelProto) -> None:
    assert_same_bits(model)


@pytest.mark.parametrize("model", [two_layers(), residual()])
def test_again_changes_nothing(model: onnx.ModelProto) -> None:
    once, _ = passes_until(model, "fuse")
    assert_equal_ir(Fuse()(once), once)
