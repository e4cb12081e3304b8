"""Models of one dialect operator, compared with the qonnx package's own execution."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from abc_tvm.errors import ModelError
from abc_tvm.frontend import standard_onnx, to_standard
from abc_tvm.frontend.dialects import DIALECT_DOMAINS

SHAPE = (2, 3, 4, 5)
DOMAINS = [*DIALECT_DOMAINS]


def dialect_model(
    op_type: str,
    params: list[Any],
    domain: str = DOMAINS[0],
    *,
    shape: tuple[int, ...] = SHAPE,
    opset: int = 13,
    declared: bool = True,
    **attrs: Any,
) -> onnx.ModelProto:
    arrays = [np.asarray(value, np.float32) for value in params]
    names = [f"p{i}" for i in range(len(arrays))]
    node = helper.make_node(op_type, ["x", *names], ["y"], name="q", domain=domain, **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)],
    )
    imports = [helper.make_opsetid("", opset)]
    if declared:
        imports.append(helper.make_opsetid(domain, 2 if len(params) == 5 else 1))
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 7
    return model


def samples(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random values, exact halves and zeros of both signs, far outliers."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 3, shape).astype(np.float32)
    flat = x.reshape(-1)
    ties = np.arange(-12, 12, dtype=np.float32) / 4
    flat[: ties.size] = ties
    flat[-6:] = [0.0, -0.0, 1e9, -1e9, 1e-30, -1e-30]
    return x


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime to run the rewritten graph")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def qonnx_run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    registry = pytest.importorskip("qonnx.custom_op.registry", reason="needs the qonnx package")
    node = model.graph.node[0]
    context = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer} | {"x": x}
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    if node.domain == "finn.custom_op.general":
        copied.domain = "qonnx.custom_op.general"
    version = 2 if node.op_type == "Trunc" and len(node.input) == 6 else 1
    registry.getCustomOp(copied, onnx_opset_version=version).execute_node(context, model.graph)
    return np.asarray(context["y"])


def check(model: onnx.ModelProto, x: np.ndarray | None = None) -> onnx.ModelProto:
    before = model.SerializeToString()
    standard = standard_onnx(model)
    assert model.SerializeToString() == before
    assert {node.domain for node in standard.graph.node} == {""}
    assert [opset.domain for opset in standard.opset_import] == [""]
    checker.check_model(standard, full_check=True)
    x = samples() if x is None else x
    got, expected = run(standard, x), qonnx_run(model, x)
    assert got.shape == expected.shape and got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)
    return standard


def refuses(model: onnx.ModelProto, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        to_standard(model)
    assert "\n" not in str(caught.value)
    for word in ("'q'", *words):
        assert word in str(caught.value)
