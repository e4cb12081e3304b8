"""The spelling of Keras through tf2onnx: NHWC outside, SAME padding, Sign(Sign(x) + 0.1)."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.families import larq


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 1), (7, 3, 2), (8, 3, 2), (9, 1, 2)])
def test_same_padding_keeps_the_size(size: int, kernel: int, stride: int) -> None:
    before, after = larq.same(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1  # an odd one stands behind, as TensorFlow has it


def test_zero_is_plus_one() -> None:
    g = GraphBuilder((1, 2, 3, 3), opset=larq.OPSET, suffix=larq.SUFFIX)
    g.input.value[0, 0, 0] = 0
    found = larq.sign(g, g.input, "sign").value
    np.testing.assert_array_equal(found, np.where(g.input.value >= 0, 1, -1))
