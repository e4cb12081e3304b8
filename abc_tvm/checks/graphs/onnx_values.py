"""What pointwise ONNX operators compute, in NumPy: an element of the result of one of each input.

Float32 arithmetic in the order that onnxruntime computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from onnx import helper

from abc_tvm.checks.graphs.not_checked import NotChecked

Arrays = Sequence[np.ndarray]
"""Inputs of a node; one that is left out between others is ``None``."""

Attributes = Mapping[str, Any]
"""Attributes by name: numbers, text, lists of them, tensors."""

Operator = Callable[[Arrays, Attributes], "np.ndarray | tuple[np.ndarray, ...]"]


def plain(function: Callable[..., np.ndarray]) -> Operator:
    """An operator that is a function of its inputs alone."""
    return lambda args, attributes: function(*args)


def _variadic(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Operator:
    return lambda args, attributes: reduce(function, args)


def _clip(args: Arrays, attributes: Attributes) -> np.ndarray:
    x = args[0]
    low = args[1] if len(args) > 1 else attributes.get("min")
    high = args[2] if len(args) > 2 else attributes.get("max")
    if low is not None:
        x = np.maximum(x, np.asarray(low, x.dtype))
    if high is not None:
        x = np.minimum(x, np.asarray(high, x.dtype))
    return x


def _batch_norm(args: Arrays, attributes: Attributes) -> np.ndarray:
    if attributes.get("training_mode"):
        raise NotChecked("BatchNormalization in training mode")
    x, gamma, beta, mean, variance = args
    scale = gamma * (
        np.float32(1) / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5)))
    )
    shift = beta - mean * scale
    shape = (-1,) + (1,) * (x.ndim - 2)
    return x * scale.reshape(shape) + shift.reshape(shape)


def _cast(args: Arrays, attributes: Attributes) -> np.ndarray:
    return args[0].astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _divide(args: Arrays, attributes: Attributes) -> np.ndarray:
    a, b = args
    if np.issubdtype(np.asarray(a).dtype, np.integer):
        raise NotChecked("Div of integers")
    return np.divide(a, b)


def _leaky(args: Arrays, attributes: Attributes) -> np.ndarray:
    x = args[0]
    return np.where(x >= 0, x, x * np.float32(attributes.get("alpha", 0.01)))


def _prelu(args: Arrays, attributes: Attributes) -> np.ndarray:
    return np.where(args[0] < 0, args[0] * args[1], args[0])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(x.dtype)


def _quantize(args: Arrays, attributes: Attributes) -> np.ndarray:
    x, scale = args[:2]
    zero = args[2] if len(args) > 2 and args[2] is not None else np.zeros((), np.uint8)
    scale, point = (_along_axis(v, x.ndim, attributes) for v in (scale, zero))
    limits = np.iinfo(zero.dtype)
    whole = np.rint(x / scale) + point.astype(np.float32)
    return np.clip(whole, limits.min, limits.max).astype(zero.dtype)


def _dequantize(args: Arrays, attributes: Attributes) -> np.ndarray:
    x, scale = args[:2]
    zero = args[2] if len(args) > 2 and args[2] is not None else np.zeros((), x.dtype)
    scale, point = (_along_axis(v, x.ndim, attributes) for v in (scale, zero))
    return (x.astype(np.int32) - point.astype(np.int32)).astype(np.float32) * scale


def _along_axis(values: np.ndarray, rank: int, attributes: Attributes) -> np.ndarray:
    """A scale for each slice along an axis, shaped to broadcast."""
    if np.size(values) == 1:
        return np.asarray(values).reshape(())
    if attributes.get("block_size") or np.ndim(values) != 1:
        raise NotChecked("quantization by blocks")
    shape = [1] * rank
    shape[attributes.get("axis", 1)] = -1
    return values.reshape(shape)


POINTWISE: dict[str, Operator] = {
    "Abs": plain(np.abs),
    "Add": plain(np.add),
    "And": plain(np.logical_and),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": plain(np.ceil),
    "Clip": _clip,
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Equal": plain(np.equal),
    "Floor": plain(np.floor),
    "Greater": plain(np.greater),
    "GreaterOrEqual": plain(np.greater_equal),
    "Identity": lambda args, attributes: args[0],
    "LeakyRelu": _leaky,
    "Less": plain(np.less),
    "LessOrEqual": plain(np.less_equal),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Mul": plain(np.multiply),
    "Neg": plain(np.negative),
    "Not": plain(np.logical_not),
    "Or": plain(np.logical_or),
    "PRelu": _prelu,
    "QuantizeLinear": _quantize,
    "Relu": lambda args, attributes: np.maximum(args[0], args[0].dtype.type(0)),
    "Round": plain(np.rint),
    "Sigmoid": lambda args, attributes: _sigmoid(args[0]),
    "Sign": plain(np.sign),
    "Sub": plain(np.subtract),
    "Sum": _variadic(np.add),
    "Tanh": plain(np.tanh),
    "Where": plain(np.where),
    "Xor": plain(np.logical_xor),
}
