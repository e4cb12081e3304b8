"""The spelling of torch.onnx.export: names by scope, weights as scaled signs."""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.families import pytorch


def test_names_are_scopes() -> None:
    assert pytorch.node("layer1.0.conv1", "Conv") == "/layer1/0/conv1/Conv"


def test_weights_are_one_plane_for_each_channel() -> None:
    g = GraphBuilder((1, 2, 3, 3), opset=13, suffix=pytorch.SUFFIX)
    weights = pytorch.scaled_signs(g, (4, 3, 3, 3))
    for channel in weights:
        assert len(np.unique(np.abs(channel))) == 1 and len(np.unique(channel)) == 2
