"""Levels that are padded by a level, as Larq, bitorch and BoolNet do, against onnxruntime."""

from __future__ import annotations

import onnx
import pytest

from abc_tvm import targets
from tests.relay_passes.harness import Net, assert_same_bits

LOWERINGS = ("bitserial", "int8", "float")
SIDES = (1, 2, 3, 0)
"""Top, left, bottom, right."""


def pad(net: Net, x: str, value: float, sides: tuple[int, ...] = (1, 1, 1, 1)) -> str:
    """Rows and columns of ``value``, in the opset's own spelling."""
    top, left, bottom, right = sides
    widths = [0, 0, top, left, 0, 0, bottom, right]
    if net.opset < 11:
        return net.op("Pad", x, pads=widths, value=value)
    fill = net.constant(value)
    if net.opset < 18:
        return net.op("Pad", x, net.ints(*widths), fill)
    some = net.ints(top, left, bottom, right)
    return net.op("Pad", x, some, fill, net.ints(2, -1))


def levels(net: Net, x: str, steps: int) -> str:
    """0, 1 … ``steps``: one plane, two in binary code, or as many as there are thresholds."""
    whole = net.op("Add", net.op("Round", x), net.constant(1.0))
    return net.op("Clip", whole, net.constant(0.0), net.constant(float(steps)))


def layer(
    channels: int,
    value: float = 1.0,
    sides: tuple[int, ...] = (1, 1, 1, 1),
    *,
    steps: int = 0,
    groups: int = 1,
    opset: int = 13,
    batch: int = 1,
    own: int = 0,
    open_batch: bool = False,
    **attributes: list[int],
) -> onnx.ModelProto:
    """One convolution of padded levels; ``own`` zero padding beside that."""
    net = Net((batch, channels, 5, 6), opset=opset)
    x = net.step("input") if steps == 0 else levels(net, "input", steps)
    x = pad(net, x, value, sides)
    weight = net.signs(6 * groups, channels // groups, 3, 3)
    return net.model(net.conv(x, weight, own, group=groups, **attributes), open_batch)


CASES = {
    **{f"{c} channels": layer(c) for c in (1, 31, 32, 33, 64)},
    "minus one": layer(33, -1.0),
    "sides": layer(8, -1.0, SIDES),
    "one side": layer(8, 1.0, (0, 0, 0, 2)),
    "groups": layer(66, -1.0, groups=2),
    "depthwise": layer(6, 1.0, groups=6),
    "stride": layer(9, 1.0, SIDES, strides=[2, 2]),
    "dilation": layer(9, -1.0, SIDES, dilations=[2, 1]),
    "zeros as well": layer(9, 1.0, SIDES, own=1),
    "wider than the kernel": layer(5, -1.0, (4, 4, 4, 4)),
    "batch": layer(33, 1.0, SIDES, batch=2),
    "open batch": layer(33, -1.0, SIDES, batch=2, open_batch=True),
    "binary, one": layer(33, 1.0, SIDES, steps=3),
    "binary, last": layer(33, 3.0, steps=3, groups=3),
    "binary, two": layer(33, 2.0, steps=3),
    "three planes": layer(40, 5.0, SIDES, steps=7),
    "thermometer": layer(33, 1.0, SIDES, steps=2),
    "thermometer, last": layer(64, 2.0, steps=2),
}


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("name", CASES)
def test_one_layer(name: str, lowering: str) -> None:
    context = assert_same_bits(CASES[name], lowering)
    (row,) = context.layers.values()
    assert row.lowering == lowering or (lowering == "int8" and not has_dots()), row


def has_dots() -> bool:
    return targets.load("native").cost.dot is not None
