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


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_integers_are_divided_towards_zero(kind: type) -> None:
    most = np.iinfo(kind).max
    a, b = np.array([7, most, 9], kind), np.array([2, 1, 4], kind)
    wanted = np.array([3, most, 2], kind)
    if kind is not np.uint8:
        a, wanted = -a, -wanted
    found = TABLE["divide"].numpy(a, b)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, wanted)
    ends = np.array([np.iinfo(kind).min, most], kind)
    halves = TABLE["divide"].numpy(ends, kind(2))
    np.testing.assert_array_equal(halves, [-(-int(ends[0]) // 2), most // 2])
    low, high = TABLE["divide"].bounds((a, a), (np.zeros(3, kind), b))
    assert low.dtype == high.dtype == kind
    assert np.all(low <= -most if kind is not np.uint8 else low == 0) and np.all(high == most)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64"])
def test_floats_beyond_an_integer_are_bounded(kind: str) -> None:
    """A number that fits is itself; whatever lies beyond is no smaller than what fits."""
    row, ends = TABLE["astype"], np.iinfo(kind)
    x = np.float32([-1.5, 0.25, 7.9])
    wanted = x.astype(kind) if ends.min < 0 else np.array([ends.min, 0, 7], kind)
    low, high = row.bounds((x, x), dtype=kind)
    np.testing.assert_array_equal(low, wanted)
    assert low.dtype == high.dtype == kind
    for first, last in ((0.5, 3e38), (-3e38, 0.5), (-3e38, 3e38), (3e38, 3e38)):
        low, high = row.bounds((np.float32([first]), np.float32([last])), dtype=kind)
        assert low <= high
        assert low <= 0 or first > 0.5
        assert high == ends.max or last < 1
        if ends.bits < 32:
            assert high == ends.max and low == ends.min


def test_all_but_zero_is_true() -> None:
    row = TABLE["astype"]
    low = np.float32([-1, -1, 0, 0, 0.5, -2])
    high = np.float32([1, 0, 0, 2, 2, -1])
    first, last = row.bounds((low, high), dtype="bool")
    np.testing.assert_array_equal(first, [False, False, False, False, True, True])
    np.testing.assert_array_equal(last, [True, True, False, True, True, True])


def test_integers_of_fewer_bits_may_be_any_beyond_them() -> None:
    row = TABLE["astype"]
    low, high = np.array([3, -1, 250]), np.array([5, 2, 300])
    first, last = row.bounds((low, high), dtype="uint8")
    np.testing.assert_array_equal(first, [3, 0, 0])
    np.testing.assert_array_equal(last, [5, 255, 255])


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
