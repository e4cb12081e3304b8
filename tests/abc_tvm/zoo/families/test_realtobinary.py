"""Real-to-Binary: gates, and PReLUs in Keras's spelling."""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.families import larq, realtobinary
from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_leaves_float() -> None:
    check("realtobinary", layers=16)


def test_the_spelling() -> None:
    nodes = kinds("realtobinary")
    assert nodes["Sigmoid"] == nodes["Neg"] == nodes["Reshape"] == 16
    assert nodes["MatMul"] == 2 * 16 + 1 and "PRelu" not in nodes


def test_a_prelu() -> None:
    g = GraphBuilder((2, 4, 4, 3), opset=larq.OPSET, suffix=larq.SUFFIX)
    x = g.input.value
    found = realtobinary._prelu(g, g.input, "p").value
    np.testing.assert_array_equal(found[x >= 0], x[x >= 0])
    slopes = found[x < 0] / x[x < 0]
    assert slopes.min() >= 0.1 and slopes.max() <= 0.4
