"""What ONNX operators compute that move, gather or sum elements up, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_values import Arrays, Attributes, Operator
from abc_tvm.checks.graphs.windows import average_pool, max_pool, onnx_pads


def _axes(args: Arrays, attributes: Attributes) -> tuple[int, ...] | None:
    axes = args[1] if len(args) > 1 and args[1] is not None else attributes.get("axes")
    return None if axes is None else tuple(int(a) for a in np.asarray(axes).reshape(-1))


def _reduce(function: Callable[..., np.ndarray]) -> Operator:
    def run(args: Arrays, attributes: Attributes) -> np.ndarray:
        axes = _axes(args, attributes)
        if axes == () and attributes.get("noop_with_empty_axes"):
            return args[0]
        return function(args[0], axis=axes or None, keepdims=bool(attributes.get("keepdims", 1)))

    return run


def _squeeze(args: Arrays, attributes: Attributes) -> np.ndarray:
    return np.squeeze(args[0], _axes(args, attributes))


def _unsqueeze(args: Arrays, attributes: Attributes) -> np.ndarray:
    axes = _axes(args, attributes) or ()
    rank = args[0].ndim + len(axes)
    return np.expand_dims(args[0], tuple(a % rank for a in axes))


def _flatten(args: Arrays, attributes: Attributes) -> np.ndarray:
    axis = attributes.get("axis", 1)
    x = args[0]
    lead = int(np.prod(x.shape[: axis % x.ndim if axis < 0 else axis]))
    return x.reshape(lead, -1)


def _reshape(args: Arrays, attributes: Attributes) -> np.ndarray:
    x, target = args[0], [int(d) for d in args[1]]
    if not attributes.get("allowzero"):
        target = [x.shape[i] if d == 0 else d for i, d in enumerate(target)]
    images = attributes.get("images", 1)
    if images > 1 and target and target[0] * images == x.shape[0]:
        target[0] = x.shape[0]
    return x.reshape(target)


def _slice(args: Arrays, attributes: Attributes) -> np.ndarray:
    x = args[0]
    given = [*args[1:], *[None] * (5 - len(args))]
    starts = given[0] if given[0] is not None else attributes["starts"]
    ends = given[1] if given[1] is not None else attributes["ends"]
    axes = given[2] if given[2] is not None else attributes.get("axes", range(len(starts)))
    steps = given[3] if given[3] is not None else [1] * len(starts)
    at = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low, high = int(start), int(end)
        if step < 0 and high < -x.shape[int(axis)]:
            at[int(axis)] = slice(low, None, int(step))
        else:
            at[int(axis)] = slice(low, high, int(step))
    return x[tuple(at)]


def _split(args: Arrays, attributes: Attributes) -> tuple[np.ndarray, ...]:
    x, axis = args[0], attributes.get("axis", 0)
    sizes = args[1] if len(args) > 1 else attributes.get("split")
    if sizes is None:
        size = -(-x.shape[axis] // attributes["outputs"])
        cuts = list(range(size, x.shape[axis], size))
    else:
        cuts = list(np.cumsum([int(s) for s in sizes])[:-1])
    return tuple(np.split(x, cuts, axis))


_PAD_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def _pad(args: Arrays, attributes: Attributes) -> np.ndarray:
    mode = _PAD_MODES.get(attributes.get("mode", "constant"))
    if mode is None:
        raise NotChecked("Pad of this mode")
    x = args[0]
    pads = [int(p) for p in (args[1] if len(args) > 1 else attributes["pads"])]
    value = args[2] if len(args) > 2 and args[2] is not None else attributes.get("value", 0)
    axes = [int(a) % x.ndim for a in args[3]] if len(args) > 3 else list(range(x.ndim))
    if min(pads, default=0) < 0:
        raise NotChecked("Pad with negative pads")
    width = [(0, 0)] * x.ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        width[axis] = (before, after)
    if mode != "constant":
        return np.pad(x, width, mode=mode)  # type: ignore[call-overload]
    return np.pad(x, width, constant_values=np.asarray(value, x.dtype).reshape(()))


def _windows(x: np.ndarray, attributes: Attributes) -> tuple[list[int], ...]:
    """Kernel, strides, dilations and pads of a pooling."""
    kernel = [int(k) for k in attributes["kernel_shape"]]
    ones = [1] * len(kernel)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    pads = onnx_pads(x.shape[2:], kernel, strides, dilations, attributes)
    return kernel, strides, dilations, pads


def _max_pool(args: Arrays, attributes: Attributes) -> np.ndarray:
    kernel, strides, dilations, pads = _windows(args[0], attributes)
    ceil = bool(attributes.get("ceil_mode"))
    return max_pool(args[0], kernel, strides, dilations, pads, ceil, first=2)


def _average_pool(args: Arrays, attributes: Attributes) -> np.ndarray:
    kernel, strides, dilations, pads = _windows(args[0], attributes)
    if attributes.get("ceil_mode") or any(d != 1 for d in dilations):
        raise NotChecked("AveragePool with ceil_mode or dilations")
    include = bool(attributes.get("count_include_pad"))
    return average_pool(args[0], kernel, strides, pads, include, 2)


def _global_average(args: Arrays, attributes: Attributes) -> np.ndarray:
    return args[0].mean(axis=tuple(range(2, args[0].ndim)), keepdims=True)


def _transpose(args: Arrays, attributes: Attributes) -> np.ndarray:
    return np.transpose(args[0], attributes.get("perm"))


def _concat(args: Arrays, attributes: Attributes) -> np.ndarray:
    return np.concatenate(args, attributes["axis"])


def _gather(args: Arrays, attributes: Attributes) -> np.ndarray:
    return np.take(args[0], args[1], axis=attributes.get("axis", 0))


def _mean_of(args: Arrays, attributes: Attributes) -> np.ndarray:
    return reduce(np.add, args) / np.float32(len(args))


MOVEMENTS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "Concat": _concat,
    "Flatten": _flatten,
    "Gather": _gather,
    "GlobalAveragePool": _global_average,
    "MaxPool": _max_pool,
    "Mean": _mean_of,
    "Pad": _pad,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
