"""Gather and Scatter, never outside the tensor, and operators that are made of them.

ONNX calls an index outside its axis an error. TVM reads and writes there: another tensor's memory,
or none. A stored index is therefore checked when the model is compiled and a fault is refused;
a computed one is moved into the axis (``_inside``), which changes no valid index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.graph_edit import Array, attributes
from abc_tvm.frontend.operators.rewriter import Dim, Rewrite, Rewriter


def _gather(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, index = node.input
    axis, extent = _axis(edit, node, x)
    held = edit.value(index)
    if held is None:
        safe = _inside(edit, node, index, [extent])
        edit.last(node, "Gather", x, safe, out=node.output[0], axis=axis)
        return True
    known = _checked(edit, node, held, np.asarray(extent, np.int64))
    if known.ndim == 0:
        name = edit.integers([int(known)], f"{node.output[0]}/index")
        rows = edit.last(node, "Gather", x, name, axis=axis)
        edit.axes_op(node, "Squeeze", rows, [axis], out=node.output[0])
        return True
    if np.array_equal(known, held):
        return False
    name = edit.constant(known, f"{node.output[0]}/index")
    edit.last(node, "Gather", x, name, out=node.output[0], axis=axis)
    return True


def _gather_elements(edit: Rewriter, node: onnx.NodeProto) -> bool:
    axis, extent = _axis(edit, node, node.input[0])
    return _along(edit, node, [extent], axis=axis)


def _scatter_elements(edit: Rewriter, node: onnx.NodeProto) -> bool:
    axis, extent = _axis(edit, node, node.input[0])
    attrs = {k: v for k, v in attributes(node).items() if k == "reduction"}
    index, data = edit.static_shape(node.input[1]), edit.static_shape(node.input[0])
    if index is None or data is None:
        raise edit.refuse(node, "needs fixed shapes; compile with a fixed batch")
    return _along(edit, node, [extent], axis=axis, **attrs)


def _gather_nd(edit: Rewriter, node: onnx.NodeProto) -> bool:
    skipped = int(attributes(node).get("batch_dims", 0))
    attrs = {"batch_dims": skipped} if edit.opset >= 12 else {}
    return _along(edit, node, _extents(edit, node, skipped), **attrs)


def _scatter_nd(edit: Rewriter, node: onnx.NodeProto) -> bool:
    attrs = {k: v for k, v in attributes(node).items() if k == "reduction"}
    return _along(edit, node, _extents(edit, node, 0), **attrs)


def _along(edit: Rewriter, node: onnx.NodeProto, extents: list[int], **attrs: Any) -> bool:
    """The operator itself, on indices that are known to lie within ``extents``."""
    index = node.input[1]
    known = edit.value(index)
    if known is None:
        safe = _inside(edit, node, index, extents)
    else:
        checked = _checked(edit, node, known, np.asarray(extents, np.int64))
        safe = edit.constant(checked, f"{node.output[0]}/index")
    rest = list(node.input[2:])
    op_type = "ScatterElements" if node.op_type == "Scatter" and edit.opset >= 11 else node.op_type
    edit.last(node, op_type, node.input[0], safe, *rest, out=node.output[0], **attrs)
    return True


def _inside(edit: Rewriter, node: onnx.NodeProto, index: str, extents: Sequence[int]) -> str:
    """A computed index, negative ones counted from the end, and none outside ``extents``."""
    kind = edit.dtype(index) or np.dtype(np.int64)
    out = node.output[0]
    size = np.asarray(extents if len(extents) > 1 else extents[0], kind)
    extent = edit.constant(size, f"{out}/extent")
    last = edit.constant(np.asarray(size - kind.type(1)), f"{out}/last")
    zero = edit.constant(np.zeros((), kind), f"{out}/zero")
    if kind.kind == "i":
        from_end = edit.op(node, "Add", index, extent)
        index = edit.op(node, "Where", edit.op(node, "Less", index, zero), from_end, index)
        index = edit.op(node, "Where", edit.op(node, "Less", index, zero), zero, index)
    return edit.op(node, "Where", edit.op(node, "Greater", index, last), last, index)


def _checked(edit: Rewriter, node: onnx.NodeProto, index: Array, extents: Array) -> Array:
    """A stored index with negative ones counted from the end."""
    bad = (index < -extents) | (index >= extents)
    if bad.any():
        first = int(np.asarray(index)[bad].reshape(-1)[0]) if index.ndim else int(index)
        size = int(
            np.broadcast_to(extents, index.shape)[bad].reshape(-1)[0] if index.ndim else extents
        )
        raise edit.refuse(
            node, f"reads index {first} of an axis of {size} elements; correct the model"
        )
    return np.where(index < 0, index + extents, index).astype(index.dtype)


def _axis(edit: Rewriter, node: onnx.NodeProto, x: str) -> tuple[int, int]:
    """The axis, counted from the front, and its extent."""
    shape = edit.shapes.get(x)
    if shape is None:
        raise edit.refuse(node, f"reads {x!r}, whose shape is not known; export it with shapes")
    axis = int(attributes(node).get("axis", 0)) % max(len(shape), 1)
    return axis, _fixed(edit, node, shape[axis], axis)


def _extents(edit: Rewriter, node: onnx.NodeProto, skipped: int) -> list[int]:
    """Extents of the axes that the coordinates of GatherND and ScatterND run along."""
    shape, index = edit.shapes.get(node.input[0]), edit.shapes.get(node.input[1])
    if shape is None or index is None or not isinstance(index[-1], int):
        raise edit.refuse(node, "reads a tensor whose shape is not known; export it with shapes")
    axes = range(skipped, skipped + index[-1])
    return [_fixed(edit, node, shape[axis], axis) for axis in axes]


def _fixed(edit: Rewriter, node: onnx.NodeProto, extent: Dim, axis: int) -> int:
    if not isinstance(extent, int):
        raise edit.refuse(
            node, f"indexes axis {axis}, which has no fixed size; compile with a fixed batch"
        )
    return extent


def _one_hot(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """``on`` where a position along the new axis is the index, counted from the end if negative."""
    index, depth_name, values = node.input
    depth, rank = edit.value(depth_name), edit.ranks.get(index)
    if depth is None or rank is None:
        raise edit.refuse(node, "has a depth that the model computes; store it and export again")
    out, count = node.output[0], int(np.asarray(depth).reshape(-1)[0])
    axis = int(attributes(node).get("axis", -1)) % (rank + 1)
    if count < 1:
        raise edit.invalid(node, f"has a depth of {count}")
    edit.refuse_table(node, count)
    if edit.dtypes.get(index) != TensorProto.INT64:
        index = edit.op(node, "Cast", index, to=TensorProto.INT64)
    size = edit.constant(np.asarray(count, np.int64), f"{out}/depth")
    zero = edit.constant(np.zeros((), np.int64), f"{out}/zero")
    from_end = edit.op(node, "Add", index, size)
    index = edit.op(node, "Where", edit.op(node, "Less", index, zero), from_end, index)
    index = edit.axes_op(node, "Unsqueeze", index, [axis])
    places = np.arange(count, dtype=np.int64).reshape(
        [-1 if i == axis else 1 for i in range(rank + 1)]
    )
    hit = edit.op(node, "Equal", index, edit.constant(places, f"{out}/places"))
    off, on = (_element(edit, node, values, i) for i in (0, 1))
    edit.op(node, "Where", hit, on, off, out=out)
    return True


def _element(edit: Rewriter, node: onnx.NodeProto, x: str, index: int) -> str:
    """Element ``index`` of a one-dimensional tensor, as a tensor of one element."""
    known = edit.value(x)
    if known is not None:
        return edit.constant(np.asarray(known[index : index + 1]), f"{node.output[0]}/value")
    at = edit.integers([index], f"{node.output[0]}/index")
    return edit.last(node, "Gather", x, at, axis=0)


def _arg_extreme(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """The last of several: the first of the reversed tensor (the importer mixes types here)."""
    attrs = attributes(node)
    if not attrs.get("select_last_index", 0):
        return False
    x, out = node.input[0], node.output[0]
    axis, extent = _axis(edit, node, x)
    ends = [edit.integers([n], f"{out}/slice") for n in (-1, -extent - 1, axis, -1)]
    back = edit.op(node, "Slice", x, *ends)
    keep = attrs.get("keepdims", 1)
    extreme = edit.last(node, node.op_type, back, axis=axis, keepdims=keep, select_last_index=0)
    last = edit.constant(np.asarray(extent - 1, np.int64), f"{out}/last")
    edit.op(node, "Sub", last, extreme, out=out)
    return True


_REDUCED = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64})


def _top_k(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Unsorted is sorted as well; opset 10 is read as if k were an attribute. One is no sorting."""
    attrs = attributes(node)
    if edit.opset < 10:
        return False
    count = edit.value(node.input[1])
    if count is None:
        raise edit.refuse(node, "has a k that the model computes; store it and export again")
    if edit.dtypes.get(node.input[0]) == TensorProto.UINT64:
        raise edit.refuse(node, "sorts uint64, which is not supported; cast it to int64")
    if edit.opset == 10:
        raise edit.refuse(node, "is imported from opset 11 on; export the model again")
    one = count.size == 1 and int(count.reshape(())) == 1
    if one and edit.dtypes.get(node.input[0]) in _REDUCED:
        _top_one(edit, node, attrs)
        return True
    if attrs.get("sorted", 1) == 1:
        return False
    for attribute in node.attribute:
        if attribute.name == "sorted":
            attribute.i = 1
    return False


