"""One node, run by onnxruntime, and what its operator does to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from .values import Array

IR_VERSION = 10

SELECTING = frozenset(
    [
        "Abs",
        "And",
        "ArgMax",
        "ArgMin",
        "Cast",
        "Ceil",
        "Clip",
        "Compress",
        "Concat",
        "ConstantOfShape",
        "DepthToSpace",
        "Dropout",
        "Equal",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Max",
        "MaxPool",
        "Min",
        "Neg",
        "Not",
        "OneHot",
        "Or",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Round",
        "Shape",
        "Sign",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
        "Xor",
    ]
)
"""Operators that round nothing: a result is one of the operands, or follows from a comparison."""

ARITHMETIC = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "CumSum",
        "DequantizeLinear",
        "Div",
        "GlobalAveragePool",
        "HardSigmoid",
        "LeakyRelu",
        "Mean",
        "Mod",
        "Mul",
        "PRelu",
        "QuantizeLinear",
        "ReduceL1",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Resize",
        "Sub",
        "Sum",
        "ThresholdedRelu",
        "Upsample",
        "HardSwish",
    ]
)
"""Operators that are exact on multiples of a power of two, where their result is one as well."""

CONTRACTIONS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"])
"""Sums of products: exact as above; what another order of summation may change is their size."""

_ERRORS = tuple(
    kind
    for kind in vars(ort_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class RejectedError(Exception):
    """A proposal that does not work out here: draw another."""


def session(model: onnx.ModelProto) -> Any:
    """An onnxruntime session as the judge has it: no graph optimisation, one thread.

    Raises:
        RejectedError: onnxruntime does not take the model.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (*_ERRORS, RuntimeError, ValueError) as error:
        raise RejectedError(" ".join(str(error).split())[:200]) from error


def execute(runner: Any, feeds: dict[str, Array]) -> list[Array]:
    """All outputs. Raises ``RejectedError`` where onnxruntime fails."""
    try:
        return [np.asarray(a) for a in runner.run(None, feeds)]
    except (*_ERRORS, RuntimeError, ValueError) as error:
        raise RejectedError(" ".join(str(error).split())[:200]) from error


class NodeRunner:
    """A node alone, every operand an input, to be run on many values."""

    def __init__(self, node: onnx.NodeProto, operands: Sequence[Array | None], opset: int) -> None:
        self.op_type = node.op_type
        alone = onnx.NodeProto()
        alone.CopyFrom(node)
        del alone.input[:]
        alone.input.extend("" if a is None else f"i{n}" for n, a in enumerate(operands))
        infos = [
            helper.make_tensor_value_info(
                f"i{n}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for n, array in enumerate(operands)
            if array is not None
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([alone], "g", infos, outputs)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        self._session = session(model)

    def run(self, operands: Sequence[Array | None]) -> list[Array]:
        feeds = {f"i{n}": a for n, a in enumerate(operands) if a is not None}
        return execute(self._session, feeds)
