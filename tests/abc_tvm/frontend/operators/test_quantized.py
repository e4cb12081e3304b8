"""Operators on 8-bit integers: zero points, rounding of ties, saturation; equal to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.abc_tvm.frontend.operators.judge import agrees
from tests.abc_tvm.frontend.operators.judge import model_of as one_node
from tests.abc_tvm.frontend.operators.judged import Case, agree

KINDS = ["uint8", "int8"]


def whole(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)


def scalars(kind: str, **values: float) -> dict[str, np.ndarray]:
    """Scales as float32; zero points, whose names say so, as integers."""
    return {k: np.array(v, kind if "zero" in k else "float32") for k, v in values.items()}


def q_conv(
    rng: np.random.Generator,
    kinds: tuple[str, str],
    shape: tuple[int, ...] = (3, 4, 3, 3),
    per_channel: bool = False,
    bias: bool = False,
    image: tuple[int, ...] = (2, 4, 6, 5),
    y_scale: float = 0.5,
    **attrs: Any,
) -> Case:
    data, weight = kinds
    low, high = (np.iinfo(data).min, np.iinfo(data).max)
    stored = {
        "x_scale": np.float32(0.037),
        "x_zero": np.array((low + high) // 2 + 3, data),
        "w": whole(rng, weight, *shape),
        "w_scale": np.float32(0.021),
        "w_zero": np.array(0 if weight == "int8" else 130, weight),
        "y_scale": np.float32(y_scale),
        "y_zero": np.array(low + 7, data),
    }
    if per_channel:
        stored["w_scale"] = rng.uniform(0.01, 0.04, shape[0]).astype(np.float32)
        stored["w_zero"] = np.full(shape[0], stored["w_zero"])
    if bias:
        stored["bias"] = rng.integers(-5000, 5000, shape[0]).astype(np.int32)
    names = ["x", *stored]
    return Case(
        "QLinearConv",
        {"x": whole(rng, data, *image)},
        {k: np.asarray(v) for k, v in stored.items()},
        attrs,
        names,
    )


@pytest.mark.parametrize("kinds", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("opset", [10, 13])
def test_q_linear_conv(kinds: tuple[str, str], opset: int, rng: np.random.Generator) -> None:
    """A pixel outside is the zero point, and not 0."""
    cases = [
        q_conv(rng, kinds),
        q_conv(rng, kinds, bias=True, pads=[1, 2, 0, 1], strides=[2, 1]),
        q_conv(rng, kinds, (4, 2, 2, 3), group=2, dilations=[2, 1], bias=True),
        q_conv(rng, kinds, auto_pad="SAME_UPPER"),
        q_conv(rng, kinds, y_scale=1e-4),  # saturates
        q_conv(rng, kinds, (3, 4, 3), image=(2, 4, 9), pads=[1, 1]),
    ]
    if kinds[1] == "int8":
        cases.append(q_conv(rng, kinds, per_channel=True, bias=True))
    agree(cases, opset)


def test_sums_that_no_float32_holds(rng: np.random.Generator) -> None:
    """512 products of 255 · 255 are more than 2^24."""
    x = np.full((1, 512, 2, 2), 255, np.uint8)
    x[0, 0, 0, 0] = 254
    w = np.full((2, 512, 1, 1), 255, np.uint8)
    w[1, 7] = 254
    agree([Case("ConvInteger", {"x": x}, {"w": w})], 13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [10, 21])
def test_q_linear_matmul(kind: str, opset: int, rng: np.random.Generator) -> None:
    def case(a: tuple[int, ...], b: tuple[int, ...], y_scale: float, computed: bool) -> Case:
        zero = int(np.iinfo(kind).min) + 100
        numbers = scalars(kind, a_scale=0.02, a_zero=zero, b_scale=0.03, b_zero=zero + 5)
        numbers |= scalars(kind, y_scale=y_scale, y_zero=zero)
        feeds, stored = {"a": whole(rng, kind, *a)}, dict(numbers)
        (feeds if computed else stored)["b"] = whole(rng, kind, *b)
        names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"]
        return Case("QLinearMatMul", feeds, stored, {}, names)

    agree(
        [
            case((3, 5), (5, 4), 0.7, False),
            case((3, 5), (5, 4), 1e-4, False),
            case((2, 3, 5), (5, 4), 0.7, True),
            case((2, 3, 5), (2, 5, 4), 0.7, True),
            case((1, 300), (300, 2), 9.0, False),
        ],
        opset,
    )


@pytest.mark.parametrize("op_type", ["ConvInteger", "MatMulInteger"])
@pytest.mark.parametrize("kind", KINDS)
def test_integer_products(op_type: str, kind: str, rng: np.random.Generator) -> None:
    """Zero points may be left out."""
    conv = op_type == "ConvInteger"
    x = whole(rng, "uint8", *((1, 3, 5, 5) if conv else (4, 6)))
    w = whole(rng, kind, *((2, 3, 3, 3) if conv else (6, 2)))
    zeros = {"x_zero": np.array(131, np.uint8), "w_zero": np.array(3, kind)}
    attrs = [{}, {"pads": [1, 0, 1, 1]}] if conv else [{}]
    cases = [Case(op_type, {"x": x}, {"w": w}, a) for a in attrs]
    cases += [Case(op_type, {"x": x}, {"w": w, **zeros}, a) for a in attrs]
    order = ["x", "w", "", "w_zero"]
    cases.append(Case(op_type, {"x": x}, {"w": w, "w_zero": zeros["w_zero"]}, {}, order))
    agree(cases, 10)


@pytest.mark.parametrize("size", [32, 33, 127])
@pytest.mark.parametrize("count", [2055, 2056, 517, 518])
def test_products_as_long_as_float32_holds(count: int, size: int) -> None:
    """All sums are as large as they can be: 2**24 is between those of 2055 and 2056 of size 32."""
    stored = {"w": np.full((count, 3), size, np.int8)}
    stored["w"][:, 1] *= -1
    x = np.full((2, count), 255, np.uint8)
    x[1, ::2] = 254
    agree([Case("MatMulInteger", {"x": x}, stored)], 10)
    kernel = {"w": stored["w"].T.reshape(3, count, 1, 1)}
    image = np.ascontiguousarray(x.reshape(2, count, 1, 1))
    agree([Case("ConvInteger", {"x": image}, kernel)], 10)


def test_a_zero_point_for_each_column(rng: np.random.Generator) -> None:
    x, w = whole(rng, "uint8", 4, 6), whole(rng, "int8", 6, 2)
    zeros = {"x_zero": np.array(131, np.uint8), "w_zero": np.array([3, 90], np.int8)}
    agrees(one_node("MatMulInteger", {"x": x}, {"w": w, **zeros}), {"x": x})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [10, 13, 21])
def test_quantize_linear_at_ties_and_ends(kind: str, opset: int) -> None:
    """Ties go to the even integer before the zero point is added, and not after."""
    halves = np.arange(-8, 8, dtype=np.float32) + np.float32(0.5)
    ends = np.array([-1e9, -129, -128.5, -128, 126.5, 127.5, 254.5, 255.5, 1e9, -0.0], np.float32)
    x = np.concatenate([halves, ends, [np.inf, -np.inf]]).astype(np.float32)
    cases = [
        Case("QuantizeLinear", {"x": x}, scalars(kind, scale=scale, zero=zero))
        for scale, zero in [(1, 0), (1, 3), (0.5, 101), (0.1, 1)]
    ]
    if kind == "uint8":
        cases.append(Case("QuantizeLinear", {"x": x}, scalars(kind, scale=1)))
    if opset >= 13:
        stored = {"scale": np.float32([1, 0.25]), "zero": np.array([0, 5], kind)}
        both = np.stack([x, x])
        cases.append(Case("QuantizeLinear", {"x": both}, stored, {"axis": 0}))
        cases.append(Case("QuantizeLinear", {"x": both.T.copy()}, stored, {"axis": -1}))
    agree(cases, opset)


@pytest.mark.parametrize("kind", [*KINDS, "int32"])
@pytest.mark.parametrize("opset", [10, 13])
def test_dequantize_linear(kind: str, opset: int, rng: np.random.Generator) -> None:
    x = whole(rng, kind, 2, 3, 4)
    zero = 0 if kind == "int32" else 5
    cases = [Case("DequantizeLinear", {"x": x}, scalars(kind, scale=0.3, zero=zero))]
    cases.append(Case("DequantizeLinear", {"x": x}, scalars(kind, scale=0.3)))
    if opset >= 13:
        for axis, count in ((0, 2), (1, 3), (-1, 4)):
            stored = {"scale": rng.uniform(0.1, 1, count).astype(np.float32)}
            stored["zero"] = np.full(count, zero, kind)
            cases.append(Case("DequantizeLinear", {"x": x}, stored, {"axis": axis}))
    agree(cases, opset)


def test_dynamic_quantize_linear(rng: np.random.Generator) -> None:
    """The range always has 0 in it; ties of the zero point and of values go to the even integer."""
    spread = rng.standard_normal((3, 4)).astype(np.float32)
    values = [spread, np.abs(spread) + 1, -np.abs(spread) - 1, np.arange(0, 255.5, 0.5)]
    values += [np.zeros((2, 3)), np.full(3, -0.0), np.array(2.5), np.array([-0.5, 254.5])]
    cases = [Case("DynamicQuantizeLinear", {"x": v.astype(np.float32)}, outputs=3) for v in values]
    agree(cases, 11)


def test_weights_that_come_at_run_time(rng: np.random.Generator) -> None:
    case = q_conv(rng, ("uint8", "int8"), bias=True, pads=[1, 1, 0, 0])
    feeds = {**case.feeds, "w": case.stored.pop("w")}
    agree([Case(case.op_type, feeds, case.stored, case.attrs, case.inputs)], 13)


def test_blocks(rng: np.random.Generator) -> None:
    """A scale for every two columns; the last block may be narrower."""
    stored = {
        "scale": rng.uniform(0.1, 1, (2, 3)).astype(np.float32),
        "zero": whole(rng, "uint8", 2, 3),
    }
    attrs = {"axis": 1, "block_size": 2}
    for columns in (6, 5):
        x = rng.standard_normal((2, columns)).astype(np.float32) * 20
        agrees(one_node("QuantizeLinear", {"x": x}, stored, opset=21, **attrs), {"x": x})
        codes = whole(rng, "uint8", 2, columns)
        agrees(one_node("DequantizeLinear", {"x": codes}, stored, opset=21, **attrs), {"x": codes})
