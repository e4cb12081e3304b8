"""``CastLike(a, b)`` becomes ``Cast(a)`` to the type that b is known to have.

Exporters write it behind constants; as long as it names another tensor, nothing behind it is
constant.
"""

from __future__ import annotations

import onnx
from onnx import shape_inference


def settle_casts(model: onnx.ModelProto) -> bool:
    """Rewrite in place where the type of b can be inferred; returns whether any was."""
    graph = model.graph
    if not any(_is_cast_like(node) for node in graph.node):
        return False
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    inferred = shape_inference.infer_shapes(model).graph
    for values in (inferred.input, inferred.output, inferred.value_info):
        types.update((value.name, value.type.tensor_type.elem_type) for value in values)
    changed = False
    for node in graph.node:
        kind = types.get(node.input[1], 0) if _is_cast_like(node) else 0
        if kind:
            cast = onnx.helper.make_node("Cast", [node.input[0]], node.output, node.name, to=kind)
            node.CopyFrom(cast)
            changed = True
    return changed


def _is_cast_like(node: onnx.NodeProto) -> bool:
    return node.op_type == "CastLike" and not node.domain and len(node.input) == 2
