"""Einsum as the operators that recognition and schedules know.

1. A weighted sum over one axis, by a stored vector: Mul and ReduceSum. So bases that are stacked
   along an axis are added up.
2. A product of matrices, perhaps batched: Transpose and MatMul.

Every other equation stays as it is: the importer computes it.
"""

from __future__ import annotations

import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

_ELLIPSIS = "ABCDEFGHIJ"
"""Labels of the axes that an ellipsis stands for; equations of the standard have small letters."""


def _einsum(edit: Rewriter, node: onnx.NodeProto) -> bool:
    equation = attributes(node)["equation"]
    if len(node.input) != 2:
        return False
    ranks = [edit.shapes.get(name) for name in node.input]
    if ranks[0] is None or ranks[1] is None:
        return False
    labels = _labels(str(equation), [len(r) for r in ranks if r is not None])
    if labels is None:
        return False
    a, b, out = labels
    return _weighted_sum(edit, node, a, b, out) or _product(edit, node, a, b, out)


def _labels(equation: str, ranks: list[int]) -> tuple[str, str, str] | None:
    """A letter for each axis of both operands and of the result.

    ``None`` where a letter stands twice in one of them, or the equation does not fit the ranks.
    """
    terms, arrow, result = equation.replace(" ", "").partition("->")
    parts = terms.split(",")
    if len(parts) != len(ranks):
        return None
    letters = "".join(parts).replace(".", "")
    if any(c.isupper() for c in letters + result):
        return None
    if not arrow:
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        result = ("..." if "..." in terms else "") + "".join(once)
    # An ellipsis stands for the last of the broadcast axes.
    counts = [r - len(p.replace("...", "")) for p, r in zip(parts, ranks, strict=True)]
    if any(c < 0 or (c and "..." not in p) for c, p in zip(counts, parts, strict=True)):
        return None
    most = max(counts)
    whole = [
        p.replace("...", _ELLIPSIS[most - c : most]) for p, c in zip(parts, counts, strict=True)
    ]
    final = result.replace("...", _ELLIPSIS[:most])
    if any(len(set(one)) < len(one) for one in (*whole, final)):
        return None
    if not set(final) <= set("".join(whole)):
        return None
    return whole[0], whole[1], final


def _weighted_sum(edit: Rewriter, node: onnx.NodeProto, a: str, b: str, out: str) -> bool:
    x, weights, axes = node.input[0], node.input[1], a
    if len(a) == 1 and len(b) > 1:
        x, weights, axes, b = node.input[1], node.input[0], b, a
    held = edit.value(weights)
    if held is None or len(b) != 1 or b not in axes or axes.replace(b, "") != out:
        return False
    axis = axes.index(b)
    shape = edit.shapes[x]
    if shape[axis] != len(held):  # it is repeated along the axis
        return False
    column = held.reshape((-1,) + (1,) * (len(axes) - axis - 1))
    factors = edit.constant(column, f"{node.output[0]}/weights")
    scaled = edit.op(node, "Mul", x, factors)
    edit.axes_op(node, "ReduceSum", scaled, [axis], out=node.output[0], keepdims=0)
    return True


def _product(edit: Rewriter, node: onnx.NodeProto, a: str, b: str, out: str) -> bool:
    shared = [c for c in a if c in b]
    summed = [c for c in shared if c not in out]
    batch = [c for c in out if c in a and c in b]
    left = [c for c in a if c not in b]
    right = [c for c in b if c not in a]
    several = len(left) > 1 and not batch  # of one matrix there may be many rows
    if len(summed) != 1 or len(right) != 1 or {*left, *right} - set(out):
        return False
    if not (len(left) == 1 or several):
        return False
    sizes = [edit.shapes[name] for name in node.input]
    for c in shared:  # an axis of 1 that is repeated has no product of this form
        if sizes[0][a.index(c)] != sizes[1][b.index(c)]:
            return False
    first = _transposed(edit, node, node.input[0], a, [*batch, *left, *summed])
    second = _transposed(edit, node, node.input[1], b, [*batch, *summed, *right])
    order = [*batch, *left, *right]
    if "".join(order) == out:
        edit.op(node, "MatMul", first, second, out=node.output[0])
        return True
    product = edit.op(node, "MatMul", first, second)
    perm = [order.index(c) for c in out]
    edit.op(node, "Transpose", product, out=node.output[0], perm=perm)
    return True


def _transposed(
    edit: Rewriter, node: onnx.NodeProto, name: str, labels: str, order: list[str]
) -> str:
    perm = [labels.index(c) for c in order]
    if perm == sorted(perm):
        return name
    return edit.op(node, "Transpose", name, perm=perm)


REWRITES: dict[str, Rewrite] = {"Einsum": _einsum}
