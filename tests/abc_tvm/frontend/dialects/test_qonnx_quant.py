"""QONNX quantizers give the same bits as the qonnx package, ties and boundaries included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from abc_tvm.frontend import standard_onnx
from abc_tvm.frontend.dialects.qonnx_quant import integer_range
from tests.abc_tvm.frontend.dialects.dialect import check, dialect_model, refuses, run, samples

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


def test_run_time_scale_is_allowed() -> None:
    model = dialect_model("BipolarQuant", [1.0])
    model.graph.node[0].input[1] = "x"
    y = run(standard_onnx(model), samples())
    np.testing.assert_array_equal(y, np.abs(samples()))


def test_refusals() -> None:
    quant = {"signed": 1, "narrow": 0}
    refuses(dialect_model("Quant", [1, 0, 4], **quant, rounding_mode="ODD"), "'ODD'")
    refuses(dialect_model("Quant", [1, 0, 2.5], **quant), "bit_width", "2.5")
    refuses(dialect_model("Quant", [1, 0, 65], **quant), "bit_width", "from 1 to 64")
    refuses(dialect_model("Quant", [1, 0, [2, 3, 2, 2, 2]], **quant), "per channel")
    refuses(dialect_model("Quant", [1, 0, 4], signed=1), "narrow")
    refuses(dialect_model("Quant", [1, 0, 4], signed=2, narrow=0), "'signed' as 0 or 1")
    refuses(dialect_model("Quant", [1, 0], **quant), "bit_width")
    refuses(dialect_model("Trunc", [1, 0, 8, -1, 4]), "positive, finite scales")
    model = dialect_model("Quant", [1, 0, 4], **quant)
    model.graph.node[0].input[3] = "x"
    refuses(model, "run time")
