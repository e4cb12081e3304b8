"""Tensors that are too large are refused before anything is as large: see docs/security.md.

1. A tensor that a run makes, or takes, has at most :data:`MOST_ELEMENTS` elements, an open batch
   counted as 1: kernels count in 32 bits.
2. A tensor that is computed from stored tensors alone (ConstantOfShape, Expand, Tile …) would be
   part of the artifact. It has at most :data:`SPARE` bytes more than :data:`TIMES` times what the
   model stores.
3. A tensor that depends on the input has elements at all: kernels of none are no loops.
"""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto, helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.graph_edit import describe
from abc_tvm.frontend.inferred import Dims

MOST_ELEMENTS = 2**31 - 1
TIMES = 4
SPARE = 64 << 20


def most_constant_bytes(model: onnx.ModelProto) -> int:
    """What a constant that is computed at compile time may have."""
    return SPARE + TIMES * sum(bytes_of(tensor) for tensor in model.graph.initializer)


def bytes_of(tensor: TensorProto) -> int:
    """Bytes of a stored tensor, as an array."""
    item: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    count: int = math.prod(tensor.dims)
    return count * item


def check_sizes(model: onnx.ModelProto, dims: Dims, label: str) -> None:
    """Refuse a model with a tensor that is too large.

    Raises:
        UnsupportedError: With the tensor's name and both numbers.
    """
    most = most_constant_bytes(model)
    constant = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        _refuse_elements(dims[value.name], f"{label}: input {value.name!r}")
    for node in model.graph.node:
        fixed = (
            all(name in constant for name in node.input if name) and "Random" not in node.op_type
        )
        for name in filter(None, node.output):
            shape = dims[name]
            _refuse_elements(shape, f"{label}: {describe(node)}")
            if not fixed and shape is not None and 0 in shape:
                raise UnsupportedError(
                    f"{label}: {describe(node)} makes a tensor {list(shape)} without any element; "
                    "there is nothing to compute"
                )
            if fixed and shape is not None and 4 * _elements(shape) > most:
                raise UnsupportedError(
                    f"{label}: {describe(node)} makes a constant of {_elements(shape):,} elements, "
                    f"and the model's own size allows {most // 4:,}; compute it from the input"
                )
        if fixed:
            constant.update(node.output)


def _elements(shape: tuple[int | None, ...]) -> int:
    return math.prod(extent or 1 for extent in shape if extent is not None)


def _refuse_elements(shape: tuple[int | None, ...] | None, what: str) -> None:
    if shape is not None and _elements(shape) > MOST_ELEMENTS:
        raise UnsupportedError(
            f"{what} has {_elements(shape):,} elements, more than the {MOST_ELEMENTS:,} that "
            "kernels count to; make the tensor or the batch smaller"
        )
