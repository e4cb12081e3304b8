"""Integers between quantizers are carried as floats: fires, refuses, equal to onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from abc_tvm.frontend.relax_import import simple_onnx
from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime, same


def network(body: str, values: str = "", opset: int = 17, out: str = "float") -> onnx.ModelProto:
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[2,4,5,5] x) => ({out}[n,c,h,w] y)'
        f" <{values}> {{ {body} }}"
    )
    return parser.parse_model(text)


def kinds(model: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in simple_onnx(model).graph.node)


def judge(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    x = (rng.standard_normal((2, 4, 5, 5)) * 3).astype(np.float32)
    x[0, 0] = np.arange(25, dtype=np.float32).reshape(5, 5) / 4 - 3  # ties among them
    x[0, 1, 0] = [1e9, -1e9, -0.0, 126.5, -128.5]
    wanted = run_onnxruntime(model, {"x": x})
    found = compiled(model).run({"x": x})
    for name, value in wanted.items():
        same(found[name], value, name)


SCALE = "float s = {0.25}, int8 z = {3}, int8 lo = {-2}, int8 hi = {1}"
BETWEEN = {
    "nothing": "r = Identity(q)",
    "clip": "r = Clip(q, lo, hi)",
    "upper bound": "r = Clip(q, , hi)",
    "min and max": "m = Min(q, hi) r = Max(lo, m)",
    "max-pool": "r = MaxPool<kernel_shape = [2, 2], pads = [1, 1, 0, 0]>(q)",
    "moves": "t = Transpose<perm = [0, 2, 3, 1]>(q) u = Concat<axis = 1>(t, t)"
    " r = Transpose<perm = [0, 3, 1, 2]>(u)",
    "padding": "p = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>() r = Pad(q, p, hi)",
    "split": "a, b = Split<axis = 1>(q) r = Concat<axis = 1>(b, a)",
    "another type": "i = Cast<to = 6>(q) r = Cast<to = 3>(i)",
    "where": "c = Greater(q, lo) r = Where(c, q, hi)",
    "difference": "i = Cast<to = 6>(q) j = Cast<to = 6>(z) d = Sub(i, j) k = Mul(d, d)"
    " e = Cast<to = 1>(k) r = QuantizeLinear(e, s, z)",
}


@pytest.mark.parametrize("between", list(BETWEEN))
def test_what_reads_integers_reads_floats(between: str, rng: np.random.Generator) -> None:
    body = f"q = QuantizeLinear(x, s, z) {BETWEEN[between]} y = DequantizeLinear(r, s, z)"
    model = network(body, SCALE, opset=17 if between != "split" else 13)
    assert "Cast" not in kinds(model)
    judge(model, rng)


def test_the_networks_own_integers_stay(rng: np.random.Generator) -> None:
    model = network("q = QuantizeLinear(x, s, z) y = Clip(q, lo, hi)", SCALE, out="int8")
    assert kinds(model).count("Cast") == 1
    judge(model, rng)


FOURTH = (
    "r = Round(x) c = Clip(r, l, b) i = Cast<to = 6>(c) j = Mul(i, i) k = Mul(j, j)"
    " y = Cast<to = 1>(k)"
)


@pytest.mark.parametrize(
    ("body", "casts"),
    [
        ("c = Clip(x, a, b) i = Cast<to = 6>(c) y = Cast<to = 1>(i)", 2),  # not whole: 1.5 is cut
        ("r = Round(x) i = Cast<to = 6>(r) y = Cast<to = 1>(i)", 2),  # 1e9 is, but 1e30 is not
        ("r = Round(x) c = Clip(r, a, b) i = Cast<to = 3>(c) y = Cast<to = 1>(i)", 2),  # -200
        ("r = Round(x) c = Clip(r, a, b) i = Cast<to = 6>(c) y = Cast<to = 1>(i)", 0),
        (
            "r = Round(x) c = Clip(r, l, b) i = Cast<to = 3>(c) j = Add(i, i) y = Cast<to = 1>(j)",
            2,  # wraps
        ),
        (
            FOURTH,
            2,  # 90^4 is more than a float32 holds exactly; 90^2 is not
        ),
    ],
)
def test_only_whole_floats_in_range(body: str, casts: int, rng: np.random.Generator) -> None:
    """Floats that the type does not hold, or sums that a float does not, stay integers."""
    model = network(body, "float a = {-200.0}, float l = {-90.0}, float b = {90.0}")
    assert kinds(model).count("Cast") == casts
    if casts == 0 or "l, b" in body:
        judge(model, rng)


def test_a_bound_that_is_not_whole(rng: np.random.Generator) -> None:
    body = "r = Round(x) c = Clip(r, l, h) i = Cast<to = 6>(c) y = Cast<to = 1>(i)"
    model = network(body, "float l = {-9.0}, float h = {1.5}")
    assert kinds(model).count("Cast") == 2
    judge(model, rng)


def test_a_second_run_changes_nothing() -> None:
    body = "q = QuantizeLinear(x, s, z) r = Clip(q, lo, hi) y = DequantizeLinear(r, s, z)"
    once = simple_onnx(network(body, SCALE))
    assert simple_onnx(once).graph == once.graph
