"""Pooling in NumPy, for both sides of the checker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

Ints = Sequence[int]


def onnx_pads(
    size: Ints, kernel: Ints, strides: Ints, dilations: Ints, attributes: Mapping[str, Any]
) -> list[int]:
    """Begins, then ends, of a window operator of ONNX; ``auto_pad`` resolved."""
    rank = len(kernel)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * (2 * rank)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return [int(p) for p in attributes.get("pads", [0] * (2 * rank))]
    begins, ends = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins + ends


def out_size(n: int, k: int, s: int, d: int, begin: int, end: int, ceil: bool) -> int:
    """Windows along one axis; one that would start in the end padding is dropped."""
    room = n + begin + end - (k - 1) * d - 1
    count = (-(-room // s) if ceil else room // s) + 1
    if ceil and (count - 1) * s >= n + begin:
        count -= 1
    return count


def max_pool(
    x: np.ndarray,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    pads: Ints,
    ceil: bool,
    first: int,
) -> np.ndarray:
    """Maximum over windows of the axes from ``first`` on; padding never wins."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    result: np.ndarray | None = None
    for part in _shifted(x, kernel, strides, dilations, pads, ceil, first, lowest):
        result = part if result is None else np.maximum(result, part)
    return np.asarray(result)


def average_pool(
    x: np.ndarray, kernel: Ints, strides: Ints, pads: Ints, include: bool, first: int
) -> np.ndarray:
    """Mean over windows of the axes from ``first`` on."""
    ones = [1] * len(kernel)
    total = np.asarray(sum(_shifted(x, kernel, strides, ones, pads, False, first, 0)))
    if include or not any(pads):
        return np.asarray(total / np.float32(np.prod(kernel)))
    alone = np.ones((1,) * first + x.shape[first : first + len(kernel)], np.float32)
    alone = alone.reshape(alone.shape + (1,) * (x.ndim - alone.ndim))
    count = np.asarray(sum(_shifted(alone, kernel, strides, ones, pads, False, first, 0)))
    return np.asarray(total / count)


def _shifted(
    x: np.ndarray,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    pads: Ints,
    ceil: bool,
    first: int,
    fill: float,
) -> Iterator[np.ndarray]:
    """For each tap of the window, what it sees."""
    rank = len(kernel)
    outs, width = [], [(0, 0)] * x.ndim
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        n, begin, end = x.shape[first + i], int(pads[i]), int(pads[rank + i])
        outs.append(out_size(n, k, s, d, begin, end, ceil))
        reach = (outs[i] - 1) * s + (k - 1) * d + 1
        width[first + i] = (begin, max(0, reach - n - begin))
    if any(w != (0, 0) for w in width):
        x = np.pad(x, width, constant_values=fill)
    for taps in product(*(range(k) for k in kernel)):
        at = [slice(None)] * x.ndim
        for i, (t, s, d) in enumerate(zip(taps, strides, dilations, strict=True)):
            at[first + i] = slice(t * d, t * d + (outs[i] - 1) * s + 1, s)
        yield x[tuple(at)]
