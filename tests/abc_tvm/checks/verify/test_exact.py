"""Which values cannot round, so that a tie of theirs is a tie in every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from abc_tvm.checks.opinion import Opinion, guard
from abc_tvm.checks.verify.exact import grid
from abc_tvm.checks.verify.network import verify
from abc_tvm.relay_passes.analysis.atoms.atoms import Atoms
from tests.abc_tvm.checks.verify.test_reference import model, span

Array = np.ndarray
node = helper.make_node


@pytest.mark.parametrize(
    ("array", "found"),
    [
        ([1, -1, 3], (0, 3.0)),
        ([0.5, -2.25], (2, 2.25)),
        ([0.1], None),
        ([np.nan], None),
        ([], (0, 0.0)),
    ],
)
def test_grids(array: list[float], found: Any) -> None:
    assert grid(np.float32(array)) == found
    assert grid(np.array([7, -9], np.int64)) == (0, 9.0)


def resized(mode: str, kind: str, scale: float) -> onnx.ModelProto:
    nodes = [
        node("Resize", ["x", "", "scales"], ["r"], mode=mode, coordinate_transformation_mode=kind),
        node("Sign", ["r"], ["y"]),
    ]
    return model(nodes, {"scales": np.float32([1, 1, scale, scale])}, {"x": [1, 4, 6, 6]})


@pytest.mark.parametrize(
    ("mode", "kind", "scale", "exact"),
    [
        ("linear", "align_corners", 2, False),
        ("linear", "half_pixel", 3, False),
        ("cubic", "half_pixel", 2, False),
        ("linear", "half_pixel", 2, True),
        ("linear", "asymmetric", 4, True),
        ("linear", "half_pixel", 0.5, True),
        ("nearest", "align_corners", 3, True),
    ],
)
def test_ties_behind_a_resize(
    mode: str, kind: str, scale: float, exact: bool, rng: np.random.Generator
) -> None:
    """Weights of 2/11 round, and what is 0 in real numbers has any sign; those of 1/4 do not."""
    x = rng.integers(-2, 3, (1, 4, 6, 6)).astype(np.float32)
    x[0, 0] = 0
    right, low, high = span(resized(mode, kind, scale), {"x": x})
    np.testing.assert_array_equal(low[0, 0], 0)
    np.testing.assert_array_equal(high[0, 0], 0)
    assert (right[0, 1:] == 0).any() == (mode != "cubic")
    assert np.array_equal(low, high) == (exact or mode == "cubic")
    if mode == "linear" and not exact:
        inside = (right == 0) & (low == -1) & (high == 1)
        assert inside.any(), "a tie was not moved"
    far = resized(mode, kind, scale)
    far.graph.node[-1].op_type = "Identity"
    value, low, high = span(far, {"x": x})
    assert float((high - low).max()) < 1e-3, "rounding explains too much"
    np.testing.assert_array_less(np.abs(value), 4)


@pytest.mark.parametrize(
    ("op_type", "second", "limit", "moved"),
    [
        ("Pow", 2.0, 9, False),
        ("Pow", -1.0, 0.25, False),
        ("Pow", -1.0, 1 / 3, True),
        ("Sqrt", None, 2, False),
        ("Sqrt", None, 3**0.5, True),
        ("Div", 3.0, 2, False),
        ("Div", 3.0, 1 / 3, True),
        ("Reciprocal", None, 0.25, False),
        ("Reciprocal", None, 1 / 3, True),
        ("Mul", 0.1, float(np.float32(0.1)), False),
        ("Mul", 0.1, float(np.float32(0.1) * np.float32(3)), True),
    ],
)
def test_an_operator_that_is_exact_here_is_not_moved(
    op_type: str, second: float | None, limit: float, moved: bool
) -> None:
    """3 ** 2 is 9, sqrt(4) is 2 and 6 / 3 is 2 in every engine; sqrt(3) is no float."""
    nodes = [
        node(op_type, ["x"] if second is None else ["x", "c"], ["p"]),
        node("Sub", ["p", "t"], ["d"]),
        node("Sign", ["d"], ["y"]),
    ]
    weights = {"t": np.float32(limit)}
    if second is not None:
        weights["c"] = np.float32(second)
    x = np.arange(1, 10, dtype=np.float32)[None]
    right, low, high = span(model(nodes, weights, {"x": [1, 9]}), {"x": x})
    assert (right == 0).sum() == 1, "no tie"
    np.testing.assert_array_equal(low[right != 0], high[right != 0])
    assert bool(np.any(low != high)) == moved


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMean", "GlobalAveragePool"])
def test_sums_of_integers_are_exact_and_others_are_moved(
    op_type: str, rng: np.random.Generator
) -> None:
    names = ["x", "axes"] if op_type == "ReduceSum" else ["x"]
    attrs = {"axes": [2, 3]} if op_type == "ReduceMean" else {}
    nodes = [node(op_type, names, ["s"], **attrs), node("Sign", ["s"], ["y"])]
    made = model(nodes, {"axes": np.int64([2, 3])}, {"x": [1, 200, 4, 4]})
    x = rng.integers(-1, 2, (1, 200, 4, 4)).astype(np.float32)
    right, low, high = span(made, {"x": x})
    assert (right == 0).any()
    np.testing.assert_array_equal(low, high)
    x = (x * np.float32(0.1)).astype(np.float32)
    right, low, high = span(made, {"x": x})
    vanish = np.abs(x.astype(np.float64).sum((2, 3), keepdims=True)) < 1e-7
    np.testing.assert_array_equal(low[vanish], -1)
    np.testing.assert_array_equal(high[vanish], 1)


def test_a_transposed_convolution_rounds_like_a_sum(rng: np.random.Generator) -> None:
    made = model(
        [node("ConvTranspose", ["x", "w"], ["s"], group=2), node("Sign", ["s"], ["y"])],
        {"w": rng.choice([-1, 1], (8, 4, 3, 3)).astype(np.float32)},
        {"x": [1, 8, 6, 6]},
    )
    x = rng.integers(-2, 3, (1, 8, 6, 6)).astype(np.float32)
    right, low, high = span(made, {"x": x})
    assert (right == 0).any()
    np.testing.assert_array_equal(low, high)
    right, low, high = span(made, {"x": (x * np.float32(0.1)).astype(np.float32)})
    assert ((low == -1) & (high == 1)).any()


def squares(weight: Array) -> onnx.ModelProto:
    """A binary layer behind Sign(x ** 2 - 4) of whole numbers."""
    nodes = [
        node("Round", ["x"], ["f"]),
        node("Pow", ["f", "two"], ["p"]),
        node("Sub", ["p", "four"], ["d"]),
        node("Sign", ["d"], ["s"]),
        node("Conv", ["s", "w"], ["y"]),
    ]
    weights = {"two": np.float32(2), "four": np.float32(4), "w": weight}
    made = model(nodes, weights, {"x": [1, 32, 8, 8]})
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 32, 8, 8]))
    return made


def test_a_tie_of_squares_that_is_given_away_fails(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = squares(rng.choice([-1, 1], (32, 32, 1, 1)).astype(np.float32))
    arrays: dict[str, Any] = {"x": rng.integers(-3, 4, (1, 32, 8, 8)).astype(np.float32)}
    assert verify(made, inputs=arrays, lowering="bitserial").passed
    monkeypatch.setattr(Atoms, "at", lambda self, first, last: np.zeros(first.shape, bool))
    monkeypatch.setattr(guard, "second_opinion", lambda *args: Opinion())
    outcome = verify(made, inputs=arrays, lowering="bitserial")
    assert not outcome.passed
    assert outcome.unexplained_bits > 0 or "output" in outcome.faults[0]


def test_softplus_of_whole_numbers_vanishes_where_onnxruntimes_does(
    rng: np.random.Generator,
) -> None:
    """``log(1 + exp(n))`` is positive down to -103, below the smallest float from -104 on."""
    nodes = [
        node("Round", ["x"], ["n"]),
        node("Softplus", ["n"], ["p"]),
        node("Sign", ["p"], ["s"]),
        node("Conv", ["s", "w"], ["y"]),
    ]
    weight = rng.choice([-1, 1], (32, 32, 1, 1)).astype(np.float32)
    made = model(nodes, {"w": weight}, {"x": [1, 32, 8, 8]})
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 32, 8, 8]))
    x = np.linspace(-120, 20, 2048, dtype=np.float32).reshape(1, 32, 8, 8)
    outcome = verify(made, inputs={"x": x}, lowering="bitserial")
    assert outcome.passed, outcome.faults
    assert outcome.checked_bits > 0
    assert outcome.flipped_bits == 0
