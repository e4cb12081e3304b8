"""What ONNX operators compute, in NumPy: the checker's own reading of the standard.

Operators that are not in ``TABLE`` go to the onnx package's own reference implementation.
``ROUNDED`` names those whose last place depends on the runtime; ``ELEMENTWISE`` those that leave
every element where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import onnx
from onnx import helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_moves import MOVEMENTS
from abc_tvm.checks.graphs.onnx_values import POINTWISE, Arrays, Operator

Given = Sequence[np.ndarray | None]
"""Inputs of a node; ``None`` is one that is left out."""

TABLE: dict[str, Operator] = {**POINTWISE, **MOVEMENTS}

_LIKEWISE = (
    "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Mod",
    "Pow", "Reciprocal", "Selu", "Sin", "Softplus", "Softsign", "Sqrt", "ThresholdedRelu",
)  # fmt: skip

ELEMENTWISE = frozenset((*POINTWISE, *_LIKEWISE, "Mean"))

ROUNDED = frozenset({
    "AveragePool", "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "GlobalAveragePool", "HardSigmoid",
    "HardSwish", "Log", "Mean", "Mish", "Pow", "ReduceMean", "ReduceSum", "Reciprocal", "Selu",
    "Sigmoid", "Sin", "Softplus", "Softsign", "Sum", "Tanh",
})  # fmt: skip

_ERRORS = (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


def run(node: onnx.NodeProto, args: Given, opset: int, images: int) -> tuple[np.ndarray, ...]:
    """Outputs of one node.

    ``images`` says how many times as many images as the graph has are computed at once: constant
    shapes are stretched by as much.

    Raises:
        NotChecked: The operator is not known in this form.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    function = TABLE.get(node.op_type) if not node.domain else None
    try:
        with np.errstate(all="ignore"):
            if function is None:
                return _by_reference(node, args, opset)
            extra = {"images": images, "outputs": len(node.output)}
            result = function(cast(Arrays, args), {**extra, **attributes})
    except _ERRORS as error:
        text = " ".join(str(error).split())[:80]
        raise NotChecked(f"{node.op_type}: {type(error).__name__}: {text}") from error
    return result if isinstance(result, tuple) else (np.asarray(result),)


def _by_reference(node: onnx.NodeProto, args: Given, opset: int) -> tuple[np.ndarray, ...]:
    from onnx.reference import ReferenceEvaluator  # takes half a second to import

    if any(
        a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute
    ):
        raise NotChecked(f"{node.op_type} holds a graph")
    names = [name for name, value in zip(node.input, args, strict=False) if value is not None]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_empty_tensor_value_info(n) for n in dict.fromkeys(names)],
        [helper.make_empty_tensor_value_info(n) for n in node.output if n],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {n: v for n, v in zip(node.input, args, strict=False) if v is not None}
    return tuple(ReferenceEvaluator(model).run(None, feeds))
