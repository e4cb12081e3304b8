"""Div and Mod: what a processor ends the program for, and remainders of floats.

A stored divisor of 0 is refused. Of integers, a divisor that only a run knows may be 0, or −1 below
the least number, and either would end the process: there the result is a number that is no
quotient (0 is taken for 1), as ONNX leaves it open, and every other element is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.elementwise import non_zero, scalar
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

_EQUAL_OF_ALL = 11


def _div(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, by = node.input
    kind = edit.dtype(by)
    if kind is None or _is_harmless(edit, node, kind):
        return False
    one = scalar(edit, by, 1, f"{node.output[0]}/one")
    safe, minus = _safe(edit, node, by, one, kind)
    if minus is None:
        edit.last(node, "Div", x, safe, out=node.output[0])
        return True
    quotient = edit.last(node, "Div", x, safe)
    zero = scalar(edit, by, 0, f"{node.output[0]}/zero")
    negative = edit.op(node, "Sub", zero, x)
    edit.op(node, "Where", minus, negative, quotient, out=node.output[0])
    return True


def _mod(edit: Rewriter, node: onnx.NodeProto) -> bool:
    x, by = node.input
    kind, fmod = edit.dtype(by), attributes(node).get("fmod", 0)
    if kind is None or _is_harmless(edit, node, kind):
        return False if kind is None or kind.kind != "f" or fmod else _float_mod(edit, node)
    one = scalar(edit, by, 1, f"{node.output[0]}/one")
    safe, _ = _safe(edit, node, by, one, kind)  # by −1, as by 1, nothing is left
    edit.last(node, "Mod", x, safe, out=node.output[0], fmod=fmod)
    return True


def _is_harmless(edit: Rewriter, node: onnx.NodeProto, kind: np.dtype[Any]) -> bool:
    """Whether no element of the divisor ends a program.

    Raises ``UnsupportedError`` where it is stored, and 0.
    """
    stored = edit.value(node.input[1])
    if stored is not None and stored.size:
        zeros = stored == 0
        if zeros.all() or (kind.kind in "iu" and zeros.any()):
            raise edit.refuse(node, "divides by a stored 0")
    if kind.kind not in "iu":
        return True
    return stored is not None and (kind.kind == "u" or not np.any(stored == -1))


def _safe(
    edit: Rewriter, node: onnx.NodeProto, by: str, one: str, kind: np.dtype[Any]
) -> tuple[str, str | None]:
    """The divisor with 1 for 0 and for −1; and where it is −1, if it may be."""
    safe = edit.op(node, "Where", non_zero(edit, node, by), by, one)
    if kind.kind == "u":
        return safe, None
    below = scalar(edit, by, -1, f"{node.output[0]}/minus")
    if edit.opset >= _EQUAL_OF_ALL or kind.itemsize > 2:
        minus = edit.op(node, "Equal", by, below)
    else:
        sides = [edit.op(node, side, by, below) for side in ("Less", "Greater")]
        minus = edit.op(node, "Not", edit.op(node, "Or", *sides))
    return edit.op(node, "Where", minus, one, safe), minus


def _float_mod(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Of floats with the divisor's sign: by infinity it is x, or the divisor on its other side."""
    x, by = node.input
    out = node.output[0]
    if edit.opset < _EQUAL_OF_ALL:
        raise edit.refuse(node, "has floats and fmod = 0; export the model with opset 11 or newer")
    infinite, zero = (scalar(edit, x, v, f"{out}/number") for v in (np.inf, 0))
    finite = edit.op(node, "Less", edit.op(node, "Abs", x), infinite)
    whole = edit.op(node, "And", finite, edit.op(node, "Equal", edit.op(node, "Abs", by), infinite))
    signs = edit.op(node, "Mul", edit.op(node, "Sign", x), edit.op(node, "Sign", by))
    edge = edit.op(node, "Where", edit.op(node, "Less", signs, zero), by, x)
    edit.op(node, "Where", whole, edge, edit.last(node, "Mod", x, by), out=out)
    return True


REWRITES: dict[str, Rewrite] = {"Div": _div, "Mod": _mod}