def _top_one(edit: Rewriter, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> None:
    """The largest (or smallest) value, and the first place that has it."""
    axis, end = int(attrs.get("axis", -1)), "Max" if attrs.get("largest", 1) else "Min"
    edit.axes_op(node, f"Reduce{end}", node.input[0], [axis], out=node.output[0], keepdims=1)
    if len(node.output) > 1 and node.output[1]:
        place = edit.op(node, f"Arg{end}", node.input[0], axis=axis, keepdims=1)
        edit.op(node, "Identity", place, out=node.output[1])


def _compress(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """By a stored condition it is a Gather."""
    condition = edit.value(node.input[1])
    if condition is None:
        raise edit.refuse(node, "has a result whose size only its run decides; that is unsupported")
    x, attrs = node.input[0], attributes(node)
    chosen = edit.integers([int(i) for i in np.flatnonzero(condition)], f"{node.output[0]}/index")
    axis = attrs.get("axis")
    if axis is None:
        x = edit.op(node, "Reshape", x, edit.integers([-1], f"{node.output[0]}/shape"))
        axis = 0
    edit.op(node, "Gather", x, chosen, out=node.output[0], axis=axis)
    return True


def _of_unknown_size(edit: Rewriter, node: onnx.NodeProto) -> bool:
    raise edit.refuse(node, "has a result whose size only its run decides; that is unsupported")


def _eye_like(edit: Rewriter, node: onnx.NodeProto) -> bool:
    shape, attrs = edit.static_shape(node.input[0]), attributes(node)
    if shape is None or len(shape) != 2:
        raise edit.refuse(node, "needs a fixed shape; compile with a fixed batch")
    kind = attrs.get("dtype", edit.dtypes.get(node.input[0]))
    if kind is None:
        return False
    value = np.eye(*shape, k=attrs.get("k", 0), dtype=onnx.helper.tensor_dtype_to_np_dtype(kind))
    edit.op(node, "Identity", edit.constant(value, f"{node.output[0]}/eye"), out=node.output[0])
    return True


def _reverse_sequence(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Position t of a sequence of n comes from ``n - 1 - t`` where ``t < n``, else from t."""
    x, lengths = node.input
    shape, attrs, out = edit.static_shape(x), attributes(node), node.output[0]
    if shape is None:
        raise edit.refuse(node, "needs fixed shapes; compile with a fixed batch")
    time, batch = attrs.get("time_axis", 0), attrs.get("batch_axis", 1)
    rank = len(shape)
    steps = np.arange(shape[time], dtype=np.int64).reshape(
        [-1 if axis == time else 1 for axis in range(rank)]
    )
    t = edit.constant(steps, f"{out}/time")
    across = edit.integers([-1 if axis == batch else 1 for axis in range(rank)], f"{out}/shape")
    n = edit.op(node, "Reshape", lengths, across)
    one = edit.constant(np.ones((), np.int64), f"{out}/one")
    mirrored = edit.op(node, "Sub", edit.op(node, "Sub", n, one), t)
    index = edit.op(node, "Where", edit.op(node, "Less", t, n), mirrored, t)
    whole = edit.integers(list(shape), f"{out}/whole")
    index = edit.op(node, "Expand", index, whole)
    edit.op(node, "GatherElements", x, index, out=out, axis=time)
    return True


REWRITES: dict[str, Rewrite] = {
    "ArgMax": _arg_extreme,
    "ArgMin": _arg_extreme,
    "Compress": _compress,
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonMaxSuppression": _of_unknown_size,
    "NonZero": _of_unknown_size,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Unique": _of_unknown_size,
}
