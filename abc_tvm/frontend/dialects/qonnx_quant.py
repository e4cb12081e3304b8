"""QONNX quantizers in standard operators: ``BipolarQuant``, ``Quant``/``IntQuant``, ``Trunc``.

With x the input, s the scale, z the zero point, b the bit width:

- ``BipolarQuant``: ``s`` where ``x >= 0``, else ``-s``. Zero gives ``+s``, unlike ``Sign``.
- ``Quant``: ``(round(clip(x / s + z, lo, hi)) - z) * s``. Signed with b = 1 has no integer range:
  it is ``+1`` where ``x / s + z >= 0``, else ``-1``, in place of clip and round.
- ``Trunc`` with five inputs: ``(round(rint(x / s + z) / 2^(b_in - b_out)) - z) * s``.
- ``Trunc`` with six inputs has an output scale t: with ``k = 2^rint(log2(t / s))`` it is
  ``(round(clip(rint(x / s + z) / k, lo, hi)) - z / k) * t``.

Every step is one float32 operator in this order, so results equal those of the operators'
reference execution bit for bit. Source: the QONNX operator definitions.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from abc_tvm.frontend.graph_edit import Array, Attributes, GraphEditor, attributes

MAX_BITS = 64


def rewrite_bipolar(edit: GraphEditor, node: onnx.NodeProto) -> None:
    """Append the standard form of a ``BipolarQuant`` node."""
    x, scale = edit.inputs(node, ("x", "scale"))
    high, low = scale, ""
    value = edit.value(scale)
    if value is None:
        low = edit.op(node, "Neg", scale)
    else:
        low = edit.constant(-_float(value), f"{scale}/negated")
    _bipolar(edit, node, x, high, low, node.output[0])


def rewrite_quant(edit: GraphEditor, node: onnx.NodeProto) -> None:
    """Append the standard form of a ``Quant`` or ``IntQuant`` node."""
    x, scale, zero, bits_name = edit.inputs(node, ("x", "scale", "zero_point", "bit_width"))
    attrs = attributes(node)
    bits = _bits(edit, node, bits_name, "bit_width")
    signed, narrow = _flag(edit, node, attrs, "signed"), _flag(edit, node, attrs, "narrow")
    rounding = _rounding(edit, node, attrs, "ROUND")
    shifted = not _neutral_zero(edit, zero, scale)
    y = edit.op(node, "Div", x, scale)
    if shifted:
        y = edit.op(node, "Add", y, zero)
    if bits == 1 and signed:
        one, minus_one = edit.constant(1.0, "one"), edit.constant(-1.0, "minus_one")
        y = _bipolar(edit, node, y, one, minus_one)
    else:
        y = _clip(edit, node, y, bits, signed, narrow)
        y = _round(edit, node, y, rounding)
    if shifted:
        y = edit.op(node, "Sub", y, zero)
    edit.op(node, "Mul", y, scale, out=node.output[0])


def rewrite_trunc(edit: GraphEditor, node: onnx.NodeProto) -> None:
    """Append the standard form of a ``Trunc`` node, of its first or second version."""
    if len(node.input) == 6:
        _rewrite_trunc_v2(edit, node)
        return
    names = ("x", "scale", "zero_point", "in_bit_width", "out_bit_width")
    x, scale, zero, in_bits, out_bits = edit.inputs(node, names)
    rounding = _rounding(edit, node, attributes(node), "FLOOR")
    drop = _bits(edit, node, in_bits, "in_bit_width") - _bits(edit, node, out_bits, "out_bit_width")
    y = _scaled(edit, node, x, scale, zero)
    y = edit.op(node, "Div", y, edit.constant(2.0**drop, "trunc_scale"))
    y = _round(edit, node, y, rounding)
    y = edit.op(node, "Sub", y, zero)
    edit.op(node, "Mul", y, scale, out=node.output[0])


def _rewrite_trunc_v2(edit: GraphEditor, node: onnx.NodeProto) -> None:
    names = ("x", "scale", "zero_point", "in_bit_width", "out_scale", "out_bit_width")
    x, scale, zero, _, out_scale, out_bits = edit.inputs(node, names)
    attrs = {"signed": 1, "narrow": 0} | attributes(node)
    bits = _bits(edit, node, out_bits, "out_bit_width")
    signed, narrow = _flag(edit, node, attrs, "signed"), _flag(edit, node, attrs, "narrow")
    rounding = _rounding(edit, node, attrs, "FLOOR")
    scale_value, out_value = edit.value(scale), edit.value(out_scale)
    if scale_value is None or out_value is None:
        raise edit.refuse(node, "has a scale computed at run time; make both scales constants")
    ratio = _float(out_value) / _float(scale_value)
    if not np.all(np.isfinite(ratio) & (ratio > 0)):
        raise edit.invalid(node, "needs positive, finite scales")
    factor = np.exp2(np.round(np.log2(ratio))).astype(np.float32)
    k = edit.constant(factor, "trunc_scale")
    y = edit.op(node, "Div", _scaled(edit, node, x, scale, zero), k)
    y = _clip(edit, node, y, bits, signed, narrow)
    y = _round(edit, node, y, rounding)
    y = edit.op(node, "Sub", y, edit.op(node, "Div", zero, k))
    edit.op(node, "Mul", y, out_scale, out=node.output[0])


def _scaled(edit: GraphEditor, node: onnx.NodeProto, x: str, scale: str, zero: str) -> str:
    y = edit.op(node, "Add", edit.op(node, "Div", x, scale), zero)
    return edit.op(node, "Round", y)


def _bipolar(
    edit: GraphEditor, node: onnx.NodeProto, x: str, high: str, low: str, out: str = ""
) -> str:
    positive = edit.op(node, "GreaterOrEqual", x, edit.constant(0.0, "zero"))
    return edit.op(node, "Where", positive, high, low, out=out)


def _clip(
    edit: GraphEditor, node: onnx.NodeProto, y: str, bits: int, signed: bool, narrow: bool
) -> str:
    low, high = integer_range(bits, signed, narrow)
    bounds = edit.constant(float(low), "quant_min"), edit.constant(float(high), "quant_max")
    return edit.op(node, "Clip", y, *bounds)


def integer_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """Smallest and largest integer of a quantizer with ``bits`` bits."""
    if signed:
        return -(2 ** (bits - 1)) + int(narrow), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - int(narrow)


def _round(edit: GraphEditor, node: onnx.NodeProto, y: str, mode: str) -> str:
    """Round ``y`` to integers; the modes off zero work on the magnitude and put the sign back."""
    match mode:
        case "ROUND" | "HALF_EVEN":
            return edit.op(node, "Round", y)
        case "CEIL" | "FLOOR":
            return edit.op(node, mode.capitalize(), y)
    sign, size = edit.op(node, "Sign", y), edit.op(node, "Abs", y)
    match mode:
        case "UP":
            size = edit.op(node, "Ceil", size)
        case "DOWN" | "ROUND_TO_ZERO":
            size = edit.op(node, "Floor", size)
        case "HALF_UP":
            size = edit.op(node, "Floor", edit.op(node, "Add", size, edit.constant(0.5, "half")))
        case _:
            size = edit.op(node, "Ceil", edit.op(node, "Sub", size, edit.constant(0.5, "half")))
    return edit.op(node, "Mul", sign, size)


_MODES = frozenset(
    ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "ROUND_TO_ZERO", "HALF_UP", "HALF_DOWN"]
)


def _rounding(edit: GraphEditor, node: onnx.NodeProto, attrs: Attributes, default: str) -> str:
    mode = str(attrs.get("rounding_mode", default)).upper()
    if mode not in _MODES:
        raise edit.refuse(
            node, f"has rounding_mode {mode!r}; supported are {', '.join(sorted(_MODES))}"
        )
    return mode


def _flag(edit: GraphEditor, node: onnx.NodeProto, attrs: Attributes, name: str) -> bool:
    if attrs.get(name) not in (0, 1):
        raise edit.invalid(node, f"needs the attribute {name!r} as 0 or 1; export it again")
    return bool(attrs[name])


def _bits(edit: GraphEditor, node: onnx.NodeProto, name: str, role: str) -> int:
    value = edit.value(name)
    if value is None:
        raise edit.refuse(node, f"has a {role} computed at run time; make it a constant")
    if value.size == 0 or not np.all(value == value.flat[0]):
        raise edit.refuse(node, f"has a different {role} per channel; use one for the tensor")
    bits = float(value.flat[0])
    if not (bits.is_integer() and 1 <= bits <= MAX_BITS):
        raise edit.refuse(node, f"has {role} {bits:g}; an integer from 1 to {MAX_BITS} is needed")
    return int(bits)


def _neutral_zero(edit: GraphEditor, zero: str, scale: str) -> bool:
    """Whether adding ``zero`` changes neither values nor the shape that ``scale`` gives."""
    value, other = edit.value(zero), edit.value(scale)
    rank = max(1, other.ndim) if other is not None else 1
    return value is not None and value.size == 1 and value.ndim <= rank and not value.any()


def _float(value: Array) -> NDArray[np.float32]:
    return np.asarray(value, dtype=np.float32)
