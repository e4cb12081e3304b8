"""Layers of PyTorch networks, spelled as ``torch.onnx.export`` writes a model in ``eval`` mode.

Nodes are named by the path of modules, ``/layer1/conv1/Conv``, tensors by their node,
``…_output_0``, parameters by their attribute, ``layer1.conv1.weight``. A batch normalization behind
a float convolution is folded into it; behind a binarized one it stays, since the weights are
computed and the exporter folds before it knows their values. Those weights are then one constant,
mean|W|·sign(W) for each output channel as in XNOR-Net, unless said otherwise. ``torch.sign(0)`` is
0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.numpy_moves import Array
from abc_tvm.zoo.numpy_ops import MEANINGS

SUFFIX = "_output_0"
EPSILON = 1e-5


def node(scope: str, kind: str) -> str:
    """Name of a node: ``layer1.conv1``, ``Conv`` -> ``/layer1/conv1/Conv``."""
    return f"/{scope.replace('.', '/')}/{kind}"


def op(g: GraphBuilder, kind: str, inputs: Sequence[Tensor], scope: str, **more: Any) -> Tensor:
    """Add one node below the module ``scope``."""
    return g.op(kind, inputs, node(scope, kind), **more)


def sign(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Add ``torch.sign``, or Relu in a float twin."""
    return op(g, "Relu" if g.real else "Sign", [x], scope)


def window(kernel: int, stride: int, pad: int, rank: int = 2) -> dict[str, list[int]]:
    """ONNX attributes of a window over ``rank`` axes."""
    return {"kernel_shape": [kernel] * rank, "strides": [stride] * rank, "pads": [pad] * 2 * rank}


def scaled_signs(g: GraphBuilder, shape: tuple[int, ...]) -> Array:
    """Draw weights [O, …] of mean|W|·sign(W), for each of O; plain ones in a float twin."""
    real = layers.he_normal(g, shape, math.prod(shape[1:]))
    if g.real:
        return real
    mean = np.abs(real).mean(axis=tuple(range(1, len(shape))), keepdims=True)
    return mean * np.where(real >= 0, np.float32(1), np.float32(-1))


def conv(
    g: GraphBuilder,
    x: Tensor,
    weight: Array,
    scope: str,
    *,
    stride: int = 1,
    pad: int = 0,
    group: int = 1,
    low: bool = True,
) -> Tensor:
    """Add a convolution with ``weight`` [O, C / group, k, …] and no bias."""
    rank = weight.ndim - 2
    attributes: dict[str, Any] = window(weight.shape[2], stride, pad, rank)
    attributes |= {"dilations": [1] * rank, "group": group}
    if low:
        g.low.append(node(scope, "Conv"))
    stored = g.constant(f"/{scope.replace('.', '/')}/Mul{SUFFIX}", weight)
    return op(g, "Conv", [x, stored], scope, **attributes)


def float_conv(
    g: GraphBuilder,
    x: Tensor,
    channels: int,
    kernel: int,
    scope: str,
    *,
    stride: int = 1,
    pad: int = 0,
    group: int = 1,
    fold: bool = True,
) -> Tensor:
    """Add a float convolution; ``fold`` a batch normalization of its result into it."""
    rank = x.value.ndim - 2
    shape = (channels, x.channels // group, *[kernel] * rank)
    weight = layers.he_normal(g, shape, math.prod(shape[1:]))
    attributes: dict[str, Any] = window(kernel, stride, pad, rank)
    attributes |= {"dilations": [1] * rank, "group": group}
    bias: Array = g.rng.uniform(-0.1, 0.1, channels).astype(np.float32)
    names = f"{scope}.weight", f"{scope}.bias"
    if fold:
        drawn = layers.normalizer(g, MEANINGS["Conv"]([x.value, weight], attributes))
        scale = drawn["gamma"] / np.sqrt(drawn["var"] + np.float32(EPSILON))
        weight = weight * scale.reshape(-1, *[1] * (rank + 1))
        bias = drawn["beta"] - drawn["mean"] * scale
        names = f"onnx::Conv_{scope}_w", f"onnx::Conv_{scope}_b"
    constants = [g.constant(*pair) for pair in zip(names, (weight, bias), strict=True)]
    return op(g, "Conv", [x, *constants], scope, **attributes)


def batch_norm(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Add a batch normalization over axis 1."""
    drawn = layers.normalizer(g, x.value)
    names = ("weight", "bias", "running_mean", "running_var")
    constants = [
        g.constant(f"{scope}.{name}", value)
        for name, value in zip(names, drawn.values(), strict=True)
    ]
    return op(g, "BatchNormalization", [x, *constants], scope, epsilon=EPSILON, momentum=0.9)


def prelu(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Add a PReLU with a slope, 0.1 to 0.4, for each channel (axis 1)."""
    slope = g.rng.uniform(0.1, 0.4, (x.channels, *[1] * (x.value.ndim - 2))).astype(np.float32)
    return op(g, "PRelu", [x, g.constant(f"{scope}.weight", slope)], scope)


def integers(g: GraphBuilder, name: str, *values: int) -> Tensor:
    """Add a constant int64 [n], as shapes, axes and pads are given."""
    return g.constant(name, np.array(values, np.int64))


def reshape(g: GraphBuilder, x: Tensor, scope: str, *dims: int) -> Tensor:
    """Add a Reshape; 0 keeps an axis, -1 is what is left."""
    return op(g, "Reshape", [x, integers(g, f"{node(scope, 'Constant')}", *dims)], scope)


def linear(g: GraphBuilder, x: Tensor, features: int, scope: str) -> Tensor:
    """Add a float dense layer: [B, C] -> [B, features]."""
    weight = layers.he_normal(g, (features, x.channels), x.channels)
    bias = g.rng.uniform(-0.1, 0.1, features).astype(np.float32)
    constants = [g.constant(f"{scope}.weight", weight), g.constant(f"{scope}.bias", bias)]
    return op(g, "Gemm", [x, *constants], scope, alpha=1.0, beta=1.0, transB=1)


def classifier(g: GraphBuilder, x: Tensor, classes: int) -> Tensor:
    """Add global average pooling and a dense layer: [B, C, …] -> [B, classes]."""
    pooled = op(g, "GlobalAveragePool", [x], "avgpool")
    return linear(g, op(g, "Flatten", [pooled], "flatten", axis=1), classes, "fc")
