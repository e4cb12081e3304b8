"""QuickNet: residual layers padded with ones, transitions of blurred pooling."""

from __future__ import annotations

import pytest
from onnx import numpy_helper

from tests.abc_tvm.zoo.families.judge import check, small


@pytest.mark.parametrize(("name", "layers"), [("quicknet-small", 16), ("quicknet", 16)])
def test_every_binarized_layer_leaves_float(name: str, layers: int) -> None:
    check(name, layers)


def test_binarized_layers_are_padded_with_ones() -> None:
    graph = small("quicknet-small").graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values = [float(stored[n.input[2]]) for n in graph.node
              if n.op_type == "Pad" and len(n.input) > 2]  # fmt: skip
    assert values and set(values) <= {0.0, 1.0} and values.count(1.0) >= 12
