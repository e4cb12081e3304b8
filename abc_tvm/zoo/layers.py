"""Float layers that the networks share.

Weights have He's initialisation (normal, variance 2 / fan-in), so that activations keep their
scale through rectifiers and steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.numpy_moves import Array

NEGATIVE_GAMMAS = 1 / 16
"""Share of batch normalization channels with γ < 0, where a following comparison turns round."""


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times the width multiplier, rounded, at least 1."""
    return max(1, round(channels * width))


def scaled_by(channels: int, width: float, multiple: int) -> int:
    """Return ``channels`` times the width multiplier, rounded to a positive multiple."""
    return multiple * max(1, round(channels * width / multiple))


def window(kernel: int, stride: int = 1, pad: int = 0) -> dict[str, list[int]]:
    """ONNX attributes of a square window."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}


def he_normal(g: GraphBuilder, shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw float32 weights of variance 2 / ``fan_in``."""
    gain = np.float32(math.sqrt(2 / fan_in))
    return g.rng.standard_normal(shape, dtype=np.float32) * gain


def conv(
    g: GraphBuilder, x: Tensor, channels: int, name: str, kernel: int, stride: int = 1, pad: int = 0
) -> Tensor:
    """Add a float convolution without bias: [B, C, H, W] -> [B, channels, H', W']."""
    shape = (channels, x.channels, kernel, kernel)
    weight = g.constant(f"{name}.weight", he_normal(g, shape, x.channels * kernel**2))
    return g.op("Conv", [x, weight], name, **window(kernel, stride, pad))


def dense(g: GraphBuilder, x: Tensor, features: int, name: str) -> Tensor:
    """Add a float dense layer with bias: [B, C] -> [B, features]."""
    weight = g.constant(f"{name}.weight", he_normal(g, (x.channels, features), x.channels))
    bias = g.rng.uniform(-0.1, 0.1, features).astype(np.float32)
    return g.op("Gemm", [x, weight, g.constant(f"{name}.bias", bias)], name)


def batch_norm(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    """Add a batch normalization over axis 1, with the statistics of x's sample value.

    |γ| is uniform in [0.5, 1.5], a few γ are negative, and the shift is uniform in [-0.2, 0.2].
    """
    constants = [
        g.constant(f"{name}.{key}", value) for key, value in normalizer(g, x.value).items()
    ]
    return g.op("BatchNormalization", [x, *constants], name, epsilon=1e-5)


def normalizer(g: GraphBuilder, value: Array) -> dict[str, Array]:
    """Draw gamma and beta, and measure mean and var, of the channels (axis 1) of ``value``."""
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    channels = value.shape[1]
    gamma: Array = np.asarray(g.rng.uniform(0.5, 1.5, channels))
    gamma *= np.where(g.rng.random(channels) < NEGATIVE_GAMMAS, -1, 1)
    parameters = {
        "gamma": gamma,
        "beta": g.rng.uniform(-0.2, 0.2, channels),
        "mean": value.mean(axis=axes, dtype=np.float64),
        "var": value.var(axis=axes, dtype=np.float64),
    }
    return {key: drawn.astype(np.float32) for key, drawn in parameters.items()}


def max_pool(
    g: GraphBuilder, x: Tensor, name: str, kernel: int, stride: int, pad: int = 0
) -> Tensor:
    """Add a max-pool; its padding never wins."""
    attributes: dict[str, Any] = window(kernel, stride, pad)
    return g.op("MaxPool", [x], name, **attributes)


def classifier(g: GraphBuilder, x: Tensor, classes: int) -> Tensor:
    """Add global average pooling and a dense layer: [B, C, H, W] -> "output" [B, classes]."""
    pooled = g.op("GlobalAveragePool", [x], "pool")
    return dense(g, g.op("Flatten", [pooled], "flatten"), classes, "output")
