"""Pad in every mode, with pads below zero, and CenterCropPad.

1. Pads below zero cut an axis, before anything is added on its other side.
2. edge, reflect and wrap are a Gather of constant rows for each axis, wherever TVM's operators
   differ from onnxruntime's: pads that are as long as the axis, or below zero, integers.
3. A fill that the network computes is put where a constant mask says.
4. CenterCropPad is a Slice and a Pad.
5. A Pad of no width is nothing.
6. The axes of a Pad by a constant are all of them, so that readers know what it pads.

Padding of floats by constants, and by edge or reflect within the axis, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import Array, attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter

_ROWS = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def pad(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 1 to 3, 5 and 6."""
    attrs = attributes(node)
    mode = attrs.get("mode", "constant")
    x, out = node.input[0], node.output[0]
    rank = spell.rank_of(edit, node, x)
    before, after = _widths(edit, node, rank)
    if (mode == "constant" or mode in _ROWS) and not any(before) and not any(after):
        edit.op(node, "Identity", x, out=out)
        return True
    if mode == "constant":
        return _constant(edit, node, before, after)
    if mode not in _ROWS:
        raise edit.invalid(node, f"has the unknown mode {mode!r}")
    changed = [a for a in range(rank) if before[a] or after[a]]
    size = dict(zip(changed, spell.extents(edit, node, x, changed), strict=True))
    inside = all(
        0 <= before[a] < size[a] and 0 <= after[a] < size[a] and size[a] > 1 for a in changed
    )
    if inside and mode != "wrap" and changed and _is_float(edit, x):
        return False
    for a in changed:
        rows = np.arange(size[a])[max(-before[a], 0) : size[a] + min(after[a], 0)]
        if not rows.size:
            raise edit.invalid(node, f"cuts all of axis {a}")
        widths = (max(before[a], 0), max(after[a], 0))
        x = spell.take(edit, node, x, np.pad(rows, widths, mode=mode).tolist(), a)
    edit.op(node, "Identity", x, out=out)
    return True


def center_crop_pad(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 4: an odd pixel is cut, or added, at the end."""
    x, out = node.input[0], node.output[0]
    rank = spell.rank_of(edit, node, x)
    axes = [a % rank for a in attributes(node).get("axes") or range(rank)]
    wanted = spell.numbers(edit, node, 1, "shape") or []
    if len(wanted) != len(axes):
        raise edit.invalid(node, f"needs {len(axes)} numbers in shape")
    size = spell.extents(edit, node, x, axes)
    before, after = [0] * rank, [0] * rank
    for axis, n, target in zip(axes, size, wanted, strict=True):
        if target >= n:
            before[axis] = (target - n) // 2
            after[axis] = target - n - before[axis]
        else:
            start = (n - target) // 2
            before[axis], after[axis] = -start, start + target - n
    x = _cut(edit, node, x, before, after)
    head, tail = ([max(n, 0) for n in side] for side in (before, after))
    spell.widen(edit, node, x, head, tail, out=out)
    return True


def _widths(edit: Rewriter, node: onnx.NodeProto, rank: int) -> tuple[list[int], list[int]]:
    """Pads before and behind every axis."""
    attrs = attributes(node)
    pads = list(attrs["pads"]) if "pads" in attrs else spell.numbers(edit, node, 1, "pads") or []
    axes = spell.numbers(edit, node, 3, "axes")
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise edit.invalid(node, f"needs {2 * len(axes)} pads, two for each axis")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    return before, after


def _constant(edit: Rewriter, node: onnx.NodeProto, before: list[int], after: list[int]) -> bool:
    x, out = node.input[0], node.output[0]
    fill = spell.given(node, 2)
    computed = bool(fill) and edit.value(fill) is None
    plain = min([*before, *after], default=0) >= 0 and not computed and _is_float(edit, x)
    if plain and not spell.given(node, 3):
        return False
    x = _cut(edit, node, x, before, after)
    before, after = [max(n, 0) for n in before], [max(n, 0) for n in after]
    if not any(before) and not any(after):
        edit.op(node, "Identity", x, out=out)
        return True
    value = edit.value(fill) if fill else None
    if edit.opset < 11:
        value = np.asarray(attributes(node).get("value", 0.0), np.float32)
    if not computed:
        spell.widen(edit, node, x, before, after, None if value is None else value.reshape(()), out)
        return True
    wide = spell.widen(edit, node, x, before, after)
    mask = edit.constant(_added(edit, node, before, after), f"{out}/added")
    scalar = spell.reshape(edit, node, fill, [])
    edit.op(node, "Where", mask, scalar, wide, out=out)
    return True


def _cut(
    edit: Rewriter, node: onnx.NodeProto, x: str, before: Sequence[int], after: Sequence[int]
) -> str:
    """``x`` without what pads below zero take away."""
    axes = [a for a in range(len(before)) if min(before[a], after[a]) < 0]
    if not axes:
        return x
    size = spell.extents(edit, node, x, axes)
    starts = [max(-before[a], 0) for a in axes]
    ends = [n + min(after[a], 0) for a, n in zip(axes, size, strict=True)]
    if any(start >= end for start, end in zip(starts, ends, strict=True)):
        raise edit.invalid(node, "cuts all of an axis")
    return spell.cut(edit, node, x, axes, starts, ends)


def _added(edit: Rewriter, node: onnx.NodeProto, before: list[int], after: list[int]) -> Array:
    """Where a padded tensor is padding; an axis that is not padded counts as 1."""
    x = node.input[0]
    mask = np.zeros((1,) * len(before), bool)
    whole = list(_widths(edit, node, len(before)))
    for a, (head, tail) in enumerate(zip(before, after, strict=True)):
        if head or tail:
            (size,) = spell.extents(edit, node, x, [a])
            size += min(whole[0][a], 0) + min(whole[1][a], 0)
            line = np.ones(head + size + tail, bool)
            line[head : head + size] = False
            mask = mask | line.reshape([-1 if axis == a else 1 for axis in range(len(before))])
    return mask


def _is_float(edit: Rewriter, x: str) -> bool:
    dtype = edit.dtype(x)
    return dtype is None or dtype.kind == "f"


REWRITES = {"Pad": pad, "CenterCropPad": center_crop_pad}
