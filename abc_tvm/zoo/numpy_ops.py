"""NumPy meanings of the ONNX operators that the zoo's networks use.

Only the attributes that the zoo sets are read: symmetric padding, dilation 1, group 1. Each
function takes the node's input arrays, in ONNX order, and its attributes, and returns the node's
one output. Real tensors are float32 throughout, as they are in the exported graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]


def _windows(x: Array, attributes: Attributes, fill: float) -> Array:
    """View [B, C, H, W] as strided windows [B, C, H', W', kh, kw], padded with ``fill``."""
    kernel, stride = attributes["kernel_shape"], attributes["strides"]
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if top or left or bottom or right:
        pads = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, pads, constant_values=fill)
    return sliding_window_view(x, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]


def _conv(inputs: Sequence[Array], attributes: Attributes) -> Array:
    """Convolve by im2col and one matrix product for the whole batch."""
    x, weight = inputs
    windows = _windows(x, attributes, 0.0)
    batch, channels, height, width, *kernel = windows.shape
    columns = windows.transpose(1, 4, 5, 0, 2, 3).reshape(channels * math.prod(kernel), -1)
    product = weight.reshape(len(weight), -1) @ columns
    images = product.reshape(len(weight), batch, height, width)
    return np.ascontiguousarray(images.swapaxes(0, 1))


def _batch_norm(inputs: Sequence[Array], attributes: Attributes) -> Array:
    x, gamma, beta, mean, variance = inputs
    scale = gamma / np.sqrt(variance + np.float32(attributes["epsilon"]))
    shift = beta - mean * scale
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    return x * scale.reshape(per_channel) + shift.reshape(per_channel)


def _max_pool(inputs: Sequence[Array], attributes: Attributes) -> Array:
    pooled: Array = _windows(inputs[0], attributes, -np.inf).max(axis=(4, 5))
    return pooled


def _average_pool(inputs: Sequence[Array], attributes: Attributes) -> Array:
    pooled: Array = _windows(inputs[0], attributes, 0.0).mean(axis=(4, 5))
    return pooled


def _cast(inputs: Sequence[Array], _: Attributes) -> Array:
    return inputs[0].astype(np.float32)


def _gemm(inputs: Sequence[Array], _: Attributes) -> Array:
    x, weight, bias = inputs
    return x @ weight + bias


def _sum(inputs: Sequence[Array], _: Attributes) -> Array:
    total = inputs[0]
    for term in inputs[1:]:
        total = total + term
    return total


MEANINGS: dict[str, Callable[[Sequence[Array], Attributes], Array]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": lambda inputs, _: np.clip(*inputs),
    "Conv": _conv,
    "Flatten": lambda inputs, _: inputs[0].reshape(len(inputs[0]), -1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(axis=(2, 3), keepdims=True),
    "GreaterOrEqual": lambda inputs, _: inputs[0] >= inputs[1],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Relu": lambda inputs, _: np.maximum(inputs[0], np.float32(0)),
    "Sign": lambda inputs, _: np.sign(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Sum": _sum,
}
