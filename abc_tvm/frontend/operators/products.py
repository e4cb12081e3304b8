"""MatMul with stored weights as one of tokens and a matrix on the right, which is a layer.

1. Weights with leading axes of one are the matrix.
2. Weights of one axis are a matrix of one column, whose axis is taken away again.
3. ``W @ x`` of three and more axes is ``(x' @ W')'``, where ``'`` exchanges the last two.

Of a tensor of two axes ``W @ x`` stays: its channels would be what is a batch everywhere else.
"""

from __future__ import annotations

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import Array
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter


def _matmul(edit: Rewriter, node: onnx.NodeProto) -> bool:
    left, right = (edit.value(name) for name in node.input)
    if (left is None) == (right is None):
        return False
    data = node.input[0 if left is None else 1]
    rank = len(edit.shapes.get(data, ()))
    weight = left if right is None else right
    if weight is None or weight.dtype != np.float32 or rank < 2:
        return False
    if right is not None:
        return _on_the_right(edit, node, right, rank)
    matrix = _matrix(weight, rank)
    if matrix is None or rank < 3:
        return False
    axes = [*range(rank - 2), rank - 1, rank - 2]
    turned = edit.op(node, "Transpose", data, perm=axes)  # 3
    product = _layer(edit, node, turned, np.ascontiguousarray(matrix.T))
    edit.op(node, "Transpose", product, out=node.output[0], perm=axes)
    return True


def _on_the_right(edit: Rewriter, node: onnx.NodeProto, weight: Array, rank: int) -> bool:
    if weight.ndim == 1:  # 2
        product = _layer(edit, node, node.input[0], weight[:, None])
        edit.axes_op(node, "Squeeze", product, [rank - 1], out=node.output[0])
        return True
    matrix = _matrix(weight, rank)
    if matrix is None or weight.ndim == 2:
        return False
    _layer(edit, node, node.input[0], matrix, node.output[0])  # 1
    return True


def _matrix(weight: Array, rank: int) -> Array | None:
    """A matrix of any number of leading ones, where the other factor has as many axes."""
    if not 2 <= weight.ndim <= rank or any(n != 1 for n in weight.shape[:-2]):
        return None
    return weight.reshape(weight.shape[-2:])


def _layer(edit: Rewriter, node: onnx.NodeProto, data: str, matrix: Array, out: str = "") -> str:
    """The product under the name that the node goes by."""
    name = node.name or node.output[0]
    product = edit.last(node, "MatMul", data, edit.constant(matrix, f"{name}/matrix"), out=out)
    edit.nodes[-1].name = name
    return product


REWRITES: dict[str, Rewrite] = {"MatMul": _matmul}
