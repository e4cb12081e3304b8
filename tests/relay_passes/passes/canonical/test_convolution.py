"""Convolutions in NHWC."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.rewrite import array_of
from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

WEIGHT = np.arange(72, dtype=np.float32).reshape(6, 2, 3, 2) / 4


def layer() -> onnx.ModelProto:
    """Groups, strides, dilation and padding, all of them different in height and width."""
    net = Net((2, 4, 9, 8))
    geometry = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 1], "group": 2}
    return net.model(net.op("Conv", "input", net.constant(WEIGHT), kernel_shape=[3, 2], **geometry))


def test_fires() -> None:
    mod, _ = passes_until(layer(), "canonicalise")
    (call,) = calls(mod, "nn.conv2d")
    np.testing.assert_array_equal(array_of(call.args[1]), WEIGHT.transpose(0, 2, 3, 1))
    attrs = call.attrs
    assert (attrs.data_layout, attrs.kernel_layout) == ("NHWC", "OHWI")
    geometry = [attrs.strides, attrs.dilation, attrs.padding, [attrs.groups]]
    assert [[int(v) for v in values] for values in geometry] == [[2, 1], [1, 2], [1, 0, 2, 1], [2]]


def test_weights_that_are_computed_stay_nchw() -> None:
    """Refuses: the layer keeps its layout, and gets a reason."""
    net = Net((4, 4, 3, 3))
    _, context = passes_until(net.model(net.op("Conv", "input", "input")), "recognise_weights")
    assert [layer.reason for layer in context.layers.values()] == ["the weights are no constant"]


@pytest.mark.parametrize("lowering", ["auto", "float"])
def test_numbers(lowering: str) -> None:
    assert_same_bits(layer(), lowering)
