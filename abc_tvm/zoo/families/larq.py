"""Layers of Larq networks, spelled as Keras models come out of tf2onnx.

The input is [B, H, W, C]. tf2onnx writes convolutions in [B, C, H, W] and pushes the Transposes
between the two layouts as far as it can: through Add, Concat, Relu, pooling and BatchNormalization,
but not through Sign. So real tensors are [B, C, H, W] here, with a Transpose on either side of a
quantizer. A batch normalization straight behind a convolution is folded into its weights, which
then are ±α with a bias. ``ste_sign`` is ``Sign(Sign(x) + 0.1)``: never 0. Node names are Keras's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.numpy_moves import Array
from abc_tvm.zoo.numpy_ops import MEANINGS

OPSET = 15
SUFFIX = ":0"
EPSILON = 1e-3
"""Keras's own; networks that say otherwise pass theirs."""

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def image(g: GraphBuilder) -> Tensor:
    """The input as [B, C, H, W]."""
    return g.op("Transpose", [g.input], "first_conv__10", perm=TO_NCHW)


def sign(g: GraphBuilder, x: Tensor, name: str, pad: int = 0) -> Tensor:
    """Add ``ste_sign`` of [B, C, H, W], and a border of +1 that is ``pad`` wide (``pad_values``).

    In a float twin it is a Relu, and the border 0.
    """
    back, there = f"{name}/Transpose__1", f"{name}/Transpose__2"
    bits = quantizer(g, g.op("Transpose", [x], back, perm=TO_NHWC), name)
    if pad:
        border = g.constant(f"{name}/Pad/paddings", np.array([0, pad, pad, 0] * 2, np.int64))
        value = g.scalar(0.0 if g.real else 1.0)
        bits = g.op("Pad", [bits, border, value], f"{name}/Pad", mode="constant")
    return g.op("Transpose", [bits], there, perm=TO_NCHW)


