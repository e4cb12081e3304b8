"""Operators in the spelling of the model's opset, and what rewrites ask of shapes and inputs.

Each function that adds a node takes the editor, the node that is being rewritten and the name of a
tensor, and returns the name of the result; ``out`` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from abc_tvm.frontend.graph_edit import Array
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

FLOAT, FLOAT16, DOUBLE = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
)


def rank_of(edit: Rewriter, node: onnx.NodeProto, name: str) -> int:
    """Number of dimensions of ``name``, which must be known."""
    shape = edit.shapes.get(name)
    if shape is None:
        raise edit.refuse(node, f"reads {name!r}, whose rank is unknown; export static shapes")
    return len(shape)


def extents(edit: Rewriter, node: onnx.NodeProto, name: str, axes: Sequence[int]) -> list[int]:
    """The extents of ``name`` along ``axes``, which must be numbers."""
    shape = edit.shapes.get(name, ())
    known = [shape[axis] if axis < len(shape) else None for axis in axes]
    numbers = [extent for extent in known if isinstance(extent, int)]
    if len(numbers) != len(known):
        raise edit.refuse(node, f"needs the extents of {name!r} fixed; export static shapes")
    return numbers


def given(node: onnx.NodeProto, index: int) -> str:
    """The name of input ``index``, "" where the node leaves it out."""
    return node.input[index] if index < len(node.input) else ""


def stored(edit: Rewriter, node: onnx.NodeProto, index: int, what: str) -> Array | None:
    """The constant at input ``index``, None where it is left out; refused if it is computed."""
    name = given(node, index)
    if not name:
        return None
    array = edit.value(name)
    if array is None:
        raise edit.refuse(node, f"computes its {what} at run time; export it as a constant")
    return array


def numbers(edit: Rewriter, node: onnx.NodeProto, index: int, what: str) -> list[int] | None:
    """As :func:`stored`, as a list of integers."""
    array = stored(edit, node, index, what)
    return None if array is None else [int(n) for n in array.reshape(-1)]


def real(edit: Rewriter, node: onnx.NodeProto, name: str) -> np.dtype[Any]:
    """The floating-point type of ``name``: float16, float32 or float64; others are refused."""
    kind = edit.dtypes.get(name, FLOAT)
    if kind not in (FLOAT, FLOAT16, DOUBLE):
        word = onnx.TensorProto.DataType.Name(kind).lower()
        raise edit.refuse(node, f"takes {word} tensors, which are not supported; use float32")
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind))


def keep(edit: Rewriter, node: onnx.NodeProto, drop: Sequence[str] = (), **changed: Any) -> None:
    """``node`` itself, with its name, and other attributes."""
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    del kept.attribute[:]
    kept.attribute.extend(a for a in node.attribute if a.name not in changed and a.name not in drop)
    kept.attribute.extend(helper.make_attribute(key, value) for key, value in changed.items())
    edit.nodes.append(kept)


def like(edit: Rewriter, value: Any, dtype: np.dtype[Any], hint: str) -> str:
    """A constant of ``dtype``."""
    return edit.constant(np.asarray(value).astype(dtype), hint)


def cast(edit: Rewriter, node: onnx.NodeProto, x: str, kind: int, out: str = "") -> str:
    """``Cast`` to a type of ``TensorProto``."""
    return edit.op(node, "Cast", x, out=out, to=kind)


def through_float(edit: Rewriter, node: onnx.NodeProto) -> None:
    """``node`` on its first tensor as float32, and its result in the type that the tensor has.

    Bytes are held exactly; of float16 the sums are better than float16's own.
    """
    kind = edit.dtypes[node.input[0]]
    wide = cast(edit, node, node.input[0], FLOAT)
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    inner.input[0] = wide
    inner.output[0] = edit.fresh(f"{node.output[0]}/float")
    edit.nodes.append(inner)
    cast(edit, node, inner.output[0], kind, out=node.output[0])


def rounded_once(rewrite: Rewrite) -> Rewrite:
    """A rewrite of an operator of one tensor that takes float16 through float32.

    Written out in float16, every operator that it is made of would round.
    """

    def widened(edit: Rewriter, node: onnx.NodeProto) -> bool:
        if edit.dtypes.get(node.input[0]) == FLOAT16:
            through_float(edit, node)
            return True
        return rewrite(edit, node)

    return widened


def reshape(
    edit: Rewriter, node: onnx.NodeProto, x: str, target: Sequence[int], out: str = ""
) -> str:
    """``Reshape``: 0 copies an extent, -1 is what remains."""
    return edit.op(node, "Reshape", x, edit.integers(list(target), f"{x}/target"), out=out)


def take(
    edit: Rewriter, node: onnx.NodeProto, x: str, rows: Sequence[int], axis: int, out: str = ""
) -> str:
    """``Gather`` of constant ``rows`` along ``axis``."""
    return edit.op(node, "Gather", x, edit.integers(list(rows), f"{x}/rows"), axis=axis, out=out)


def cut(
    edit: Rewriter,
    node: onnx.NodeProto,
    x: str,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int] | None = None,
    out: str = "",
) -> str:
    """``Slice`` with numbers that lie within the axes; ``Gather`` for steps before opset 10."""
    if edit.opset < 10 and any(step != 1 for step in steps or ()):
        last = len(axes) - 1
        for i, (axis, *bounds) in enumerate(zip(axes, starts, ends, steps or (), strict=True)):
            x = take(edit, node, x, range(*bounds), axis, out if i == last else "")
        return x
    if edit.opset < 10:
        lists = {"axes": list(axes), "starts": list(starts), "ends": list(ends)}
        return edit.op(node, "Slice", x, out=out, **lists)
    parts = [starts, ends, axes, *([] if steps is None else [steps])]
    names = [edit.integers(list(part), f"{x}/slice") for part in parts]
    return edit.op(node, "Slice", x, *names, out=out)


def widen(
    edit: Rewriter,
    node: onnx.NodeProto,
    x: str,
    before: Sequence[int],
    after: Sequence[int],
    fill: Array | None = None,
    out: str = "",
) -> str:
    """``Pad`` of every axis, by ``fill`` (a scalar of ``x``'s type) or by zeros."""
    widths = [*before, *after]
    if edit.opset < 11:
        value = 0.0 if fill is None else float(fill)
        return edit.op(node, "Pad", x, out=out, pads=widths, value=value)
    operands = [edit.integers(widths, f"{x}/pads")]
    if fill is not None:
        operands.append(edit.constant(fill, f"{x}/fill"))
    return edit.op(node, "Pad", x, *operands, out=out)


def clamp(
    edit: Rewriter, node: onnx.NodeProto, x: str, dtype: np.dtype[Any], low: float, high: float
) -> str:
    """``Clip`` to two numbers."""
    if edit.opset < 11:
        return edit.op(node, "Clip", x, min=low, max=high)
    bounds = [like(edit, bound, dtype, f"{x}/bound") for bound in (low, high)]
    return edit.op(node, "Clip", x, *bounds)
