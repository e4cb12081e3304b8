"""float16 arithmetic: each operator computes in float32 and rounds its result to float16.

That is what onnxruntime does on processors, and for one sum, product, quotient or root it is
float16's own IEEE result, since float32 has more than twice its digits. Sums of many are then
rounded once, not at every step in an order of the kernel's choosing. Operators that only move,
compare or choose values stay as they are.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto

from abc_tvm.frontend.operators.rewriter import Rewriter

_MOVING = frozenset(
    [
        *("Abs", "And", "ArgMax", "ArgMin", "Cast", "CastLike", "Clip", "Concat", "Constant"),
        *("ConstantOfShape", "DepthToSpace", "Equal", "Expand", "EyeLike", "Flatten", "Gather"),
        *("GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN"),
        *("Less", "LessOrEqual", "Max", "Min", "Neg", "Not", "OneHot", "Or", "Pad", "Relu"),
        *("Reshape", "Shape", "Sign", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze"),
        *("Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor"),
    ]
)


def widen_halves(model: onnx.ModelProto, label: str) -> bool:
    """Put casts round the operators that compute in float16, in place; whether there were any."""
    graph = model.graph
    edit = Rewriter(model, label)
    if TensorProto.FLOAT16 not in edit.dtypes.values():
        return False
    changed = False
    for node in graph.node:
        half_in = [n for n in node.input if edit.dtypes.get(n) == TensorProto.FLOAT16]
        half_out = [n for n in node.output if edit.dtypes.get(n) == TensorProto.FLOAT16]
        if node.domain or node.op_type in _MOVING or not (half_in or half_out):
            edit.nodes.append(node)
            continue
        changed = True
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in half_in:
                copy.input[index] = edit.op(node, "Cast", name, to=TensorProto.FLOAT)
        wide = {name: edit.fresh(f"{name}/float32") for name in half_out}
        for index, name in enumerate(node.output):
            copy.output[index] = wide.get(name, name)
        edit.nodes.append(copy)
        for name in half_out:
            edit.op(node, "Cast", wide[name], out=name, to=TensorProto.FLOAT16)
    nodes = list(edit.nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    return changed
