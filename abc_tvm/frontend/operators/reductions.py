"""Reductions, running products, and transforms that are matrix products."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.fold import evaluate
from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter

_MOST_STEPS = 512


_OF_ONE = {
    "ReduceL1": "Abs",
    "ReduceL2": "Abs",
    "ReduceLogSum": "Log",
    "ReduceSumSquare": "Mul",
}
"""What a reduction does to each element alone; the others leave it as it is."""


def _reduce(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Of nothing it is a constant; axes that the model computes are refused.

    Over no axes (``noop_with_empty_axes``) what is left is what it does to each element, which the
    importer forgets.
    """
    x = node.input[0]
    axes = node.input[1] if len(node.input) > 1 else ""
    held = edit.value(axes) if axes else None
    if axes and held is None:
        raise edit.refuse(node, "has axes that the model computes; store them and export again")
    if attributes(node).get("noop_with_empty_axes") and (held is None or not held.size):
        alone = _OF_ONE.get(node.op_type, "Identity")
        edit.op(node, alone, *([x, x] if alone == "Mul" else [x]), out=node.output[0])
        return True
    shape = edit.static_shape(x)
    if shape is not None and 0 in shape:
        given = {x: np.zeros(shape, edit.dtype(x))}
        if held is not None:
            given[axes] = held
        value = evaluate(node, given, edit.opset)
        if value is not None and not value.size:
            raise edit.refuse(node, "gives a tensor without elements, which is not supported")
        if value is not None:
            edit.op(
                node,
                "Identity",
                edit.constant(value, f"{node.output[0]}/empty"),
                out=node.output[0],
            )
            return True
    if edit.dtypes.get(x) == TensorProto.BOOL:  # of bools, any and all
        whole = edit.op(node, "Cast", x, to=TensorProto.INT32)
        rest = [axes] if axes else []
        reduced = edit.op(node, node.op_type, whole, *rest, **attributes(node))
        edit.op(node, "Cast", reduced, out=node.output[0], to=TensorProto.BOOL)
        return True
    for index, attribute in enumerate(node.attribute):
        if attribute.name == "axes" and not attribute.ints:  # the importer reads no empty list
            del node.attribute[index]
            break
    return False


def _cum_prod(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """One product after the other."""
    x, attrs, out = node.input[0], attributes(node), node.output[0]
    shape, held = edit.static_shape(x), edit.value(node.input[1])
    if shape is None or held is None:
        raise edit.refuse(node, "needs fixed shapes and a stored axis; export it so")
    axis = int(np.asarray(held).reshape(-1)[0]) % len(shape)
    if shape[axis] > _MOST_STEPS:
        raise edit.refuse(node, f"runs over {shape[axis]} elements, and {_MOST_STEPS} is the most")
    order = list(range(shape[axis]))
    if attrs.get("reverse", 0):
        order.reverse()
    parts = {}
    ones = np.ones([1 if i == axis else n for i, n in enumerate(shape)], edit.dtype(x))
    running = edit.constant(ones, f"{out}/one")
    for i in order:
        at = edit.integers([i], f"{out}/at")
        one = edit.last(node, "Gather", x, at, axis=axis)
        after = edit.op(node, "Mul", running, one)
        parts[i] = running if attrs.get("exclusive", 0) else after
        running = after
    edit.op(node, "Concat", *(parts[i] for i in range(shape[axis])), out=out, axis=axis)
    return True


def _dft(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """A product with the matrix of roots of one, in float64."""
    x, attrs, out = node.input[0], attributes(node), node.output[0]
    shape = edit.static_shape(x)
    names = [*node.input[1:], "", ""]
    length, axis = edit.value(names[0]), edit.value(names[1])
    if shape is None or (names[0] and length is None) or (names[1] and axis is None):
        raise edit.refuse(node, "needs fixed shapes, a stored length and axis; export it so")
    rank = len(shape)
    place = attrs.get("axis", 1) if edit.opset < 20 else int(axis) if axis is not None else -2
    place %= rank
    inverse, half = attrs.get("inverse", 0), attrs.get("onesided", 0)
    if inverse:
        raise edit.refuse(node, "is the inverse transform, which is not supported")
    size = int(length) if length is not None else shape[place]
    taken = min(size, shape[place])
    if size < 1:
        raise edit.invalid(node, f"has a length of {size}")
    edit.refuse_table(node, size * taken)
    k = np.arange(size // 2 + 1 if half else size).reshape(-1, 1)
    angle = 2 * np.pi * (k * np.arange(taken) % size) / size
    roots = [edit.constant(m, f"{out}/roots") for m in (np.cos(angle), -np.sin(angle))]
    order = [i for i in range(rank - 1) if i != place] + [place, rank - 1]
    back = [order.index(i) for i in range(rank)]
    data = edit.op(node, "Cast", edit.op(node, "Transpose", x, perm=order), to=TensorProto.DOUBLE)
    first = edit.integers(list(range(taken)), f"{out}/taken")
    if taken < shape[place]:
        data = edit.last(node, "Gather", data, first, axis=rank - 2)
    parts = [
        edit.last(node, "Gather", data, edit.integers([i], f"{out}/part"), axis=rank - 1)
        for i in range(shape[-1])
    ]
    real, imaginary = (edit.op(node, "MatMul", m, parts[0]) for m in roots)
    if len(parts) == 2:
        other_imaginary, other_real = (edit.op(node, "MatMul", m, parts[1]) for m in roots)
        real = edit.op(node, "Sub", real, other_real)
        imaginary = edit.op(node, "Add", imaginary, other_imaginary)
    both = edit.op(node, "Concat", real, imaginary, axis=rank - 1)
    turned = edit.op(node, "Transpose", both, perm=back)
    edit.op(node, "Cast", turned, out=out, to=edit.dtypes[x])
    return True


_KINDS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)


def _cum_sum(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """The importer looks at no axis before machine code is made."""
    axis, rank = edit.value(node.input[1]), edit.ranks.get(node.input[0])
    if axis is not None and rank is not None and not -rank <= int(axis.reshape(-1)[0]) < rank:
        raise edit.invalid(node, f"sums up axis {int(axis.reshape(-1)[0])} of {rank}")
    return False


REWRITES: dict[str, Rewrite] = {
    **dict.fromkeys(_KINDS, _reduce),
    "CumProd": _cum_prod,
    "CumSum": _cum_sum,
    "DFT": _dft,
}
