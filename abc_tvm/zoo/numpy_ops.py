"""NumPy meanings of the ONNX operators that the zoo's networks use.

Only the attributes that the zoo sets are read: constant padding, dilation 1. What only moves values
is in ``numpy_moves``. Each function takes the node's input arrays, in ONNX order, and its
attributes, and returns the node's one output. Real tensors are float32 throughout, as they are in
the exported graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from abc_tvm.zoo.numpy_moves import MOVES, Array, Attributes


def _windows(x: Array, attributes: Attributes, fill: float) -> Array:
    """View [B, C, *space] as strided windows [B, C, *space', *kernel], padded with ``fill``."""
    kernel, strides = attributes["kernel_shape"], attributes["strides"]
    rank = len(kernel)
    pads = attributes.get("pads", [0] * (2 * rank))
    if any(pads):
        sides = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        x = np.pad(x, sides, constant_values=fill)
    windows = sliding_window_view(x, tuple(kernel), axis=tuple(range(2, 2 + rank)))
    return windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]


def _conv(inputs: Sequence[Array], attributes: Attributes) -> Array:
    """Convolve by im2col and one matrix product a group for the whole batch."""
    x, weight, *bias = inputs
    windows = _windows(x, attributes, 0.0)
    rank, groups = weight.ndim - 2, attributes.get("group", 1)
    batch, channels, *space = windows.shape[: 2 + rank]
    last = tuple(range(2 + rank, windows.ndim))
    columns = windows.transpose(1, *last, 0, *range(2, 2 + rank))
    columns = columns.reshape(groups, channels // groups * math.prod(weight.shape[2:]), -1)
    product = weight.reshape(groups, len(weight) // groups, -1) @ columns
    images = product.reshape(len(weight), batch, *space).swapaxes(0, 1)
    if bias:
        images = images + bias[0].reshape(-1, *[1] * rank)
    return np.ascontiguousarray(images)


def _batch_norm(inputs: Sequence[Array], attributes: Attributes) -> Array:
    x, gamma, beta, mean, variance = inputs
    scale = gamma / np.sqrt(variance + np.float32(attributes["epsilon"]))
    shift = beta - mean * scale
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    return x * scale.reshape(per_channel) + shift.reshape(per_channel)


def _last(attributes: Attributes) -> tuple[int, ...]:
    """The axes of a view of windows that count places in the window."""
    rank = len(attributes["kernel_shape"])
    return tuple(range(2 + rank, 2 + 2 * rank))


def _layer_norm(inputs: Sequence[Array], attributes: Attributes) -> Array:
    x, gamma, beta = inputs
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = (centred**2).mean(axis=-1, keepdims=True) + np.float32(attributes["epsilon"])
    return centred / np.sqrt(spread) * gamma + beta


def _max_pool(inputs: Sequence[Array], attributes: Attributes) -> Array:
    pooled: Array = _windows(inputs[0], attributes, -np.inf).max(axis=_last(attributes))
    return pooled


def _average_pool(inputs: Sequence[Array], attributes: Attributes) -> Array:
    pooled: Array = _windows(inputs[0], attributes, 0.0).mean(axis=_last(attributes))
    return pooled


def _cast(inputs: Sequence[Array], _: Attributes) -> Array:
    return inputs[0].astype(np.float32)


def _gemm(inputs: Sequence[Array], attributes: Attributes) -> Array:
    x, weight, bias = inputs
    return x @ (weight.T if attributes.get("transB") else weight) + bias


def _p_relu(inputs: Sequence[Array], _: Attributes) -> Array:
    x, slope = inputs
    return np.where(x < 0, x * slope, x)


def _sigmoid(inputs: Sequence[Array], _: Attributes) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-inputs[0]))


def _softmax(inputs: Sequence[Array], attributes: Attributes) -> Array:
    axis = attributes["axis"]
    powers = np.exp(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _reduce_mean(inputs: Sequence[Array], attributes: Attributes) -> Array:
    mean: Array = inputs[0].mean(
        axis=tuple(attributes["axes"]), keepdims=bool(attributes.get("keepdims", 1))
    )
    return mean


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
    "Div": lambda inputs, _: inputs[0] / inputs[1],
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(
        axis=tuple(range(2, inputs[0].ndim)), keepdims=True
    ),
    "GreaterOrEqual": lambda inputs, _: inputs[0] >= inputs[1],
    "LayerNormalization": _layer_norm,
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "Max": lambda inputs, _: np.maximum(*inputs),
    "MaxPool": _max_pool,
    "Min": lambda inputs, _: np.minimum(*inputs),
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Neg": lambda inputs, _: -inputs[0],
    "PRelu": _p_relu,
    "ReduceMean": _reduce_mean,
    "Relu": lambda inputs, _: np.maximum(inputs[0], np.float32(0)),
    "Round": lambda inputs, _: np.rint(inputs[0]),
    "Sigmoid": _sigmoid,
    "Sign": lambda inputs, _: np.sign(inputs[0]),
    "Softmax": _softmax,
    "Sqrt": lambda inputs, _: np.sqrt(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Sum": _sum,
    **MOVES,
}
