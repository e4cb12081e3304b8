"""Pools with ``ceil_mode``, of whose size ONNX's shape inference thinks otherwise.

A window that starts in the padding behind the image is dropped, by onnxruntime, by PyTorch and by
the words of ONNX; its inference counts it. A model may therefore declare either size, and what
ONNX infers behind such a pool is wrong until the pool has plain pads. So these pools are rewritten
before anything else is followed, and only then is the model checked against inferred shapes.
"""

from __future__ import annotations

import onnx

POOLS = ("MaxPool", "AveragePool", "LpPool")


def has_ceil_mode(model: onnx.ModelProto) -> bool:
    """Whether a pool of ``model`` has ``ceil_mode``."""
    return any(is_ceil_pool(node) for node in model.graph.node)


def is_ceil_pool(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is a pool with ``ceil_mode``."""
    return node.op_type in POOLS and any(a.name == "ceil_mode" and a.i for a in node.attribute)


def forget_shapes(model: onnx.ModelProto) -> None:
    """Drop, in place, what ``model`` declares of shapes; outputs keep their rank."""
    graph = model.graph
    del graph.value_info[:]
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
