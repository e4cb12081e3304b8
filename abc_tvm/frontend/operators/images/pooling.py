"""MaxPool, AveragePool, LpPool and MaxUnpool.

1. ``auto_pad`` and ``ceil_mode`` become pads. TVM counts a window of ``ceil_mode`` that starts in
   the padding, which ONNX drops, and reads SAME_* with pads below zero where a stride is longer
   than its kernel.
2. MaxPool of bytes goes through float32, which holds them exactly; so do sums of float16, which
   TVM would round at every step.
3. MaxPool with Indices becomes a running maximum over the taps of the window.
4. AveragePool with windows that reach over the padded end becomes a sum over zeros divided by the
   count of taps that ONNX gives each window.
5. MaxPool and AveragePool of one axis are those of images of one row.
6. LpPool becomes a power, a sum and a root; MaxUnpool a scatter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import Array, attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.images.rows import pool_as_image
from abc_tvm.frontend.operators.images.windows import SAME, Windows, known_image, windows
from abc_tvm.frontend.operators.rewriter import Rewriter

Dtype = np.dtype[Any]

_BYTES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


def max_pool(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 1 to 3, and 5."""
    attrs = attributes(node)
    if len(node.output) > 1 and node.output[1]:
        return _with_indices(edit, node)
    x = node.input[0]
    if edit.dtypes.get(x) in _BYTES:
        spell.through_float(edit, node)
        return True
    if not _is_implicit(attrs) and len(node.output) == 1:
        _check(edit, node)
        return pool_as_image(edit, node)
    at = _windows(edit, node)
    _with_pads(edit, node, at)
    return True


