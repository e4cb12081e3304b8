"""Models of one node, and the shape of what they import to."""

from __future__ import annotations

import onnx
import tvm
from onnx import TensorProto, helper

Dims = list[int | str | None]


def model_of(op_type: str, dims: Dims, out: Dims | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op_type, ["in.put"], ["y"], name="node")],
        "g",
        [helper.make_tensor_value_info("in.put", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out or dims)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def shape_of(module: tvm.IRModule) -> list[str]:
    return [str(getattr(dim, "value", dim)) for dim in module["main"].params[0].ty.shape]


def hardmax() -> onnx.ModelProto:
    model = model_of("Hardmax", ["N", 3])
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    return model
