"""What Relax operators compute that may stand between two layers, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.ir import Attrs

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.windows import average_pool, max_pool

Value = Any
"""What an argument or a variable has: an array, a tuple of them, a number, or a shape."""

Operator = Callable[[list[Value], Attrs], "np.ndarray | tuple[np.ndarray, ...]"]


@dataclass(frozen=True)
class OpenShape:
    """A shape; ``None`` stands for the batch."""

    extents: tuple[int | None, ...]


def _plain(function: Callable[..., np.ndarray]) -> Operator:
    return lambda args, attrs: function(*args)


def ints(values: Sequence[int] | int, count: int = 2) -> list[int]:
    """A scalar or a list of an attribute as ``count`` integers."""
    items = [int(v) for v in values] if isinstance(values, Iterable) else [int(values)]
    return items * count if len(items) == 1 else items


def four_pads(padding: Sequence[int] | int) -> list[int]:
    """Padding as top, left, bottom, right."""
    items = ints(padding)
    return items * 2 if len(items) == 2 else items


def _axes(attrs: Attrs) -> tuple[int, ...] | None:
    return None if attrs.axis is None else tuple(ints(attrs.axis, 1))


def _reduce(function: Callable[..., np.ndarray]) -> Operator:
    return lambda args, attrs: function(args[0], axis=_axes(attrs), keepdims=bool(attrs.keepdims))


def _reshape(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, target = args[0], list(args[1].extents)
    rest = [d for d in target[1:] if d is not None]
    if len(rest) < len(target) - 1:
        raise NotChecked("reshape to several open extents")
    return x.reshape([-1, *rest]) if target else x.reshape(())


def _permute(args: list[Value], attrs: Attrs) -> np.ndarray:
    return np.transpose(args[0], None if attrs.axes is None else [int(a) for a in attrs.axes])


def _expand(args: list[Value], attrs: Attrs) -> np.ndarray:
    rank = args[0].ndim + len(attrs.axis)
    return np.expand_dims(args[0], tuple(int(a) % rank for a in attrs.axis))


def _concat(args: list[Value], attrs: Attrs) -> np.ndarray:
    return np.concatenate(args[0], 0 if attrs.axis is None else int(attrs.axis))


def _split(args: list[Value], attrs: Attrs) -> tuple[np.ndarray, ...]:
    parts = attrs.indices_or_sections
    axis = int(attrs.axis)
    if hasattr(parts, "__len__"):
        return tuple(np.split(args[0], [int(p) for p in parts], axis))
    size = -(-args[0].shape[axis] // int(parts))
    return tuple(np.split(args[0], range(size, args[0].shape[axis], size), axis))


def _take(args: list[Value], attrs: Attrs) -> np.ndarray:
    return np.take(args[0], args[1], axis=None if attrs.axis is None else int(attrs.axis))


def _pool(
    args: list[Value], attrs: Attrs
) -> tuple[np.ndarray, list[int], list[int], list[int], int]:
    first = {"NHWC": 1, "NCHW": 2}.get(str(attrs.layout))
    if first is None:
        raise NotChecked(f"pooling in layout {attrs.layout}")
    return args[0], ints(attrs.pool_size), ints(attrs.strides), four_pads(attrs.padding), first


def _max_pool(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, size, strides, pads, first = _pool(args, attrs)
    return max_pool(x, size, strides, ints(attrs.dilation), pads, bool(attrs.ceil_mode), first)


def _average_pool(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, size, strides, pads, first = _pool(args, attrs)
    if attrs.ceil_mode or set(ints(attrs.dilation)) != {1}:
        raise NotChecked("averages with ceil_mode or dilation")
    return average_pool(x, size, strides, pads, bool(attrs.count_include_pad), first)


def _pad(args: list[Value], attrs: Attrs) -> np.ndarray:
    if str(attrs.pad_mode) != "constant":
        raise NotChecked(f"pad mode {attrs.pad_mode}")
    width = [int(p) for p in attrs.pad_width]
    pairs = list(zip(width[::2], width[1::2], strict=True))
    value = np.asarray(float(attrs.pad_value), args[0].dtype)
    return np.pad(args[0], pairs, constant_values=value)


def _strided_slice(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, axes, begin, end = args[:4]
    step = args[4] if len(args) > 4 else (1,) * len(axes)
    at = [slice(None)] * x.ndim
    for axis, b, e, s in zip(_flat(axes), _flat(begin), _flat(end), _flat(step), strict=True):
        at[axis] = slice(b, None if s < 0 and e < -x.shape[axis] else e, s)
    return x[tuple(at)]


def _flat(values: Sequence[int]) -> Sequence[int]:
    return [int(v) for v in values]


def _astype(args: list[Value], attrs: Attrs) -> np.ndarray:
    return args[0].astype(str(attrs.dtype).rsplit(".", 1)[-1])


def _divide(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, by = args
    if np.result_type(x, by).kind not in "iu":
        return np.divide(x, by)
    return np.asarray(np.sign(x) * np.sign(by) * (np.abs(x) // np.abs(by)))


def _place(function: Callable[..., np.ndarray]) -> Operator:
    """Of the first of several that are as large."""

    def place(args: list[Value], attrs: Attrs) -> np.ndarray:
        axis = None if attrs.axis is None else int(attrs.axis)
        return function(args[0], axis=axis, keepdims=bool(attrs.keepdims)).astype(np.int64)

    return place


def _sigmoid(args: list[Value], attrs: Attrs) -> np.ndarray:
    return (1 / (1 + np.exp(-args[0].astype(np.float64)))).astype(args[0].dtype)


def _squeeze(args: list[Value], attrs: Attrs) -> np.ndarray:
    return np.squeeze(args[0], _axes(attrs))


def _leaky(args: list[Value], attrs: Attrs) -> np.ndarray:
    return np.where(args[0] > 0, args[0], args[0] * np.float32(attrs.alpha))


def _prelu(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, slope = args
    shape = [1] * x.ndim
    shape[int(attrs.axis)] = -1
    return np.where(x > 0, x, x * slope.reshape(shape))


def _clip(args: list[Value], attrs: Attrs) -> np.ndarray:
    x, low, high = args
    return np.clip(x, np.asarray(low, x.dtype), np.asarray(high, x.dtype))


TABLE: dict[str, Operator] = {
    "abs": _plain(np.abs),
    "add": _plain(np.add),
    "argmax": _place(np.argmax),
    "argmin": _place(np.argmin),
    "astype": _astype,
    "ceil": _plain(np.ceil),
    "clip": _clip,
    "concat": _concat,
    "divide": _divide,
    "equal": _plain(np.equal),
    "erf": lambda args, attrs: _erf(args[0]),
    "exp": _plain(np.exp),
    "expand_dims": _expand,
    "flip": lambda args, attrs: np.flip(args[0], int(attrs.axis)),
    "floor": _plain(np.floor),
    "greater": _plain(np.greater),
    "greater_equal": _plain(np.greater_equal),
    "isfinite": _plain(np.isfinite),
    "isnan": _plain(np.isnan),
    "less": _plain(np.less),
    "less_equal": _plain(np.less_equal),
    "log": _plain(np.log),
    "logical_and": _plain(np.logical_and),
    "logical_not": _plain(np.logical_not),
    "logical_or": _plain(np.logical_or),
    "logical_xor": _plain(np.logical_xor),
    "max": _reduce(np.max),
    "maximum": _plain(np.maximum),
    "mean": _reduce(np.mean),
    "min": _reduce(np.min),
    "minimum": _plain(np.minimum),
    "multiply": _plain(np.multiply),
    "negative": _plain(np.negative),
    "nn.avg_pool2d": _average_pool,
    "nn.leakyrelu": _leaky,
    "nn.max_pool2d": _max_pool,
    "nn.pad": _pad,
    "nn.prelu": _prelu,
    "nn.relu": lambda args, attrs: np.maximum(args[0], args[0].dtype.type(0)),
    "not_equal": _plain(np.not_equal),
    "permute_dims": _permute,
    "power": _plain(np.power),
    "reshape": _reshape,
    "round": _plain(np.rint),
    "rsqrt": lambda args, attrs: 1 / np.sqrt(args[0]),
    "sigmoid": _sigmoid,
    "sign": _plain(np.sign),
    "split": _split,
    "sqrt": _plain(np.sqrt),
    "squeeze": _squeeze,
    "stack": lambda args, attrs: np.stack(args[0], int(attrs.axis or 0)),
    "strided_slice": _strided_slice,
    "subtract": _plain(np.subtract),
    "sum": _reduce(np.sum),
    "take": _take,
    "tanh": _plain(np.tanh),
    "trunc": _plain(np.trunc),
    "where": _plain(np.where),
}


def _erf(x: np.ndarray) -> np.ndarray:
    from math import erf

    return np.vectorize(erf, otypes=[x.dtype])(x)
