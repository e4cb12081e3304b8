"""ResNet-20 of IR-Net: signs of weights and their powers of two are nodes."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from tests.abc_tvm.zoo.families.judge import check, kinds, small


def test_every_binarized_layer_leaves_float() -> None:
    check("irnet20", layers=18)


def test_the_spelling() -> None:
    nodes = kinds("irnet20")
    assert nodes["Sign"] == 2 * 18 and nodes["Mul"] == 18 and nodes["Clip"] == 19
    assert nodes["Slice"] == 4 and nodes["Pad"] == 2


def test_scales_are_powers_of_two() -> None:
    graph = small("irnet20").graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    scales = [stored[n.input[1]] for n in graph.node if n.op_type == "Mul"]
    exponents = np.log2(np.concatenate([scale.ravel() for scale in scales]))
    np.testing.assert_array_equal(exponents, np.rint(exponents))
