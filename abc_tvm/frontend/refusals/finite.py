"""NaN and infinity among a model's numbers are refused by name, unless their meaning is plain.

A weight, scale, shift or slope that is NaN or infinite comes from a training that diverged or a
file that was damaged; every output is then meaningless, and no bit stands for it.

1. NaN is refused wherever it stands.
2. Infinity is refused but as a bound: of Clip, Min or Max, in a comparison, as the value of Pad
   before a MaxPool, and in a mask that a Softmax, a maximum or a comparison reads, through
   operators that add, select or move (what exporters write for "no limit" and "not this one").
   A lower bound of +∞, or an upper one of −∞, makes everything infinite, and is refused.
3. A BatchNormalization whose variance plus epsilon is not positive divides by NaN or zero.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from abc_tvm.errors import ModelError
from abc_tvm.frontend.graph_edit import attributes, describe
from abc_tvm.frontend.onnx_file import all_nodes

_SETTLES = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "Clip",
        "Equal",
        "Exp",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "IsInf",
        "Less",
        "LessOrEqual",
        "LogSoftmax",
        "Max",
        "MaxPool",
        "Min",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Sigmoid",
        "Sign",
        "Softmax",
        "Tanh",
        "TopK",
    ]
)
"""What an infinite element has a plain meaning for."""

_CARRIES = frozenset(
    [
        "Add",
        "Cast",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "Reshape",
        "Slice",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
"""What hands an infinite element on to the next operator."""

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_BOUNDS = ("min", "max")


def check_finite(model: onnx.ModelProto, label: str) -> None:
    """Refuse a model that stores NaN, or infinity where it is no bound.

    Args:
        model: Simplified: what can be computed from stored tensors is stored.
        label: What messages call the model.

    Raises:
        ModelError: With the name of the tensor, or of the node and its attribute.
    """
    graph = model.graph
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in all_nodes(graph):
        for name in node.input:
            readers[name].append(node)
    outputs = {value.name for value in graph.output}
    infinite = _Infinite(readers, outputs)
    for tensor in graph.initializer:
        _check_tensor(tensor, f"{label}: tensor {tensor.name!r}", infinite.has_meaning(tensor.name))
    for node in all_nodes(graph):
        for attribute in node.attribute:
            bound = attribute.name in _BOUNDS or infinite.settled(node)
            what = f"{label}: {describe(node)}: attribute {attribute.name}"
            _check_attribute(attribute, what, bound)
    _check_sides(graph, label)
    _check_variances(graph, label)


class _Infinite:
    """Whether what reads a tensor gives an infinite element of it a plain meaning."""

    def __init__(self, readers: dict[str, list[onnx.NodeProto]], outputs: set[str]) -> None:
        self._readers, self._outputs = readers, outputs
        self._known: dict[str, bool] = {}

    def has_meaning(self, name: str) -> bool:
        pending, seen = [name], {name}
        while pending:
            current = pending.pop()
            if current in self._outputs:
                return False
            for node in self._readers[current]:
                if node.op_type in _SETTLES:
                    continue
                if node.op_type not in _CARRIES:
                    return False
                pending += [out for out in node.output if out not in seen]
                seen.update(node.output)
        return True

    def settled(self, node: onnx.NodeProto) -> bool:
        return node.op_type in _CARRIES and all(self.has_meaning(n) for n in node.output)


def _check_tensor(tensor: TensorProto, what: str, bound: bool) -> None:
    if tensor.data_type in _FLOATS:
        _check_values(np.asarray(numpy_helper.to_array(tensor)), what, bound)


def _check_attribute(attribute: AttributeProto, what: str, bound: bool) -> None:
    if attribute.type == AttributeProto.FLOAT:
        _check_values(np.asarray([attribute.f], np.float32), what, bound)
    elif attribute.type == AttributeProto.FLOATS:
        _check_values(np.asarray(attribute.floats, np.float32), what, bound)
    elif attribute.type == AttributeProto.TENSOR:
        _check_tensor(attribute.t, what, bound)


def _check_values(values: np.ndarray, what: str, bound: bool) -> None:
    values = values.astype(np.float32) if values.dtype.kind not in "f" else values
    if np.isfinite(values).all():
        return
    nan = int(np.isnan(values).sum())
    if nan:
        raise ModelError(
            f"{what} holds NaN ({nan} of {values.size} values); the training diverged, or the file "
            "is damaged: export it again from a good checkpoint"
        )
    if not bound:
        count = int(np.isinf(values).sum())
        raise ModelError(
            f"{what} holds infinity ({count} of {values.size} values) where it is no bound; store "
            "a finite number"
        )


def _check_sides(graph: onnx.GraphProto, label: str) -> None:
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in _FLOATS}
    for node in graph.node:
        lower = {"Max": node.input, "Clip": node.input[1:2]}.get(node.op_type, ())
        upper = {"Min": node.input, "Clip": node.input[2:3]}.get(node.op_type, ())
        for names, worst, what in ((lower, np.inf, "a lower"), (upper, -np.inf, "an upper")):
            for name in names:
                if name in stored and (numpy_helper.to_array(stored[name]) == worst).any():
                    raise ModelError(
                        f"{label}: {describe(node)}: tensor {name!r} holds {what} bound of "
                        f"{worst}, which leaves nothing finite; store a finite number"
                    )


def _check_variances(graph: onnx.GraphProto, label: str) -> None:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization" or len(node.input) < 5:
            continue
        tensor = stored.get(node.input[4])
        if tensor is None:
            continue
        epsilon = float(attributes(node).get("epsilon", 1e-5))
        variance = np.asarray(numpy_helper.to_array(tensor)).astype(np.float64)
        bad = int((variance + epsilon <= 0).sum())
        if bad:
            raise ModelError(
                f"{label}: {describe(node)}: the variance {tensor.name!r} plus epsilon is not "
                f"positive in {bad} of {variance.size} channels; export it again"
            )
