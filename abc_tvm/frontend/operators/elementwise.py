"""Element-wise operators whose import is missing, of the wrong type, or wrong at the edges."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter
from abc_tvm.frontend.operators.spell import rounded_once

_EQUAL_OF_ALL = 11
_CLIP_WITH_INPUTS = 11


def scalar(edit: Rewriter, like: str, value: float, hint: str) -> str:
    """A stored rank-0 tensor of the element type of ``like``."""
    return edit.constant(np.asarray(value, edit.dtype(like) or np.float32), hint)


def is_float32(edit: Rewriter, name: str) -> bool:
    """Whether the importer's float32 numbers are of the type of ``name``."""
    return edit.dtypes.get(name) in (None, TensorProto.FLOAT)


def non_zero(edit: Rewriter, node: onnx.NodeProto, x: str, out: str = "") -> str:
    """A bool tensor: where ``x`` is not zero; NaN is not."""
    zero = scalar(edit, x, 0, f"{node.output[0]}/zero")
    kind = edit.dtype(x)
    if kind is None or edit.opset >= _EQUAL_OF_ALL:
        return edit.op(node, "Not", edit.op(node, "Equal", x, zero), out=out)
    sides = [edit.op(node, side, x, zero) for side in ("Less", "Greater")]
    if kind.kind != "f":
        return edit.op(node, "Or", *sides, out=out)
    return edit.op(node, "Or", edit.op(node, "Or", *sides), edit.op(node, "IsNaN", x), out=out)


def clipped(edit: Rewriter, node: onnx.NodeProto, x: str, low: float, high: float) -> str:
    """``x`` between two numbers."""
    if edit.opset < _CLIP_WITH_INPUTS:
        return edit.op(node, "Clip", x, min=float(low), max=float(high))
    ends = [scalar(edit, x, v, f"{node.output[0]}/bound") for v in (low, high)]
    return edit.op(node, "Clip", x, *ends)


