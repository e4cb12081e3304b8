"""Float layers of the zoo: shapes, statistics, and weights that keep their scale."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder


def builder(channels: int = 3, size: int = 8) -> GraphBuilder:
    return GraphBuilder((4, channels, size, size), seed=1)


@pytest.mark.parametrize(("width", "wanted"), [(1.0, 64), (0.25, 16), (0.001, 1), (1.5, 96)])
def test_channels_by_width(width: float, wanted: int) -> None:
    assert layers.scaled(64, width) == wanted


def test_windows() -> None:
    assert layers.window(3, 2, 1) == {
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1],
    }  # fmt: skip


def test_weights_keep_the_scale_through_rectifiers() -> None:
    weights = layers.he_normal(builder(), (64, 32, 3, 3), 32 * 9)
    assert weights.dtype == np.float32
    assert weights.std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.03)
    assert abs(weights.mean()) < 0.002


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "size"), [(3, 1, 1, 8), (3, 2, 0, 3), (1, 1, 0, 8)]
)
def test_convolutions(kernel: int, stride: int, pad: int, size: int) -> None:
    g = builder()
    assert layers.conv(g, g.input, 5, "c", kernel, stride, pad).value.shape == (4, 5, size, size)


def test_batch_normalization_has_the_statistics_of_its_sample() -> None:
    g = builder(channels=64, size=16)
    value = layers.batch_norm(g, g.input, "bn").value
    deviations = value.std(axis=(0, 2, 3))
    assert (deviations > 0.49).all() and (deviations < 1.51).all()
    assert np.abs(value.mean(axis=(0, 2, 3))).max() < 0.21


def test_padding_of_a_pool_never_wins() -> None:
    g = builder()
    below = g.op("Sub", [g.input, g.scalar(100.0)], "below")
    assert layers.max_pool(g, below, "p", 3, 2, 1).value.max() < -90


def test_the_classifier_is_the_output() -> None:
    g = builder()
    out = layers.classifier(g, g.input, 7)
    model = g.model(out, name="n")
    assert out.value.shape == (4, 7)
    assert [value.name for value in model.graph.output] == ["output"]
