"""What shape inference knows of a model, without copying its weights."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import shape_inference

from abc_tvm.frontend.light import light


@dataclass(frozen=True)
class Dims:
    """Extents by tensor name; a symbolic or unknown one is ``None``. Unknown ranks are absent."""

    of: dict[str, tuple[int | None, ...]]

    def __getitem__(self, name: str) -> tuple[int | None, ...] | None:
        return self.of.get(name)


def infer_dims(model: onnx.ModelProto) -> Dims:
    """Extents of every tensor of the main graph, as far as inference gets."""
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    small = light(model)
    try:
        graph = shape_inference.infer_shapes(small, data_prop=True).graph
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        graph = small.graph
    dims: dict[str, tuple[int | None, ...]] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.type.tensor_type.HasField("shape"):
            dims[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None
                for d in value.type.tensor_type.shape.dim
            )
    return Dims({**dims, **stored})