def quantizer(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    """Add ``ste_sign`` of any shape."""
    if g.real:
        return g.op("Relu", [x], f"{name}/Relu")
    first = g.op("Sign", [x], f"{name}/Sign")
    moved = g.op("Add", [first, g.scalar(0.1)], f"{name}/add")
    return g.op("Sign", [moved], f"{name}/Sign_1")


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and behind of TensorFlow's SAME."""
    whole = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return whole // 2, whole - whole // 2


def window(x: Tensor, kernel: int, stride: int, padding: str = "same") -> dict[str, list[int]]:
    """ONNX attributes of a square window; ``padding`` is "same" or "valid"."""
    pairs = [(0, 0), (0, 0)]
    if padding == "same":
        pairs = [same(size, kernel, stride) for size in x.value.shape[2:]]
    (top, left), (bottom, right) = zip(*pairs, strict=True)
    return {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [top, left, bottom, right],
    }


def weights(g: GraphBuilder, shape: tuple[int, ...], fan_in: int, binary: bool) -> Array:
    """Draw weights: ±1 if ``binary``, but normal in a float twin."""
    real = layers.he_normal(g, shape, fan_in)
    if not binary or g.real:
        return real
    return np.where(real >= 0, np.float32(1), np.float32(-1))


def conv(
    g: GraphBuilder,
    x: Tensor,
    channels: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    padding: str = "same",
    binary: bool = False,
    low: bool | None = None,
    fold: dict[str, Any] | None = None,
) -> Tensor:
    """Add a convolution: [B, C, H, W] -> [B, channels, H', W'].

    Args:
        binary: weights are ±1.
        low: x is a step function as well; by default ``binary``.
        fold: arguments of a batch normalization that is folded into the weights.
    """
    shape = (channels, x.channels, kernel, kernel)
    drawn = weights(g, shape, x.channels * kernel**2, binary)
    attributes = window(x, kernel, stride, padding)
    node = f"{name}/Conv2D"
    bias = []
    if fold is not None:
        plain = MEANINGS["Conv"]([x.value, drawn], attributes)
        scale, shift = affine(g, plain, **fold)
        drawn = drawn * scale.reshape(-1, 1, 1, 1)
        bias = [g.constant(f"{node}_bias_fused_bn", shift)]
    if binary if low is None else low:
        g.low.append(node)
    weight = g.constant(f"{node}/ReadVariableOp{SUFFIX}", drawn)
    return g.op("Conv", [x, weight, *bias], node, group=1, **attributes)


def depthwise(
    g: GraphBuilder, x: Tensor, weight: Array, name: str, stride: int, fold: bool = False
) -> Tensor:
    """Add a depthwise convolution with ``weight`` [C, 1, k, k], padded as SAME."""
    attributes: dict[str, Any] = window(x, weight.shape[2], stride)
    attributes["group"] = x.channels
    bias = []
    if fold:
        plain = MEANINGS["Conv"]([x.value, weight], attributes)
        scale, shift = affine(g, plain, epsilon=EPSILON, scale=False)
        weight = weight * scale.reshape(-1, 1, 1, 1)
        bias = [g.constant(f"{name}/depthwise_bias_fused_bn", shift)]
    stored = g.constant(f"{name}/depthwise/ReadVariableOp{SUFFIX}", weight)
    return g.op("Conv", [x, stored, *bias], f"{name}/depthwise", **attributes)


def batch_norm(g: GraphBuilder, x: Tensor, name: str, epsilon: float = EPSILON) -> Tensor:
    """Add a batch normalization of [B, C, H, W]."""
    node = f"{name}/FusedBatchNormV3"
    drawn = layers.normalizer(g, x.value)
    constants = [g.constant(f"{node}/{key}{SUFFIX}", value) for key, value in drawn.items()]
    return g.op("BatchNormalization", [x, *constants], node, epsilon=epsilon)


def affine(
    g: GraphBuilder, value: Array, epsilon: float = EPSILON, scale: bool = True
) -> tuple[Array, Array]:
    """Return a batch normalization of ``value`` as factor and summand of each channel.

    Without ``scale`` it has no γ: the factor is positive.
    """
    drawn = layers.normalizer(g, value)
    gamma = drawn["gamma"] if scale else np.float32(1)
    factor = gamma / np.sqrt(drawn["var"] + np.float32(epsilon))
    return factor, drawn["beta"] - drawn["mean"] * factor


def dense_norm(g: GraphBuilder, x: Tensor, name: str, **options: Any) -> Tensor:
    """Add a batch normalization of [B, C], which Keras writes as Mul and Add."""
    factor, shift = affine(g, x.value, **options)
    scaled = g.op("Mul", [x, g.constant(f"{name}/mul{SUFFIX}", factor)], f"{name}/mul_1")
    return g.op("Add", [scaled, g.constant(f"{name}/sub{SUFFIX}", shift)], f"{name}/add_1")


def max_pool(
    g: GraphBuilder, x: Tensor, kernel: int, stride: int, name: str, padding: str = "valid"
) -> Tensor:
    """Add a max-pool."""
    return g.op("MaxPool", [x], f"{name}/MaxPool", **window(x, kernel, stride, padding))


def relu(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    """Add a Relu."""
    return g.op("Relu", [x], f"{name}/Relu")


def flatten(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    """Add Keras's Flatten of [B, C, H, W], which counts in [H, W, C]."""
    back = g.op("Transpose", [x], f"{name}/Transpose__1", perm=TO_NHWC)
    shape = g.constant(f"{name}/const", np.array([-1, back.value[0].size], np.int64))
    return g.op("Reshape", [back, shape], f"{name}/Reshape")


def mat_mul(
    g: GraphBuilder,
    x: Tensor,
    features: int,
    name: str,
    *,
    binary: bool = False,
    fitted: bool = False,
) -> Tensor:
    """Add a dense layer without bias: [B, C] -> [B, features].

    ``fitted`` divides the weights by the size of x, so that the result is of order one.
    """
    node = f"{name}/MatMul"
    if binary:
        g.low.append(node)
    drawn = weights(g, (x.channels, features), x.channels, binary)
    if fitted:
        drawn = drawn / np.sqrt(np.mean(x.value**2))
    return g.op("MatMul", [x, g.constant(f"{node}/ReadVariableOp{SUFFIX}", drawn)], node)


def dense(g: GraphBuilder, x: Tensor, features: int, name: str) -> Tensor:
    """Add a float dense layer: [B, C] -> [B, features], for a Softmax that it does not saturate."""
    product = mat_mul(g, x, features, name, fitted=True)
    bias = g.rng.uniform(-0.1, 0.1, features).astype(np.float32)
    stored = g.constant(f"{name}/BiasAdd/ReadVariableOp{SUFFIX}", bias)
    return g.op("Add", [product, stored], f"{name}/BiasAdd")


def classifier(g: GraphBuilder, x: Tensor, classes: int, net: str) -> Tensor:
    """Add global pooling, a dense layer and Softmax: [B, C, H, W] -> [B, classes]."""
    pooled = g.op("ReduceMean", [x], f"{net}/average_pool/Mean", axes=[2, 3], keepdims=0)
    return g.op("Softmax", [dense(g, pooled, classes, f"{net}/predictions")], "softmax", axis=1)
