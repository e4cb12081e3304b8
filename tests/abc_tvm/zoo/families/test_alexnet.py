"""Two AlexNets: pooled convolutions, and dense layers that hold most of the weights."""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.families import alexnet, larq
from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_of_binary_alexnet_leaves_float() -> None:
    check("binaryalexnet", layers=7)


def test_every_binarized_layer_of_dorefa_leaves_float() -> None:
    check("dorefa-alexnet", layers=6)


def test_the_spelling() -> None:
    binary, dorefa = kinds("binaryalexnet"), kinds("dorefa-alexnet")
    assert binary["Sign"] == 2 * 7 and binary["MatMul"] == 3
    assert (dorefa["Min"], dorefa["Max"], dorefa["Round"]) == (7, 7, 6)
    assert "Clip" not in dorefa and "Div" not in dorefa


def test_activations_have_four_levels() -> None:
    g = GraphBuilder((2, 3, 8, 8), opset=larq.OPSET, suffix=larq.SUFFIX)
    found = alexnet._levels(g, g.input, "x", image=True).value
    assert found.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(np.unique(found), [0, 1 / 3, 2 / 3, 1], rtol=1e-6)
