"""Dialect rewrites give the same bits as the qonnx package, ties and boundaries included."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend import standard_onnx, to_standard
from tests.abc_tvm.frontend.dialects.dialect import DOMAINS, SHAPE, check, dialect_model, refuses

CASES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "bipolar": ("BipolarQuant", [0.75], {}),
    "quant": ("Quant", [0.5, 0, 4], {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}),
    "intquant": ("IntQuant", [0.5, 0, 4], {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}),
    "trunc1": ("Trunc", [0.25, 0, 8, 5], {"rounding_mode": "FLOOR"}),
    "trunc2": ("Trunc", [0.25, 0, 8, 1.0, 4], {"rounding_mode": "FLOOR", "signed": 1, "narrow": 0}),
    "thresholds": ("MultiThreshold", [[[-1, 0, 0.5]]], {"out_dtype": "UINT2"}),
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("case", CASES)
def test_every_operator_in_every_domain(case: str, domain: str, declared: bool) -> None:
    op_type, params, attrs = CASES[case]
    if case == "thresholds":
        params = [np.asarray(params[0]).reshape(1, 3)]
    check(dialect_model(op_type, params, domain, declared=declared, **attrs))


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 17, 21])
@pytest.mark.parametrize("case", ["bipolar", "quant", "trunc1"])
def test_opset_is_raised_only_where_needed(case: str, opset: int) -> None:
    op_type, params, attrs = CASES[case]
    standard = check(dialect_model(op_type, params, opset=opset, declared=False, **attrs))
    assert standard.opset_import[0].version == max(13, opset)


def test_refusals_name_node_operator_and_domain() -> None:
    with pytest.raises(UnsupportedError, match=r"'q'.*Strange.*my\.domain"):
        to_standard(dialect_model("Strange", [1.0], "my.domain"))
    refuses(dialect_model("FloatQuant", [1.0]), "FloatQuant", "onnx.brevitas")


def test_duplicate_inputs_of_initializers_are_dropped() -> None:
    model = dialect_model("BipolarQuant", [1.0], opset=9)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("p0", TensorProto.FLOAT, []))
    standard = check(model)
    assert [value.name for value in standard.graph.input] == ["x"]


def test_dialect_in_a_subgraph_is_refused() -> None:
    model = dialect_model("BipolarQuant", [1.0])
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[0])
    node.output[0] = "z"
    body = helper.make_graph(
        [node], "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, SHAPE)]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    branch = helper.make_node("If", ["flag"], ["y"], then_branch=body, else_branch=body)
    model.graph.node[0].CopyFrom(branch)
    with pytest.raises(UnsupportedError, match="If body"):
        to_standard(model)


def test_standard_model_is_left_as_it_is() -> None:
    model = standard_onnx(dialect_model("BipolarQuant", [1.0]))
    assert to_standard(model) == model
