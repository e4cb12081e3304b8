"""Linear forms: scales beside weights, sums by input, numbers of equal weights."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm, Part, Term, WeightNumbers
from abc_tvm.relay_passes.rewrite import const, hint

CHANNELS, SHAPE = 3, (3, 2, 2, 4)


def variable(name: str) -> relax.Var:
    return relax.Var(name, relax.TensorType([1, 5, 5, 4], "float32"))


def form(data: relax.Var, weight: np.ndarray, key: int, padding: int = 0) -> LinearForm:
    call = relax.op.nn.conv2d(
        data, const(weight), padding=padding, data_layout="NHWC", kernel_layout="OHWI"
    )
    term = Term(data, (Part(np.ones(CHANNELS), key, weight),))
    return LinearForm((term,), np.zeros(CHANNELS), call, "conv")


@pytest.fixture
def weights(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=SHAPE).astype(np.float32) for _ in range(2)]


def test_scale_and_shift(weights: list[np.ndarray]) -> None:
    factor = np.array([2.0, -1.0, 0.5])
    scaled = form(variable("x"), weights[0], 1).shifted(np.array([1.0])).scaled(factor)
    np.testing.assert_array_equal(scaled.bias, factor)
    wanted = factor[:, None, None, None] * weights[0].astype(np.float64)
    np.testing.assert_array_equal(scaled.terms[0].weight(), wanted)


def test_terms_on_one_input_become_one(weights: list[np.ndarray]) -> None:
    x = variable("x")
    first, second = (form(x, w, key) for key, w in enumerate(weights))
    total = first.plus(second.scaled(np.array([-2.0])))
    assert total is not None and total.count == 2
    (term,) = total.terms
    wanted = weights[0].astype(np.float64) - 2 * weights[1].astype(np.float64)
    np.testing.assert_array_equal(term.weight(), wanted)


def test_scales_of_equal_weights_are_added_up(weights: list[np.ndarray]) -> None:
    x = variable("x")
    one = form(x, weights[0], 7)
    total = one.plus(one.scaled(np.array([0.25])))
    assert total is not None
    ((key, (scale, weight)),) = total.terms[0].joined().items()
    assert key == 7 and weight is weights[0]
    np.testing.assert_array_equal(scale, np.full(CHANNELS, 1.25))


def test_terms_on_two_inputs_stay_two(weights: list[np.ndarray]) -> None:
    total = form(variable("x"), weights[0], 1).plus(form(variable("y"), weights[0], 1))
    assert total is not None
    assert [hint(term.data) for term in total.terms] == ["x", "y"]


def test_another_geometry_is_no_sum(weights: list[np.ndarray]) -> None:
    first, second = (form(variable("x"), weights[0], 1, padding) for padding in (0, 1))
    assert first.plus(second) is None
    small = form(variable("x"), np.ascontiguousarray(weights[0][:, :1, :1]), 2)
    assert first.plus(small) is None


def test_what_is_no_float_is_kept_and_not_raised(weights: list[np.ndarray]) -> None:
    huge = form(variable("x"), weights[0], 1).shifted(np.array([1.0])).scaled(np.array([1e308]))
    assert np.isinf(huge.scaled(np.array([1e308])).bias).all()


def test_weights_are_compared_not_hashed() -> None:
    """Weights that begin alike are two."""
    numbers = WeightNumbers()
    first = np.zeros((8, 3, 3, 32), np.float32)
    second = first.copy()
    second[-1, -1, -1, -1] = 1
    assert numbers.of(first) == numbers.of(first.copy())
    assert numbers.of(second) != numbers.of(first)
    assert numbers.of(first.reshape(8, 9, 1, 32)) != numbers.of(first)
