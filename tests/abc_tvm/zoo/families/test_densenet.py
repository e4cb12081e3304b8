"""BinaryDenseNet28: layers that grow by concatenation, float transitions."""

from __future__ import annotations

from onnx import numpy_helper

from abc_tvm import zoo
from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_leaves_float() -> None:
    check("densenet28", layers=23)


def test_the_spelling() -> None:
    nodes = kinds("densenet28")
    assert nodes["Concat"] == 23 and nodes["Sign"] == 2 * 23


def test_channels_are_the_published_ones() -> None:
    """Transitions from 448, 544 and 576 channels to 160, 192 and 256."""
    tensors = zoo.build("densenet28", image_size=32).graph.initializer
    shapes = [numpy_helper.to_array(t).shape for t in tensors if "/conv2d/Conv2D/Read" in t.name]
    assert shapes[1:] == [(160, 448, 1, 1), (192, 544, 1, 1), (256, 576, 1, 1)]