def _cast(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # TVM makes a bool of a float by way of an integer: 0.5 becomes False.
    source = edit.dtypes.get(node.input[0])
    if attributes(node)["to"] != TensorProto.BOOL or source in (None, TensorProto.BOOL):
        return False
    non_zero(edit, node, node.input[0], out=node.output[0])
    return True


def _cosh(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # LLVM has no such intrinsic.
    x = node.input[0]
    grow, shrink = edit.op(node, "Exp", x), edit.op(node, "Exp", edit.op(node, "Neg", x))
    half = scalar(edit, x, 0.5, f"{node.output[0]}/half")
    edit.op(node, "Mul", edit.op(node, "Add", grow, shrink), half, out=node.output[0])
    return True


def _sinh(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # As above; the product with tanh keeps small values, which e^x − e^−x cancels.
    x, half = node.input[0], scalar(edit, node.input[0], 0.5, f"{node.output[0]}/half")
    grow, shrink = edit.op(node, "Exp", x), edit.op(node, "Exp", edit.op(node, "Neg", x))
    cosh = edit.op(node, "Mul", edit.op(node, "Add", grow, shrink), half)
    edit.op(node, "Mul", edit.op(node, "Tanh", x), cosh, out=node.output[0])
    return True


def _softplus(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """``max(x, 0) + log(1 + e)`` of ``e = exp(-|x|)``; of a small ``e`` by the series of log."""
    x, out = node.input[0], node.output[0]

    def number(value: float) -> str:
        return scalar(edit, x, value, f"{out}/number")

    e = edit.op(node, "Exp", edit.op(node, "Neg", edit.op(node, "Abs", x)))
    series = number(1 / 5)
    for divisor in (4, 3, 2, 1):
        part = edit.op(node, "Mul", e, series)
        series = edit.op(node, "Sub", number(1 / divisor), part)
    close = edit.op(node, "Mul", e, series)
    far = edit.op(node, "Log", edit.op(node, "Add", number(1), e))
    rest = edit.op(node, "Where", edit.op(node, "Less", e, number(0.01)), close, far)
    edit.op(node, "Add", edit.op(node, "Relu", x), rest, out=out)
    return True


def _mish(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """``x tanh(log(1 + e))`` is ``x n / (n + 2)`` with ``n = e (e + 2)``: nothing cancels."""
    x, out = node.input[0], node.output[0]
    most, two = (scalar(edit, x, v, f"{out}/number") for v in (20, 2))
    low = edit.op(node, "Where", edit.op(node, "Less", x, most), x, most)
    e = edit.op(node, "Exp", low)
    n = edit.op(node, "Mul", e, edit.op(node, "Add", e, two))
    ratio = edit.op(node, "Div", n, edit.op(node, "Add", n, two))
    edit.op(node, "Mul", x, ratio, out=out)
    return True


def _pow(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Of integers: TVM has powers of floats only."""
    base, exponent = node.input
    kind = edit.dtype(base)
    if kind is None:
        return False
    if kind.kind == "f":
        if edit.dtypes.get(exponent) in (None, edit.dtypes[base]):
            return False
        same = edit.op(node, "Cast", exponent, to=edit.dtypes[base])
        edit.last(node, "Pow", base, same, out=node.output[0])
        return True
    if kind.itemsize > 4:
        raise edit.refuse(node, f"is a power of {kind}, which is not supported; cast it to int32")
    wide = [edit.op(node, "Cast", name, to=TensorProto.DOUBLE) for name in (base, exponent)]
    whole = edit.op(node, "Round", edit.op(node, "Pow", *wide))
    edit.op(node, "Cast", whole, out=node.output[0], to=edit.dtypes[base])
    return True


def _hard_sigmoid(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # Its bounds arrive as numbers that are no tensors.
    x, attrs = node.input[0], attributes(node)
    alpha = scalar(edit, x, attrs.get("alpha", 0.2), f"{node.output[0]}/alpha")
    beta = scalar(edit, x, attrs.get("beta", 0.5), f"{node.output[0]}/beta")
    line = edit.op(node, "Add", edit.op(node, "Mul", x, alpha), beta)
    edit.dtypes[line] = edit.dtypes.get(x, TensorProto.FLOAT)
    edit.op(node, "Identity", clipped(edit, node, line, 0, 1), out=node.output[0])
    return True


def _is_inf(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # The importer reads neither attribute.
    x, attrs = node.input[0], attributes(node)
    wanted = attrs.get("detect_negative", 1), attrs.get("detect_positive", 1)
    if wanted == (1, 1):
        return False
    zero = scalar(edit, x, 0, f"{node.output[0]}/zero")
    if wanted == (0, 0):
        never = edit.op(node, "And", edit.op(node, "Less", x, zero), edit.op(node, "IsNaN", x))
        edit.op(node, "Identity", never, out=node.output[0])
        return True
    side = edit.op(node, "Less" if wanted[0] else "Greater", x, zero)
    edit.op(node, "And", edit.last(node, "IsInf", x), side, out=node.output[0])
    return True


def _elu(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # The importer's constants are float32, whatever x is.
    x = node.input[0]
    if is_float32(edit, x):
        return False
    alpha = scalar(edit, x, attributes(node).get("alpha", 1.0), f"{node.output[0]}/alpha")
    _exponential(edit, node, alpha, None)
    return True


def _selu(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, attrs = node.input[0], attributes(node)
    if is_float32(edit, x):
        return False
    alpha = scalar(
        edit, x, attrs.get("alpha", 1.67326319217681884765625), f"{node.output[0]}/alpha"
    )
    gamma = scalar(
        edit, x, attrs.get("gamma", 1.05070102214813232421875), f"{node.output[0]}/gamma"
    )
    _exponential(edit, node, alpha, gamma)
    return True


def _exponential(edit: Rewriter, node: onnx.NodeProto, alpha: str, gamma: str | None) -> None:
    """``x`` above zero, ``alpha * (exp(x) - 1)`` below, times ``gamma``."""
    x, out = node.input[0], node.output[0]
    zero, one = scalar(edit, x, 0, f"{out}/zero"), scalar(edit, x, 1, f"{out}/one")
    below = edit.op(node, "Mul", alpha, edit.op(node, "Sub", edit.op(node, "Exp", x), one))
    both = edit.op(
        node,
        "Where",
        edit.op(node, "Less", x, zero),
        below,
        x,
        out="" if gamma else out,
    )
    if gamma:
        edit.op(node, "Mul", gamma, both, out=out)


def _thresholded_relu(edit: Rewriter, node: onnx.NodeProto) -> bool:
    # The importer multiplies by a comparison as float32: wrong for infinity, and for other types.
    x, out = node.input[0], node.output[0]
    alpha = scalar(edit, x, attributes(node).get("alpha", 1.0), f"{out}/alpha")
    zero = scalar(edit, x, 0, f"{out}/zero")
    edit.op(node, "Where", edit.op(node, "Greater", x, alpha), x, zero, out=out)
    return True


def _bit_shift(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """By the width or more, or a negative number, only the sign is left; processors say else."""
    x, by = node.input
    kind = edit.dtype(x)
    if kind is None:
        return False
    out, bits = node.output[0], kind.itemsize * 8
    known = edit.value(by)
    if known is not None and np.all((known >= 0) & (known < bits)):
        return False
    zero = scalar(edit, x, 0, f"{out}/zero")
    width = scalar(edit, x, bits, f"{out}/width")
    inside = edit.op(node, "Less", by, width)
    if kind.kind == "i":
        inside = edit.op(node, "And", inside, edit.op(node, "Not", edit.op(node, "Less", by, zero)))
    safe = edit.op(node, "Where", inside, by, zero)
    shifted = edit.last(node, "BitShift", x, safe, direction=attributes(node)["direction"])
    gone = zero
    if kind.kind == "i" and attributes(node)["direction"] == "RIGHT":
        sign = edit.constant(np.asarray(-1, kind), f"{out}/sign")
        gone = edit.op(node, "Where", edit.op(node, "Less", x, zero), sign, zero)
    edit.op(node, "Where", inside, shifted, gone, out=out)
    return True


def _equal(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Of bools: TVM compares them as if they were floats, which is no code of LLVM's."""
    if edit.dtypes.get(node.input[0]) != TensorProto.BOOL:
        return False
    edit.op(node, "Not", edit.op(node, "Xor", *node.input), out=node.output[0])
    return True


def _variadic(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Of one input it is that input; the importer's sum over a stack needs none of that."""
    if len(node.input) != 1:
        return False
    edit.op(node, "Identity", node.input[0], out=node.output[0])
    return True


REWRITES: dict[str, Rewrite] = {
    "BitShift": _bit_shift,
    "Cast": _cast,
    "Cosh": rounded_once(_cosh),
    "Elu": rounded_once(_elu),
    "Equal": _equal,
    "HardSigmoid": rounded_once(_hard_sigmoid),
    "IsInf": _is_inf,
    "Max": _variadic,
    "Mean": _variadic,
    "Min": _variadic,
    "Mish": rounded_once(_mish),
    "Pow": _pow,
    "Selu": rounded_once(_selu),
    "Sinh": rounded_once(_sinh),
    "Softplus": rounded_once(_softplus),
    "Sum": _variadic,
    "ThresholdedRelu": _thresholded_relu,
}
