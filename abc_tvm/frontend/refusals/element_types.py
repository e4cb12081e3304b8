"""The element types that a compiled network can hold; every other is refused by name."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.graph_edit import describe
from abc_tvm.frontend.operators.rewriter import inferred

TYPES = frozenset(
    [
        TensorProto.BOOL,
        TensorProto.DOUBLE,
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    ]
)


def check_types(model: onnx.ModelProto, label: str) -> None:
    """Refuse tensors of types that NumPy lacks (bfloat16, float8, int4 ...), text, and sequences.

    Raises:
        UnsupportedError: The message names the tensor and its type.
    """
    graph = inferred(model).graph
    makers = {name: node for node in model.graph.node for name in node.output}
    for tensor in model.graph.initializer:
        if tensor.data_type not in TYPES:
            raise UnsupportedError(f"{label}: tensor {tensor.name!r} {_fault(tensor.data_type)}")
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.WhichOneof("value")
        at = f"tensor {value.name!r}"
        if value.name in makers:
            at = f"{describe(makers[value.name])} gives {at}, which"
        if kind not in (None, "tensor_type"):
            raise UnsupportedError(
                f"{label}: {at} is a {str(kind).removesuffix('_type')} and no tensor; export the "
                "model with tensors only"
            )
        if value.type.tensor_type.elem_type not in (*TYPES, TensorProto.UNDEFINED):
            raise UnsupportedError(f"{label}: {at} {_fault(value.type.tensor_type.elem_type)}")


def _fault(kind: int) -> str:
    name = TensorProto.DataType.Name(kind).lower() if kind in _NAMED else f"type {kind}"
    return f"is of type {name}, which is not supported; cast it to float32 or int8 and export again"


_NAMED = frozenset(TensorProto.DataType.values())
