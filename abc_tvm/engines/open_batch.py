"""Models that leave the batch open, and engines that want it fixed."""

from __future__ import annotations

import onnx

from abc_tvm import frontend
from abc_tvm.stages import Source


def fixed_batch(model: Source, batch: int) -> int | None:
    """``batch`` where a model leaves the batch open, ``None`` where it fixes it."""
    source = model if isinstance(model, onnx.ModelProto) else frontend.load_onnx(model)
    parameters = {tensor.name for tensor in source.graph.initializer}
    for value in source.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in parameters and dims and dims[0].dim_value <= 0:
            return batch
    return None


def set_batch(model: onnx.ModelProto, batch: int) -> None:
    """Fix a symbolic first dimension of the inputs, in place."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value <= 0:
            dims[0].dim_value = batch
