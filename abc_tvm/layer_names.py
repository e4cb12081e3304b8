"""The user's own layer names, for the tables: ONNX node names of convolutions and dense layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx

DENSE = ("Gemm", "MatMul")


def layer_names(simple: onnx.ModelProto, module: Any) -> tuple[list[str] | None, list[str] | None]:
    """Names for the convolutions and for the dense layers of an imported module, in its order.

    A node without a name goes by its output's; equal names get ``#2``, ``#3`` …. ``None``
    stands for a list that does not fit: the module has another number of such layers.

    Args:
        simple: The simplified model that was imported.
        module: What the importer made of it.
    """
    constants = {tensor.name: len(tensor.dims) for tensor in simple.graph.initializer}
    convolutions, dense = [], []
    for node in simple.graph.node:
        if len(node.input) < 2:
            continue
        rank = constants.get(node.input[1])
        if node.op_type == "Conv" and rank == 4:
            convolutions.append(node.name or node.output[0])
        elif node.op_type in DENSE and rank == 2:
            dense.append(node.name or node.output[0])
    imported = _operators(module)
    return (
        _unique(convolutions) if imported["relax.nn.conv2d"] == len(convolutions) else None,
        _unique(dense) if imported["relax.matmul"] == len(dense) else None,
    )


def _operators(module: Any) -> Counter[str]:
    """How often ``main`` calls each operator."""
    count: Counter[str] = Counter()
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            operator = getattr(getattr(binding, "value", None), "op", None)
            count[str(getattr(operator, "name", ""))] += 1
    return count


def _unique(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result
