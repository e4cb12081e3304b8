"""Every row's bounds hold every result, and its TE expression computes the same floats."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm import te

from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key

EDGES = np.float32(
    [0.0, -0.0, 1e-45, -1e-45, 0.5, -0.5, 1.5, 2.5, -2.5, 1, -1, 3e38, -3e38, np.inf, -np.inf]
)
UNARY = [
    *("abs", "ceil", "exp", "floor", "negative", "nn.relu", "round", "sigmoid", "sign"),
    *("tanh", "trunc"),
]
BINARY = [
    *("add", "subtract", "multiply", "divide", "maximum", "minimum"),
    *("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"),
]
LOGIC = ["logical_and", "logical_or", "logical_not"]
REAL = st.floats(-100, 100, width=32) | st.sampled_from([0.0, -0.0, 1e-45, 3e38, -3e38])
INTERVAL = st.tuples(REAL, REAL).map(lambda ab: from_key(np.sort(to_key(np.float32(ab)))))


def inside(interval: np.ndarray) -> np.ndarray:
    """Points of an interval: both ends, the neighbours of zero, and some between."""
    low, high = interval
    with np.errstate(over="ignore"):
        between = low + (high - low) * np.linspace(0, 1, 9, dtype=np.float32)
    points = np.concatenate([interval, between, EDGES])
    key = to_key(points)
    return points[(key >= to_key(low)) & (key <= to_key(high))]


def assert_bounded(name: str, values: np.ndarray, bounds: Any) -> None:
    low, high = (np.asarray(b, np.float32) for b in bounds)
    values = np.asarray(values, np.float32)
    exact = low == high
    known = values[~np.isnan(values)]
    assert np.all(known >= low) and np.all(known <= high), name
    if exact.all():
        assert np.all(values == low), f"{name}: called exact, and is not"


def test_every_operator_is_tested() -> None:
    assert set(TABLE) == {*UNARY, *BINARY, *LOGIC, "clip", "where", "astype"}


@pytest.mark.parametrize("name", UNARY)
@given(INTERVAL)
def test_unary_bounds(name: str, interval: np.ndarray) -> None:
    row = TABLE[name]
    with np.errstate(all="ignore"):
        values = row.numpy(inside(interval))
        assert_bounded(name, values, row.bounds((interval[0], interval[1])))


@pytest.mark.parametrize("name", BINARY)
@given(INTERVAL, INTERVAL)
def test_binary_bounds(name: str, a: np.ndarray, b: np.ndarray) -> None:
    row = TABLE[name]
    with np.errstate(all="ignore"):
        values = row.numpy(inside(a)[:, None], inside(b)[None])
        assert_bounded(name, values, row.bounds((a[0], a[1]), (b[0], b[1])))


@given(INTERVAL, INTERVAL, st.sampled_from([(False, False), (False, True), (True, True)]))
def test_where_bounds(a: np.ndarray, b: np.ndarray, c: tuple[bool, bool]) -> None:
    low, high = TABLE["where"].bounds((np.bool_(c[0]), np.bool_(c[1])), (a[0], a[1]), (b[0], b[1]))
    chosen = [inside(a)] * c[1] + [inside(b)] * (not c[0])
    assert_bounded("where", np.concatenate(chosen), (low, high))


@given(INTERVAL)
def test_clip_bounds(interval: np.ndarray) -> None:
    row = TABLE["clip"]
    bounds = row.bounds((interval[0], interval[1]), low=-1.0, high=2.0)
    assert_bounded("clip", row.numpy(inside(interval), low=-1.0, high=2.0), bounds)


@pytest.mark.parametrize("name", LOGIC)
def test_logic_bounds(name: str) -> None:
    kinds = [(False, False), (False, True), (True, True)]
    row = TABLE[name]
    for ends in product(kinds, repeat=1 if name == "logical_not" else 2):
        results = [row.numpy(*values) for values in product(*ends)]
        low, high = row.bounds(*(tuple(map(np.bool_, e)) for e in ends))
        assert low == min(results) and high == max(results)


def test_division_by_an_interval_with_zero_is_unbounded() -> None:
    one = (np.float32([1]), np.float32([1]))
    low, high = TABLE["divide"].bounds(one, (np.float32([-1]), np.float32([1])))
    assert low[0] == -np.inf and high[0] == np.inf


FUSED = [name for name in (*UNARY, *BINARY) if TABLE[name].te is not None]


@pytest.mark.parametrize("name", FUSED)
def test_te_computes_the_same_floats(name: str) -> None:
    """Bit for bit but for the sign of zero, which no comparison sees; infinities included."""
    row = TABLE[name]
    count = 2 if name in BINARY else 1
    grids = np.meshgrid(*[EDGES] * count)
    args = [np.ascontiguousarray(g.ravel()) for g in grids]
    inputs = [te.placeholder(args[0].shape, "float32", name=f"x{i}") for i in range(count)]
    assert row.te is not None
    emit = row.te
    out = te.compute(args[0].shape, lambda i: emit(*(x[i] for x in inputs)), name="out")
    func = tvm.compile(te.create_prim_func([*inputs, out]), tvm.target.Target("llvm"))
    result = tvm.runtime.tensor(np.zeros(args[0].shape, np.float32))
    func(*map(tvm.runtime.tensor, args), result)
    with np.errstate(all="ignore"):
        wanted = row.numpy(*args)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(result.numpy()[known], wanted[known])
