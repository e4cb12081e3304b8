"""One node as the checker computes it, against the onnx package's reference implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from abc_tvm.checks.graphs.onnx_ops import run

X = np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(np.float32) * 3

Row = tuple[str, list[Any], dict[str, Any]]
"""Operator, inputs and attributes."""


def agrees(op_type: str, values: Sequence[Any], attributes: dict[str, Any]) -> None:
    """Assert that a node has the reference's type, shape and values."""
    names = [f"i{k}" for k in range(len(values))]
    node = helper.make_node(op_type, names, ["o"], **attributes)
    opset = 17 if op_type == "ReduceMean" else 19
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_empty_tensor_value_info(n) for n in names],
        [helper.make_empty_tensor_value_info("o")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    wanted = ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True)))[0]
    (found,) = run(node, values, opset, 1)
    assert found.dtype == wanted.dtype
    # Another order of float32 operations, on values up to 4: batch normalisation cancels to 0.16.
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
