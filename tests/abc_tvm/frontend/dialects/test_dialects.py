"""Dialect rewrites give the same bits as the qonnx package, ties and boundaries included."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend import standard_onnx, to_standard
from abc_tvm.frontend.dialects import DIALECT_DOMAINS
from abc_tvm.frontend.dialects.qonnx_quant import integer_range

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


MODES = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN", "round"]


@pytest.mark.parametrize("mode", MODES)
def test_quant_rounding_modes(mode: str) -> None:
    check(dialect_model("Quant", [0.5, 0, 4], signed=1, narrow=0, rounding_mode=mode))
    check(dialect_model("Trunc", [0.25, 0, 8, 6], rounding_mode=mode))


def test_round_to_zero_is_truncation() -> None:
    params = [1.0, 0, 8]
    model = dialect_model("Quant", params, signed=1, narrow=0, rounding_mode="ROUND_TO_ZERO")
    x = samples()
    expected = np.clip(np.trunc(x), -128, 127)
    np.testing.assert_array_equal(run(standard_onnx(model), x), expected)


@pytest.mark.parametrize(
    ("bits", "signed", "narrow"), list(itertools.product([1, 2, 3, 8, 25, 32], [0, 1], [0, 1]))
)
def test_quant_ranges(bits: int, signed: int, narrow: int) -> None:
    check(dialect_model("Quant", [0.25, 0, bits], signed=signed, narrow=narrow))


def test_integer_range() -> None:
    assert integer_range(8, True, False) == (-128, 127)
    assert integer_range(8, True, True) == (-127, 127)
    assert integer_range(8, False, False) == (0, 255)
    assert integer_range(8, False, True) == (0, 254)


def test_quant_per_channel_scale_and_zero_point() -> None:
    scale = np.array([0.3, 0.5, 0.7]).reshape(1, 3, 1, 1)
    zero = np.array([0, 1, -2]).reshape(1, 3, 1, 1)
    for bits, signed in [(4, 1), (4, 0), (1, 1)]:
        check(dialect_model("Quant", [scale, zero, bits], signed=signed, narrow=0))
    check(dialect_model("BipolarQuant", [scale]))
    check(dialect_model("Trunc", [scale, zero, 8, 5], rounding_mode="ROUND"))
    check(dialect_model("Trunc", [scale, zero, 8, scale * 4, 5], rounding_mode="CEIL", signed=0))


def test_bipolar_of_zero_is_plus_one() -> None:
    model = standard_onnx(dialect_model("BipolarQuant", [1.0], shape=(3,)))
    assert "Sign" not in {node.op_type for node in model.graph.node}
    x = np.array([0.0, -0.0, -1e-45], np.float32)
    assert run(model, x).tolist() == [1.0, 1.0, -1.0]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_multithreshold_channels_first(shape: tuple[int, ...], channels: int) -> None:
    layout = {2: "NC", 3: "NCW", 4: "NCHW"}[len(shape)]
    # Values that occur in the input make ties; unsorted rows are allowed.
    x = np.random.default_rng(0).integers(-4, 5, shape).astype(np.float32) / 2
    thresholds = np.random.default_rng(1).integers(-4, 5, (channels, 7)) / 2
    attrs = {"out_dtype": "INT4", "out_scale": 0.3, "out_bias": -0.7, "data_layout": layout}
    check(dialect_model("MultiThreshold", [thresholds], shape=shape, **attrs), x)


def test_multithreshold_layouts() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    thresholds = np.array([[0.0], [0.5], [-0.5]])
    attrs = {"out_dtype": "BIPOLAR", "out_scale": 2.0, "out_bias": -1.0}
    model = dialect_model(
        "MultiThreshold", [thresholds], shape=x.shape, data_layout="NHWC", **attrs
    )
    check(model, x)
    # Without a layout, four dimensions are NCHW, three NWC.
    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    check(dialect_model("MultiThreshold", [thresholds], shape=nchw.shape, **attrs), nchw)
    check(dialect_model("MultiThreshold", [thresholds], shape=(2, 4, 3), **attrs), x[:, :, 0])


def test_multithreshold_rank_known_through_another_dialect_operator() -> None:
    model = dialect_model("Quant", [0.5, 0, 4], signed=1, narrow=0)
    model.graph.node[0].output[0] = "mid"
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((3, 1), np.float32), "thresholds")
    )
    model.graph.node.append(
        helper.make_node(
            "MultiThreshold", ["mid", "thresholds"], ["y"], domain=DOMAINS[1], out_dtype="UINT1"
        )
    )
    y = run(standard_onnx(model), samples())
    np.testing.assert_array_equal(y, (np.round(samples() / 0.5) >= 0).astype(np.float32))


def refuses(model: onnx.ModelProto, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        to_standard(model)
    assert "\n" not in str(caught.value)
    for word in ("'q'", *words):
        assert word in str(caught.value)


def test_refusals_name_node_operator_and_domain() -> None:
    with pytest.raises(UnsupportedError, match=r"'q'.*Strange.*my\.domain"):
        to_standard(dialect_model("Strange", [1.0], "my.domain"))
    refuses(dialect_model("FloatQuant", [1.0]), "FloatQuant", "onnx.brevitas")
    quant = {"signed": 1, "narrow": 0}
    refuses(dialect_model("Quant", [1, 0, 4], **quant, rounding_mode="ODD"), "'ODD'")
    refuses(dialect_model("Quant", [1, 0, 2.5], **quant), "bit_width", "2.5")
    refuses(dialect_model("Quant", [1, 0, [2, 3, 2, 2, 2]], **quant), "per channel")
    refuses(dialect_model("Quant", [1, 0, 4], signed=1), "narrow")
    refuses(dialect_model("Quant", [1, 0], **quant), "bit_width")
    refuses(dialect_model("MultiThreshold", [[1.0, 2.0]]), "[C, n]")
    refuses(dialect_model("MultiThreshold", [np.ones((3, 1))], data_layout="NC"), "rank 4")
    model = dialect_model("Quant", [1, 0, 4], **quant)
    model.graph.node[0].input[3] = "x"
    refuses(model, "run time")


def test_run_time_scale_is_allowed() -> None:
    model = dialect_model("BipolarQuant", [1.0])
    model.graph.node[0].input[1] = "x"
    y = run(standard_onnx(model), samples())
    np.testing.assert_array_equal(y, np.abs(samples()))


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
