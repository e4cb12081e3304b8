"""The int8 form of a float network: bytes between its layers, near its outputs, or one refusal."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime", reason="needs the extra [bench]")

from abc_tvm.engines.int8_twin import quantise
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.small_networks import network

X = {"input": np.random.default_rng(0).standard_normal((1, 8, 6, 6)).astype(np.float32)}


def test_layers_are_on_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    model = network(binary=False, dims=(1, 8, 6, 6))
    before = model.SerializeToString()
    twin = quantise(model, X)
    assert model.SerializeToString() == before
    kinds = [node.op_type for node in twin.graph.node]
    assert kinds.count("Conv") == 2 and {"QuantizeLinear", "DequantizeLinear"} <= set(kinds)
    weights = [t for t in twin.graph.initializer if t.data_type == TensorProto.INT8]
    assert sorted(numpy_helper.to_array(t).size for t in weights if len(t.dims) == 4) == [64, 1152]
    assert capfd.readouterr().out == ""
    wanted, found = (OnnxEngine(one).run(X)["output"] for one in (model, twin))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 0.2 * np.abs(wanted).max()


def test_the_same_every_time() -> None:
    model = network(binary=False, dims=(1, 8, 6, 6))
    assert quantise(model, X) == quantise(model, X)


def test_a_model_that_the_tool_refuses() -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Strange", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    with pytest.raises(UnsupportedError, match="onnxruntime-int8: onnxruntime cannot quantise"):
        quantise(model, {"x": np.zeros(2, np.float32)})
    assert isinstance(model, onnx.ModelProto)
