"""Operators on quantized integers, written out: integer sums that are exact, then one rounding.

A product of two 8-bit numbers less their zero points is at most 255 · 255, so a float32 sums 257 of
them exactly, and more where the stored weights are small; other sums run in float64, products of
matrices in int32. The rounding is onnxruntime's: the sum as float32, times
``x_scale · w_scale / y_scale``, to the nearest even integer, plus the zero point, saturated.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.elementwise import clipped
from abc_tvm.frontend.operators.linear_quantization import saturate
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

_EXACT_IN_FLOAT32 = 1 << 24
_MOST = 255
"""Size of an 8-bit number less its zero point."""


def _q_linear_conv(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.input
    total = _integer_conv(edit, node, x, w, x_zero, w_zero)
    rank = edit.ranks[w]
    if rest and rest[0]:
        bias = _spread(edit, node, rest[0], rank, 1)
        total = edit.op(node, "Add", total, bias)
    scale = edit.op(node, "Div", edit.op(node, "Mul", x_scale, w_scale), y_scale)
    if _count(edit, w_scale) != 1:
        scale = edit.op(node, "Reshape", scale, _pattern(edit, node, rank, 1))
    _requantize(edit, node, total, scale, y_zero)
    return True


def _q_linear_matmul(edit: Rewriter, node: onnx.NodeProto) -> bool:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input
    if any(edit.dtypes.get(name) == TensorProto.FLOAT16 for name in (a_scale, b_scale)):
        a_scale, b_scale, y_scale = (
            edit.op(node, "Cast", name, to=TensorProto.FLOAT)
            for name in (a_scale, b_scale, y_scale)
        )
    total = _integer_matmul(edit, node, a, b, a_zero, b_zero)
    scale = edit.op(node, "Mul", _row_wise(edit, node, a_scale), b_scale)
    _requantize(edit, node, total, edit.op(node, "Div", scale, y_scale), y_zero)
    return True


def _conv_integer(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, w, x_zero, w_zero = [*node.input, "", ""][:4]
    total = _integer_conv(edit, node, x, w, x_zero, w_zero)
    edit.op(node, "Identity", total, out=node.output[0])
    return True


def _matmul_integer(edit: Rewriter, node: onnx.NodeProto) -> bool:
    a, b, a_zero, b_zero = [*node.input, "", ""][:4]
    if _sizes(edit, b, b_zero, 0) is None:
        return False
    total = _integer_matmul(edit, node, a, b, a_zero, b_zero)
    edit.op(node, "Identity", total, out=node.output[0])
    return True


def _dynamic_quantize_linear(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """To uint8, over a range that has 0 in it. Of zeros alone the scale is 1, as in onnxruntime."""
    x = node.input[0]
    y, y_scale, y_zero = node.output
    edit.dynamic.add(y)
    nothing, steps, unit = (edit.constant(v, f"{x}/number") for v in (0.0, 255.0, 1.0))
    low, high = (
        edit.op(node, end, edit.op(node, f"Reduce{end}", x, keepdims=0), nothing)
        for end in ("Min", "Max")
    )
    width = edit.op(node, "Sub", high, low)
    # The body that ONNX gives for the operator divides 0 by 0 there.
    empty = edit.op(node, "Equal", width, nothing)
    ratio = edit.op(node, "Div", width, steps)
    scale = edit.op(node, "Where", empty, unit, ratio, out=y_scale)
    start = edit.op(node, "Div", edit.op(node, "Sub", nothing, low), scale)
    edit.dtypes[start] = TensorProto.FLOAT
    whole = edit.op(node, "Round", clipped(edit, node, start, 0, 255))
    zero = edit.op(node, "Cast", whole, out=y_zero, to=TensorProto.UINT8)
    shift = edit.op(node, "Cast", zero, to=TensorProto.FLOAT)
    saturate(edit, node, edit.op(node, "Div", x, scale), shift, TensorProto.UINT8)
    return True


def _integer_conv(
    edit: Rewriter, node: onnx.NodeProto, x: str, w: str, x_zero: str, w_zero: str
) -> str:
    """The int32 convolution of integers less their zero points; padding is that of a zero."""
    shape = edit.static_shape(w)
    if shape is None:
        raise edit.refuse(node, "has weights of unknown shape; export it with shapes")
    sizes = _sizes(edit, w, w_zero, 1)
    most = math.prod(shape[1:]) * _MOST if sizes is None else sizes
    exact = most * _MOST <= _EXACT_IN_FLOAT32
    kind = TensorProto.FLOAT if exact else TensorProto.DOUBLE
    data = _shifted(edit, node, x, x_zero, kind)
    if w_zero and _count(edit, w_zero) != 1:
        w_zero = _spread(edit, node, w_zero, len(shape), 0)
    weight = _shifted(edit, node, w, w_zero, kind)
    total = edit.op(node, "Conv", data, weight, **attributes(node))
    edit.is_layer(node)
    return edit.op(node, "Cast", total, to=TensorProto.INT32)


def _integer_matmul(
    edit: Rewriter, node: onnx.NodeProto, a: str, b: str, a_zero: str, b_zero: str
) -> str:
    """The int32 product of matrices of integers less their zero points."""
    sizes = _sizes(edit, b, b_zero, 0)
    exact = sizes is not None and sizes * _MOST <= _EXACT_IN_FLOAT32
    kind = TensorProto.FLOAT if exact else TensorProto.INT32
    left = _shifted(edit, node, a, _row_wise(edit, node, a_zero) if a_zero else "", kind)
    total = edit.op(node, "MatMul", left, _shifted(edit, node, b, b_zero, kind))
    edit.is_layer(node)
    return edit.op(node, "Cast", total, to=TensorProto.INT32) if exact else total


def _sizes(edit: Rewriter, w: str, zero: str, axis: int) -> int | None:
    """The largest sum of sizes of stored weights that one output adds up; ``None``: not stored.

    ``axis``: 0 for a matrix ``[K, N]``, 1 for kernels ``[OC, …]``.
    """
    weight = edit.value(w)
    point = edit.value(zero) if zero else np.zeros(1, np.int64)
    if weight is None or point is None or weight.size == 0 or weight.ndim < 2:
        return None
    if axis == 0 and weight.ndim != 2:
        return None
    flat = weight.astype(np.int64).reshape(len(weight), -1)
    flat = flat if axis == 0 else flat.T
    if point.size not in (1, flat.shape[1]):
        return None
    return int(np.abs(flat - point.astype(np.int64).reshape(-1)).sum(0).max())


def _shifted(edit: Rewriter, node: onnx.NodeProto, x: str, zero: str, kind: int) -> str:
    """``x - zero`` in another type."""
    value = edit.op(node, "Cast", x, to=kind)
    if not zero:
        return value
    return edit.op(node, "Sub", value, edit.op(node, "Cast", zero, to=kind))


def _requantize(edit: Rewriter, node: onnx.NodeProto, total: str, scale: str, zero: str) -> None:
    real = edit.op(node, "Mul", edit.op(node, "Cast", total, to=TensorProto.FLOAT), scale)
    shift = edit.op(node, "Cast", zero, to=TensorProto.FLOAT)
    saturate(edit, node, real, shift, edit.dtypes[zero])


def _row_wise(edit: Rewriter, node: onnx.NodeProto, x: str) -> str:
    """A scale or zero point for each row of a matrix stands upright."""
    if edit.ranks.get(x) != 1 or _count(edit, x) == 1:
        return x
    return edit.op(node, "Reshape", x, edit.integers([-1, 1], f"{node.output[0]}/rows"))


def _spread(edit: Rewriter, node: onnx.NodeProto, x: str, rank: int, axis: int) -> str:
    return edit.op(node, "Reshape", x, _pattern(edit, node, rank, axis))


def _pattern(edit: Rewriter, node: onnx.NodeProto, rank: int, axis: int) -> str:
    dims = [-1 if i == axis else 1 for i in range(rank)]
    return edit.integers(dims, f"{node.output[0]}/spread")


def _count(edit: Rewriter, x: str) -> int | None:
    shape = edit.static_shape(x)
    return None if shape is None else math.prod(shape)


REWRITES: dict[str, Rewrite] = {
    "ConvInteger": _conv_integer,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _q_linear_conv,
    "QLinearMatMul": _q_linear_matmul,
}
