"""A model without its large tensors: what shape inference and checks of shapes need of it."""

from __future__ import annotations

import math

import onnx
from onnx import helper

FEW = 1024
"""Stored elements that may be a shape, which inference reads."""


def light(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` in which stored tensors of more elements are inputs."""
    copy = onnx.ModelProto()
    copy.ir_version = model.ir_version
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    graph, source = copy.graph, model.graph
    graph.name = source.name or "graph"
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    declared = {value.name for value in source.input}
    for tensor in source.initializer:
        if math.prod(tensor.dims) <= FEW:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return copy