def average_pool(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 1, 4 and 5."""
    if _is_half(edit, node):
        return True
    attrs = attributes(node)
    if not _is_implicit(attrs):
        _check(edit, node)
        return pool_as_image(edit, node)
    at = _windows(edit, node)
    if at.reach == at.after or not attrs.get("ceil_mode") or not any(at.reach):
        _with_pads(edit, node, at)
        return True
    dtype = spell.real(edit, node, node.input[0])
    total = _sums(edit, node, node.input[0], at, dtype)
    counts = _counts(at, bool(attrs.get("count_include_pad")))
    divisor = spell.like(edit, counts, dtype, f"{node.output[0]}/taps")
    edit.op(node, "Div", total, divisor, out=node.output[0])
    _tell(edit, node, at)
    return True


def lp_pool(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 6: ``(sum |x|^p)^(1/p)``."""
    if _is_half(edit, node):
        return True
    at = _windows(edit, node)
    x, out = node.input[0], node.output[0]
    dtype = spell.real(edit, node, x)
    p = _power_of(edit, node)
    total = _sums(edit, node, _powers(edit, node, x, p, dtype), at, dtype)
    _root(edit, node, total, p, dtype, out)
    _tell(edit, node, at)
    return True


def _power_of(edit: Rewriter, node: onnx.NodeProto) -> float:
    p = float(attributes(node).get("p", 2))
    if not p >= 1:
        raise edit.invalid(node, f"has p = {p:g}, and a norm needs 1 or more")
    return p


def global_lp_pool(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 6, over the whole image."""
    if _is_half(edit, node):
        return True
    x, out = node.input[0], node.output[0]
    dtype = spell.real(edit, node, x)
    p = _power_of(edit, node)
    axes = list(range(2, spell.rank_of(edit, node, x)))
    powers = _powers(edit, node, x, p, dtype)
    total = edit.axes_op(node, "ReduceSum", powers, axes, keepdims=1)
    _root(edit, node, total, p, dtype, out)
    return True


def max_unpool(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 6: values go to their index in a tensor of zeros."""
    x, indices, out = node.input[0], node.input[1], node.output[0]
    shape = edit.static_shape(x)
    if shape is None:
        raise edit.refuse(node, "needs a fixed batch, since its indices count over the whole batch")
    attrs = attributes(node)
    spatial = len(shape) - 2
    kernel = list(attrs["kernel_shape"])
    strides = list(attrs.get("strides") or [1] * spatial)
    pads = list(attrs.get("pads") or [0] * 2 * spatial)
    target = spell.numbers(edit, node, 2, "output_shape")
    # Indices refer to the image that was pooled; output_shape only says where it ends (below).
    image = [
        (n - 1) * strides[i] + kernel[i] - pads[i] - pads[i + spatial]
        for i, n in enumerate(shape[2:])
    ]
    inferred = [*shape[:2], *image]
    if target not in (None, inferred):
        raise edit.refuse(
            node,
            f"has output_shape {target} for an image of {inferred}, which onnx and onnxruntime "
            "fill in two ways; leave it out, and pad the result",
        )
    dtype = spell.real(edit, node, x)
    zeros = edit.constant(np.zeros(math.prod(inferred), dtype), f"{out}/zeros")
    flat = spell.reshape(edit, node, x, [-1])
    rows = spell.reshape(edit, node, indices, [-1])
    op_type = "ScatterElements" if edit.opset >= 11 else "Scatter"
    filled = edit.op(node, op_type, zeros, rows, flat, axis=0)
    spell.reshape(edit, node, filled, inferred, out=out)
    return True


def _is_half(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 2 for a sum of float16; returns whether it was one."""
    half = edit.dtypes.get(node.input[0]) == spell.FLOAT16
    if half:
        spell.through_float(edit, node)
    return half


def _is_implicit(attrs: dict[str, object]) -> bool:
    return bool(attrs.get("ceil_mode")) or attrs.get("auto_pad") in SAME


def _check(edit: Rewriter, node: onnx.NodeProto) -> None:
    """Refuse windows that no image fits in."""
    if known_image(edit, node.input[0]):
        _windows(edit, node)


def _windows(edit: Rewriter, node: onnx.NodeProto) -> Windows:
    attrs = attributes(node)
    ceil_mode = bool(attrs.get("ceil_mode"))
    return windows(edit, node, node.input[0], attrs["kernel_shape"], ceil_mode=ceil_mode, pool=True)


def _counts(at: Windows, include_pad: bool) -> Array:
    """Taps that each window divides by, ``[1, 1, windows...]``.

    Those on the image; with ``include_pad`` those on its padding as well, but never those behind
    it, where only ``ceil_mode`` reaches.
    """
    counts = np.ones(())
    for axis, size in enumerate(at.size):
        low = -at.before[axis] if include_pad else 0
        high = size + (at.after[axis] if include_pad else 0)
        here = [sum(low <= t < high for t in at.taps(axis, w)) for w in range(at.count[axis])]
        counts = counts[..., None] * np.array(here, np.float64)
    return counts[None, None]


def _with_pads(edit: Rewriter, node: onnx.NodeProto, at: Windows) -> None:
    """Case 1: the node with plain pads."""
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    del plain.output[1:]
    plain.input[0] = _cropped(edit, node, node.input[0], at)
    before = [max(n, 0) for n in at.before]
    after = at.reach if attributes(node).get("ceil_mode") else [max(n, 0) for n in at.after]
    drop = ("auto_pad", "ceil_mode", "storage_order")
    spell.keep(edit, plain, drop, pads=[*before, *after])
    _tell(edit, node, at)


def _tell(edit: Rewriter, node: onnx.NodeProto, at: Windows) -> None:
    """Note where the pool's image has another size than ONNX inferred: see ``ceil_windows``."""
    inferred = edit.shapes.get(node.output[0])
    if inferred is not None and inferred[2:] != at.count:
        edit.stale = True


def _cropped(edit: Rewriter, node: onnx.NodeProto, x: str, at: Windows) -> str:
    """``x`` without the rows that padding below zero cuts before it."""
    axes = [axis + 2 for axis, n in enumerate(at.before) if n < 0]
    if not axes:
        return x
    starts = [-at.before[axis - 2] for axis in axes]
    return spell.cut(edit, node, x, axes, starts, [at.size[axis - 2] for axis in axes])


def _sums(edit: Rewriter, node: onnx.NodeProto, x: str, at: Windows, dtype: Dtype) -> str:
    """Sum over each window, with zeros outside the image."""
    x = _padded(edit, node, x, at)
    if any(d > 1 and k > 1 for d, k in zip(at.dilations, at.kernel, strict=True)):
        return _sums_of_taps(edit, node, x, at)
    mean = edit.op(node, "AveragePool", x, kernel_shape=at.kernel, strides=at.strides)
    taps = spell.like(edit, math.prod(at.kernel), dtype, f"{node.output[0]}/window")
    return edit.op(node, "Mul", mean, taps)


def _padded(
    edit: Rewriter, node: onnx.NodeProto, x: str, at: Windows, fill: Array | None = None
) -> str:
    """``x`` with all that the windows reach, by default with zeros."""
    x = _cropped(edit, node, x, at)
    before = [max(n, 0) for n in at.before]
    if any(before) or any(at.reach):
        x = spell.widen(edit, node, x, [0, 0, *before], [0, 0, *at.reach], fill)
    return x


def _sums_of_taps(edit: Rewriter, node: onnx.NodeProto, x: str, at: Windows) -> str:
    """The same tap by tap: AveragePool has dilations from opset 19 on."""
    total, *rest = (_at_tap(edit, node, x, at, tap) for tap in _taps(at))
    for value in rest:
        total = edit.op(node, "Add", total, value)
    return total


def _taps(at: Windows) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(k) for k in at.kernel))


def _at_tap(
    edit: Rewriter, node: onnx.NodeProto, padded: str, at: Windows, tap: tuple[int, ...]
) -> str:
    """What one tap of each window reads of the padded image."""
    starts = [k * d for k, d in zip(tap, at.dilations, strict=True)]
    spans = zip(starts, at.count, at.strides, strict=True)
    ends = [start + (count - 1) * stride + 1 for start, count, stride in spans]
    axes = range(2, 2 + len(tap))
    return spell.cut(edit, node, padded, axes, starts, ends, at.strides)


def _powers(edit: Rewriter, node: onnx.NodeProto, x: str, p: float, dtype: Dtype) -> str:
    if p == 2:
        return edit.op(node, "Mul", x, x)
    size = edit.op(node, "Abs", x)
    if p == 1:
        return size
    return edit.op(node, "Pow", size, spell.like(edit, p, dtype, f"{node.output[0]}/p"))


def _root(edit: Rewriter, node: onnx.NodeProto, x: str, p: float, dtype: Dtype, out: str) -> None:
    if p == 1:
        edit.op(node, "Identity", x, out=out)
    elif p == 2:
        edit.op(node, "Sqrt", x, out=out)
    else:
        edit.op(node, "Pow", x, spell.like(edit, 1 / p, dtype, f"{out}/root"), out=out)


def _with_indices(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 3. An index counts over the whole tensor, row by row or (``storage_order``) column by
    column; the first tap of those with the same value is taken."""
    x = node.input[0]
    shape = edit.static_shape(x)
    if shape is None:
        raise edit.refuse(node, "gives Indices over the whole batch; compile with a fixed batch")
    at = _windows(edit, node)
    kind = edit.dtypes.get(x, spell.FLOAT)
    data = spell.cast(edit, node, x, spell.FLOAT) if kind in _BYTES else x
    dtype = np.dtype(np.float32) if kind in _BYTES else spell.real(edit, node, x)
    low = float(np.finfo(dtype).min)
    padded = _padded(edit, node, data, at, np.asarray(low, dtype))
    order = bool(attributes(node).get("storage_order"))
    table = _positions(shape, order)
    best = place = ""
    for tap in _taps(at):
        value = _at_tap(edit, node, padded, at, tap)
        index = edit.constant(_seen(table, at, tap), f"{node.output[1]}/tap")
        if not best:
            best, place = value, index
            continue
        better = edit.op(node, "Greater", value, best)
        best = edit.op(node, "Where", better, value, best)
        place = edit.op(node, "Where", better, index, place)
    if kind in _BYTES:
        spell.cast(edit, node, best, kind, out=node.output[0])
    else:
        edit.op(node, "Identity", best, out=node.output[0])
    edit.op(node, "Identity", place, out=node.output[1])
    _tell(edit, node, at)
    return True


def _positions(shape: Sequence[int], column_major: bool) -> Array:
    count = math.prod(shape)
    if not column_major:
        return np.arange(count, dtype=np.int64).reshape(shape)
    spatial = np.arange(math.prod(shape[2:]), dtype=np.int64).reshape(shape[2:], order="F")
    planes = np.arange(shape[0] * shape[1], dtype=np.int64) * spatial.size
    return planes.reshape(*shape[:2], *[1] * spatial.ndim) + spatial


def _seen(table: Array, at: Windows, tap: tuple[int, ...]) -> Array:
    """The position that a tap reads in each window; the nearest one where it reads padding."""
    for axis, k in enumerate(tap):
        rows = [at.taps(axis, window)[k] for window in range(at.count[axis])]
        table = np.take(table, np.clip(rows, 0, at.size[axis] - 1), axis=axis + 2)
    return table


REWRITES = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalLpPool": global_lp_pool,
    "MaxUnpool": max_unpool,
}
