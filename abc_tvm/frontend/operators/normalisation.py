"""Normalisations that TVM's importer lacks, or gets wrong in some form.

1. BatchNormalization in training mode, which the importer runs as inference, is refused.
2. BatchNormalization of a stored tensor, or of float16 and float64, is a product and a sum.
3. LayerNormalization whose Mean or InvStdDev is read, or of float64; RMSNormalization of
   all axes.
4. LRN of an even size, of other types than float32 and of other ranks than 3 and 4.
5. MeanVarianceNormalization: the importer leaves out its epsilon.
6. LpNormalization; a vector of norm 0 stays 0.

float16 is computed in float32, as onnxruntime does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter
from abc_tvm.frontend.operators.spell import DOUBLE, FLOAT, FLOAT16

EPSILON = 1e-5
_MOST_LRN = 4096
MVN_EPSILON = 1e-9
"""The one in the body of ONNX's function."""


def batch_norm(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 1 and 2."""
    attrs = attributes(node)
    if attrs.get("training_mode") or any(node.output[1:]):
        raise edit.refuse(
            node, "is in training mode; export the network in inference mode (model.eval())"
        )
    x, out = node.input[0], node.output[0]
    kind = edit.dtypes.get(x, FLOAT)
    if kind == FLOAT and edit.value(x) is None:
        return False
    rank = spell.rank_of(edit, node, x)
    work = _Work(edit, node, kind)
    scale, bias, mean, variance = (work.wide(name) for name in node.input[1:])
    deviation = work.op(
        "Sqrt", work.op("Add", variance, work.number(attrs.get("epsilon", EPSILON)))
    )
    scale = work.op("Div", scale, deviation)
    shift = work.op("Sub", bias, work.op("Mul", mean, scale))
    if rank > 1:
        shape = [-1, *[1] * (rank - 2)]
        scale = spell.reshape(edit, node, scale, shape)
        shift = spell.reshape(edit, node, shift, shape)
    work.narrow(work.op("Add", work.op("Mul", work.wide(x), scale), shift), out)
    return True


def layer_norm(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 3."""
    attrs = attributes(node)
    x = node.input[0]
    kind = edit.dtypes.get(x, FLOAT)
    if kind == FLOAT and not any(node.output[1:]):
        return False
    rank = spell.rank_of(edit, node, x)
    axes = list(range(attrs.get("axis", -1) % rank, rank))
    work = _Work(edit, node, kind)
    data = work.wide(x)
    mean = work.mean(data, axes)
    centred = work.op("Sub", data, mean)
    variance = work.mean(work.op("Mul", centred, centred), axes)
    epsilon = work.number(attrs.get("epsilon", EPSILON))
    deviation = work.op("Sqrt", work.op("Add", variance, epsilon))
    inverse = work.op("Div", work.number(1), deviation)
    result = work.op("Mul", work.op("Mul", centred, inverse), work.wide(node.input[1]))
    if spell.given(node, 2):
        result = work.op("Add", result, work.wide(node.input[2]))
    work.narrow(result, node.output[0])
    stash = attrs.get("stash_type", FLOAT)
    for name, value in zip(node.output[1:], (mean, inverse), strict=False):
        if name:
            spell.cast(edit, node, value, stash, out=name)
    return True


def rms_norm(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 3."""
    attrs = attributes(node)
    x = node.input[0]
    rank = spell.rank_of(edit, node, x)
    kind = edit.dtypes.get(x, FLOAT)
    axes = list(range(attrs.get("axis", -1) % rank, rank))
    if len(axes) < rank and kind == FLOAT:
        return False
    work = _Work(edit, node, kind)
    data = work.wide(x)
    square = work.mean(work.op("Mul", data, data), axes)
    epsilon = work.number(attrs.get("epsilon", EPSILON))
    root = work.op("Sqrt", work.op("Add", square, epsilon))
    scaled = work.op("Mul", work.op("Div", data, root), work.wide(node.input[1]))
    work.narrow(scaled, node.output[0])
    return True


def lrn(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 4: the sum of squares over ``size`` channels around each, by AveragePool."""
    attrs = attributes(node)
    x, size = node.input[0], attrs["size"]
    rank = spell.rank_of(edit, node, x)
    kind = edit.dtypes.get(x, FLOAT)
    if size < 1:
        raise edit.invalid(node, "has a size below 1")
    channels = edit.shapes.get(x, (None, None))[1:2]
    most = 2 * channels[0] + 1 if channels and isinstance(channels[0], int) else _MOST_LRN
    if size > most:  # all channels are in it; alpha is divided by its size
        if not (channels and isinstance(channels[0], int)):
            raise edit.refuse(node, f"has a size of {size} over channels whose number is unknown")
        alpha = attrs.get("alpha", 1e-4) * most / size
        rest = {k: v for k, v in attrs.items() if k in ("beta", "bias")}
        edit.op(node, "LRN", x, out=node.output[0], size=most, alpha=alpha, **rest)
        return True
    if kind == FLOAT and size % 2 and rank in (3, 4):
        return False
    if rank < 2:
        raise edit.invalid(node, "needs a batch and channels")
    shape = edit.shapes[x]
    inner = spell.extents(edit, node, x, range(1, rank))
    work = _Work(edit, node, kind)
    data = work.wide(x)
    # [N, 1, C, everything else]: the channels become an image's rows. The batch may be open.
    batch = shape[0] if isinstance(shape[0], int) else -1
    square = work.op("Mul", data, data)
    image = spell.reshape(edit, node, square, [batch, 1, inner[0], int(np.prod(inner[1:]))])
    head, tail = (size - 1) // 2, size // 2
    wide = spell.widen(edit, node, image, [0, 0, head, 0], [0, 0, tail, 0])
    mean = edit.op(node, "AveragePool", wide, kernel_shape=[size, 1])
    mean = spell.reshape(edit, node, mean, [batch, *inner])
    base = work.op("Mul", mean, work.number(attrs.get("alpha", 1e-4)))
    base = work.op("Add", base, work.number(attrs.get("bias", 1.0)))
    power = work.op("Pow", base, work.number(attrs.get("beta", 0.75)))
    work.narrow(work.op("Div", data, power), node.output[0])
    return True


def mean_variance(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 5: ``(x - E x) / (sqrt(E x^2 - (E x)^2) + 1e-9)``, as the function's body has it."""
    x = node.input[0]
    axes = list(attributes(node).get("axes") or (0, 2, 3))
    work = _Work(edit, node, edit.dtypes.get(x, FLOAT))
    data = work.wide(x)
    mean = work.mean(data, axes)
    square = work.mean(work.op("Mul", data, data), axes)
    variance = work.op("Sub", square, work.op("Mul", mean, mean))
    deviation = work.op("Add", work.op("Sqrt", variance), work.number(MVN_EPSILON))
    work.narrow(work.op("Div", work.op("Sub", data, mean), deviation), node.output[0])
    return True


def lp_norm(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 6."""
    attrs = attributes(node)
    x, out = node.input[0], node.output[0]
    axis, p = attrs.get("axis", -1), attrs.get("p", 2)
    if p not in (1, 2):
        raise edit.invalid(node, f"has p={p}; 1 and 2 are possible")
    work = _Work(edit, node, edit.dtypes.get(x, FLOAT))
    data = work.wide(x)
    if p == 1:
        norm = edit.axes_op(node, "ReduceSum", work.op("Abs", data), [axis], keepdims=1)
    else:
        square = edit.axes_op(node, "ReduceSum", work.op("Mul", data, data), [axis], keepdims=1)
        norm = work.op("Sqrt", square)
    positive = work.op("Greater", norm, work.number(0))
    norm = work.op("Where", positive, norm, work.number(1))
    work.narrow(work.op("Div", data, norm), out)
    return True


class _Work:
    """Nodes that compute in float64 for float64 and in float32 for everything else."""

    def __init__(self, edit: Rewriter, node: onnx.NodeProto, kind: int) -> None:
        if kind not in (FLOAT, FLOAT16, DOUBLE):
            word = onnx.TensorProto.DataType.Name(kind).lower()
            raise edit.refuse(node, f"takes {word}, which is not supported; use float32")
        self.edit, self.node, self.kind = edit, node, kind
        self.type = DOUBLE if kind == DOUBLE else FLOAT
        self.dtype: np.dtype[Any] = np.dtype(np.float64 if kind == DOUBLE else np.float32)

    def op(self, op_type: str, *inputs: str) -> str:
        return self.edit.op(self.node, op_type, *inputs)

    def number(self, value: float) -> str:
        return spell.like(self.edit, value, self.dtype, f"{self.node.output[0]}/number")

    def mean(self, x: str, axes: list[int]) -> str:
        return self.edit.axes_op(self.node, "ReduceMean", x, axes, keepdims=1)

    def wide(self, name: str) -> str:
        """An input in the type that is computed in."""
        if self.edit.dtypes.get(name, self.kind) == self.type:
            return name
        return spell.cast(self.edit, self.node, name, self.type)

    def narrow(self, name: str, out: str) -> None:
        """The result in the type of the input."""
        if self.kind == self.type:
            self.edit.op(self.node, "Identity", name, out=out)
        else:
            spell.cast(self.edit, self.node, name, self.kind, out=out)


REWRITES = {
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "LRN": lrn,
    "MeanVarianceNormalization": mean_variance,
    "LpNormalization": lp_norm,
}
