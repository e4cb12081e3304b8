"""Expand, Slice, Split, Squeeze and Unsqueeze in the spellings that the importer does not read.

1. Expand of an open batch to a stored shape: the importer asks for numbers. It repeats the axes
   that it stretches; the batch is not among them, since nobody knows that it is 1.
2. Slice of opset 9, whose bounds are attributes: it is the middle part of a Split.
3. Axes that are a single number instead of a list: onnx takes them, and onnxruntime those of
   Unsqueeze.
4. Split of a stored tensor, as of sizes that another operator reads: its parts are stored.
"""

from __future__ import annotations

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

_SLICE_WITH_INPUTS = 10
_FARTHEST = 2**31 - 1


def _expand(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 1."""
    x, out = node.input[0], node.output[0]
    held, shape = edit.value(node.input[1]), edit.shapes.get(x)
    if held is None or edit.static_shape(x) is not None:
        return False
    if shape is None:
        raise edit.refuse(node, f"reads {x!r}, whose rank is unknown; export static shapes")
    wanted = [int(n) for n in held.reshape(-1)]
    wanted = [1] * (len(shape) - len(wanted)) + wanted
    added = len(wanted) - len(shape)
    repeats = []
    for axis, (extent, target) in enumerate(zip([1] * added + list(shape), wanted, strict=True)):
        if target < 1:
            raise edit.refuse(node, f"has a shape of {target}, which is not supported")
        if extent == 1 or target in (1, extent):
            repeats.append(target if extent == 1 else 1)
        elif isinstance(extent, int):
            raise edit.invalid(node, f"cannot stretch axis {axis} from {extent} to {target}")
        else:
            raise edit.refuse(
                node,
                f"stretches axis {axis}, which is open, to {target}; compile with a fixed batch "
                f"of 1 or {target} (--batch)",
            )
    if added:
        x = edit.axes_op(node, "Unsqueeze", x, list(range(added)))
    edit.op(node, "Tile", x, edit.integers(repeats, f"{out}/repeats"), out=out)
    return True


def _within_reach(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """A step beyond 32 bits overflows what TVM counts with."""
    steps = edit.value(node.input[4]) if len(node.input) > 4 and node.input[4] else None
    if steps is not None and np.any((steps > _FARTHEST) | (steps < -_FARTHEST)):
        raise edit.refuse(node, f"has steps {steps.reshape(-1).tolist()}; give smaller ones")
    return False


def _slice(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 2."""
    if edit.opset >= _SLICE_WITH_INPUTS:
        return _within_reach(edit, node)
    attrs, x, rank = attributes(node), node.input[0], spell.rank_of(edit, node, node.input[0])
    starts, ends = list(attrs["starts"]), list(attrs["ends"])
    axes = list(attrs.get("axes") or range(len(starts)))
    if not len(starts) == len(ends) == len(axes) or any(not -rank <= a < rank for a in axes):
        raise edit.invalid(node, f"has starts {starts}, ends {ends} and axes {axes}")
    for axis, start, end in zip((a % rank for a in axes), starts, ends, strict=True):
        if start == 0 and end >= _LARGEST:
            continue
        (extent,) = spell.extents(edit, node, x, [axis])
        first, last = (min(max(n + extent if n < 0 else n, 0), extent) for n in (start, end))
        if first >= last:
            raise edit.refuse(node, f"takes no element of axis {axis}; there is nothing to compute")
        sizes = [first, last - first, extent - last]
        names = [edit.fresh(f"{node.output[0]}/part") if size else "" for size in sizes]
        if extent == last - first:
            continue
        parts = [name for name in names if name]
        edit.nodes.append(
            onnx.helper.make_node(
                "Split", [x], parts, f"{node.name or node.output[0]}/Split_{len(edit.nodes)}",
                axis=axis, split=[size for size in sizes if size],
            )
        )  # fmt: skip
        x = names[1]
        edit.shapes[x] = tuple(
            last - first if i == axis else d for i, d in enumerate(edit.shapes[node.input[0]])
        )
    edit.op(node, "Identity", x, out=node.output[0])
    return True


def _axes(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 3."""
    held = edit.value(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    if held is None or held.ndim == 1:
        return False
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    kept.input[1] = edit.integers([int(n) for n in held.reshape(-1)], f"{node.output[0]}/axes")
    edit.nodes.append(kept)
    return True


def _split(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 4."""
    array, axis = edit.value(node.input[0]), int(attributes(node).get("axis", 0))
    shapes = [edit.static_shape(name) for name in node.output]
    if array is None or any(shape is None for shape in shapes):
        return False
    ends = np.cumsum([shape[axis] for shape in shapes if shape is not None])
    for name, part in zip(node.output, np.split(array, ends[:-1], axis), strict=True):
        if name:
            edit.op(node, "Identity", edit.constant(part, f"{name}/part"), out=name)
    return True


_LARGEST = 2**31 - 1
"""What stands for "to the end"."""

REWRITES: dict[str, Rewrite] = {
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _axes,
    "Unsqueeze": _axes,
}
