"""One node against onnx's reference evaluator, or onnxruntime without optimisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.operators.judge import in_memory


def model_of(
    op_type: str,
    inputs: dict[str, np.ndarray],
    stored: dict[str, np.ndarray] | None = None,
    *,
    outputs: int = 1,
    opset: int = 17,
    order: list[str] | None = None,
    **attrs: Any,
) -> onnx.ModelProto:
    """A model of one node on ``inputs`` and ``stored`` tensors, in this order or ``order``."""
    stored = stored or {}
    names = order if order is not None else [*inputs, *stored]
    results = [f"y{n}" for n in range(outputs)]
    node = helper.make_node(op_type, names, results, name="node", **attrs)
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in inputs.items()
    ]
    graph = helper.make_graph(
        [node],
        "g",
        values,
        [onnx.ValueInfoProto(name=name) for name in results],
        [numpy_helper.from_array(a, n) for n, a in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def agrees(
    model: onnx.ModelProto,
    inputs: dict[str, np.ndarray],
    wanted: list[np.ndarray] | None = None,
    rtol: float = 0.0,
) -> None:
    """Assert that a compiled model gives the same types, shapes and values as the reference."""
    if wanted is None:
        with np.errstate(all="ignore"):
            wanted = ReferenceEvaluator(model).run(None, inputs)
    found = list(in_memory(model).run(inputs).values())
    for have, want in zip(found, wanted, strict=True):
        want = np.asarray(want)
        assert have.dtype == want.dtype
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=rtol, atol=0)
