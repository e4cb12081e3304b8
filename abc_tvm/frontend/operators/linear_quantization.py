"""QuantizeLinear and DequantizeLinear as arithmetic on floats, rounded as onnxruntime rounds.

With x the input, s the scale, z the zero point, both for the tensor, for each index of an axis, or
for blocks along it:

- ``QuantizeLinear``: ``clip(round(x / s) + z, least, most)``, ties to the even integer, where
  ``least`` and ``most`` are those of the integer type, then a Cast to it. A -0 becomes 0.
- ``DequantizeLinear``: ``(x - z) * s``.

So stored weights behind either, or both, become constants, and what is between them a chain of
element-wise operators (:mod:`abc_tvm.frontend.whole_floats` leaves out the integers). float16 is
computed as float32 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.elementwise import clipped
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter
from abc_tvm.frontend.operators.spell import given

RANGES: dict[int, tuple[int, int]] = {
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(2**15), 2**15 - 1),
    TensorProto.UINT16: (0, 2**16 - 1),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT2: (-2, 1),
    TensorProto.UINT2: (0, 3),
}
"""Least and largest number of the integer types that float32 holds."""

_SMALL = 2.0**20
"""Beyond the integer types of opset 10."""


def _quantize(edit: Rewriter, node: onnx.NodeProto) -> bool:
    zero = given(node, 2)
    kind = attributes(node).get("output_dtype", 0) or (
        edit.dtypes.get(zero, 0) if zero else TensorProto.UINT8
    )
    stored = edit.value(node.input[1])
    if stored is not None and stored.size and not stored.any():
        raise edit.refuse(node, "has a stored scale of 0, by which it divides")
    if kind not in RANGES:
        return False
    x, scale = (_as_float(edit, node, name) for name in node.input[:2])
    quotient = edit.op(node, "Div", x, _along(edit, node, node.input[1], scale))
    if zero:
        zero = _along(edit, node, zero, edit.op(node, "Cast", zero, to=TensorProto.FLOAT))
    saturate(edit, node, quotient, zero, kind)
    return True


def _dequantize(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, scale, zero = node.input[0], node.input[1], given(node, 2)
    if edit.dtypes.get(x) not in (*RANGES, TensorProto.INT32):
        return False
    to = attributes(node).get("output_dtype", 0) or edit.dtypes.get(scale, TensorProto.FLOAT)
    value = edit.op(node, "Cast", x, to=TensorProto.FLOAT)
    stored = edit.value(zero) if zero else None
    if zero and (stored is None or np.any(stored != 0)):
        shift = edit.op(node, "Cast", zero, to=TensorProto.FLOAT)
        value = edit.op(node, "Sub", value, _along(edit, node, zero, shift))
    factor = _along(edit, node, scale, _as_float(edit, node, scale))
    if to == TensorProto.FLOAT:
        edit.op(node, "Mul", value, factor, out=node.output[0])
    else:
        edit.op(node, "Cast", edit.op(node, "Mul", value, factor), out=node.output[0], to=to)
    return True


def saturate(edit: Rewriter, node: onnx.NodeProto, real: str, zero: str, kind: int) -> None:
    """Round float32 to the nearest even, add the zero point, and saturate to an integer type.

    ``zero``: a float32 tensor that broadcasts to ``real``, "" for none.
    """
    out = node.output[0]
    edit.dtypes.setdefault(real, TensorProto.FLOAT)
    whole = edit.op(node, "Round", real) if edit.opset >= 11 else _rounded(edit, node, real)
    whole = edit.op(node, "Add", whole, zero or edit.constant(0.0, f"{out}/zero"))
    edit.dtypes[whole] = TensorProto.FLOAT
    inside = clipped(edit, node, whole, *RANGES[kind])
    edit.op(node, "Cast", inside, out=out, to=kind)


def _rounded(edit: Rewriter, node: onnx.NodeProto, real: str) -> str:
    """``Round`` of numbers that saturate from ``_SMALL`` on, in operators of opset 10."""
    half, nothing, unit, two = (
        edit.constant(v, f"{node.output[0]}/number") for v in (0.5, 0.0, 1.0, 2.0)
    )
    small = clipped(edit, node, real, -_SMALL, _SMALL)
    below = edit.op(node, "Floor", small)
    rest = edit.op(node, "Sub", small, below)
    pairs = edit.op(node, "Floor", edit.op(node, "Mul", below, half))
    odd = edit.op(node, "Sub", below, edit.op(node, "Mul", pairs, two))
    tie = edit.op(node, "Where", edit.op(node, "Less", rest, half), nothing, odd)
    up = edit.op(node, "Where", edit.op(node, "Greater", rest, half), unit, tie)
    return edit.op(node, "Add", below, up)


def _as_float(edit: Rewriter, node: onnx.NodeProto, name: str) -> str:
    if edit.dtypes.get(name, TensorProto.FLOAT) == TensorProto.FLOAT:
        return name
    return edit.op(node, "Cast", name, to=TensorProto.FLOAT)


def _along(edit: Rewriter, node: onnx.NodeProto, name: str, value: str) -> str:
    """``value``, of the shape of the node's input ``name``, as it broadcasts to the first one."""
    shape = edit.static_shape(name)
    if shape is None:
        raise edit.refuse(node, f"reads {name!r}, whose shape is unknown; export static shapes")
    attrs = attributes(node)
    block = int(attrs.get("block_size", 0))
    rank = edit.ranks.get(node.input[0])
    if not block and math.prod(shape) == 1:
        if shape == ():
            return value
        return edit.op(node, "Reshape", value, edit.integers([], f"{name}/scalar"))
    if rank is None:
        raise edit.refuse(
            node, f"reads {node.input[0]!r}, whose rank is unknown; export static shapes"
        )
    axis = int(attrs.get("axis", 1))
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank:
        raise edit.invalid(node, f"has axis {attrs.get('axis', 1)} on a tensor of rank {rank}")
    if block:
        return _in_blocks(edit, node, value, shape, axis, block)
    if len(shape) != 1:
        raise edit.invalid(node, f"needs one number for each index of an axis in {name!r}")
    dims = [-1 if i == axis else 1 for i in range(rank)]
    return edit.op(node, "Reshape", value, edit.integers(dims, f"{name}/along"))


def _in_blocks(
    edit: Rewriter, node: onnx.NodeProto, value: str, shape: tuple[int, ...], axis: int, block: int
) -> str:
    """Every index along ``axis`` ``block`` times, as far as the tensor goes."""
    extents = edit.static_shape(node.input[0])
    if extents is None or len(shape) != len(extents):
        raise edit.refuse(node, "has blocks of a tensor of unknown shape; export static shapes")
    edit.refuse_table(node, math.prod(extents))
    rows = [i // block for i in range(extents[axis])]
    if rows and rows[-1] >= shape[axis]:
        raise edit.invalid(
            node, f"has {shape[axis]} blocks of {block} along an axis of {extents[axis]}"
        )
    return edit.op(node, "Gather", value, edit.integers(rows, f"{value}/rows"), axis=axis)


REWRITES: dict[str, Rewrite] = {
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
}
