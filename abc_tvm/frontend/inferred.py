"""What shape inference knows of a model, without copying its weights."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import shape_inference

_FEW = 1024
"""Stored elements that may be a shape, which inference reads."""


@dataclass(frozen=True)
class Dims:
    """Extents by tensor name; a symbolic or unknown one is ``None``. Unknown ranks are absent."""

    of: dict[str, tuple[int | None, ...]]

    def __getitem__(self, name: str) -> tuple[int | None, ...] | None:
        return self.of.get(name)


def infer_dims(model: onnx.ModelProto) -> Dims:
    """Extents of every tensor of the main graph, as far as inference gets."""
    graph = model.graph
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = graph.name or "graph"
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    declared = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).kind in "iub" and (
            _count(tuple(tensor.dims)) <= _FEW
        ):
            light.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    try:
        graph = shape_inference.infer_shapes(light, data_prop=True).graph
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        graph = light.graph
    found: dict[str, tuple[int | None, ...]] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None
                for d in value.type.tensor_type.shape.dim
            )
    return Dims({**found, **stored})


def _count(dims: tuple[int, ...]) -> int:
    total = 1
    for extent in dims:
        total *= extent
    return total
