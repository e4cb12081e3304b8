"""Which terms become one convolution: proportions, integer coefficients, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.weights.joint_weights import (
    MOST_RATIO,
    Joint,
    in_integers,
    joint_of,
    proportion,
)
from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm, Part, Term

CHANNELS = 3


def data(name: str) -> relax.Var:
    return relax.Var(name, relax.TensorType([1, 5, 5, 4], "float32"))


def basis(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((CHANNELS, 2, 2, 4)) < 0.5, -1, 1).astype(np.int8)


def form(rows: list[dict[int, float]], bias: float = 0.0) -> LinearForm:
    """A term on an input of its own for each row ``{number of a basis: scale}``."""
    terms = tuple(
        Term(
            data(f"a{i}"),
            tuple(Part(np.full(CHANNELS, scale), k, basis(k)) for k, scale in row.items()),
        )
        for i, row in enumerate(rows)
    )
    count = sum(map(len, rows))
    return LinearForm(terms, np.full(CHANNELS, bias), None, "conv", count)


def coefficients(joint: Joint | None) -> list[list[float]]:
    assert joint is not None
    return [[coefficient for coefficient, _ in members] for _, members in joint.groups]


def test_inputs_in_proportion_share_a_convolution() -> None:
    joint = joint_of(form([{1: 0.5, 2: 0.25}, {1: 1.5, 2: 0.75}]))
    assert coefficients(joint) == [[1.0, 3.0]]
    assert joint is not None
    wanted = 0.5 * basis(1) + 0.25 * basis(2)
    np.testing.assert_array_equal(joint.groups[0][0], wanted)


def test_other_proportions_are_groups_of_their_own() -> None:
    joint = joint_of(form([{1: 1.0, 2: 0.5}, {1: 2.0, 2: 1.0}, {1: 1.0, 2: 0.25}]))
    assert coefficients(joint) == [[1.0, 2.0], [1.0]]


def test_equal_sums_of_other_parts_are_in_proportion() -> None:
    """Keys differ, values do not: the whole weights are compared."""
    first, second = form([{1: 1.0, 2: 1.0}]), form([{1: 1.0, 2: 1.0}])
    (term,) = second.terms
    renamed = Term(data("b"), tuple(Part(p.scale, p.key + 10, p.weight) for p in term.parts))
    both = LinearForm((*first.terms, renamed), first.bias, None, "conv", 4)
    assert coefficients(joint_of(both)) == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("rows", "bias"),
    [
        ([{1: 1.0}, {2: 1.0}], 0.0),
        ([{1: 1e38, 2: 1e38}], 0.0),
        ([{1: 1e-42, 2: 1e-42}], 0.0),
        ([{1: 1.0, 2: 1.0}], 1e38),
        ([{1: 1.0, 2: 1.0}], np.nan),
    ],
    ids=["no proportion", "too large", "too small", "bias too large", "NaN"],
)
def test_refuses(rows: list[dict[int, float]], bias: float) -> None:
    assert joint_of(form(rows, bias)) is None


def test_refuses_weights_that_are_no_planes(rng: np.random.Generator) -> None:
    parts = tuple(Part(np.ones(2), k, rng.normal(size=(2, 3, 3, 32))) for k in (1, 2))
    assert joint_of(LinearForm((Term(data("a"), parts),), np.zeros(2), None, "conv", 2)) is None


@pytest.mark.parametrize("ratio", [1.0, -0.5, 1 / 3, 1e6])
def test_proportion_up_to_rounding(ratio: float, rng: np.random.Generator) -> None:
    b = rng.normal(size=(4, 2, 2, 3))
    a = (ratio * b).astype(np.float32).astype(np.float64)
    found = proportion(a, b)
    assert found is not None
    np.testing.assert_allclose(found, ratio, 1e-7)
    other = a.copy()
    other[1, 0, 0, 0] *= 1 + 1e-5
    assert proportion(other, b) is None, "a weight is joined within its own rounding alone"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 2)), np.zeros((2, 2))),
        (np.ones((2, 2)), np.ones((2, 3))),
        (np.full((2, 2), 2 * MOST_RATIO), np.ones((2, 2))),
        (np.full((2, 2), np.inf), np.ones((2, 2))),
        (np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])),
    ],
)
def test_no_proportion(a: np.ndarray, b: np.ndarray) -> None:
    assert proportion(a, b) is None


@pytest.mark.parametrize(
    ("ratios", "wanted", "factor"),
    [
        ([1.0, 0.5], [2.0, 1.0], 0.5),
        ([1.0, -0.5, 0.75], [4.0, -2.0, 3.0], 0.25),
        ([1.0, 3.0], [1.0, 3.0], 1.0),
        ([1.0, np.pi], [1.0, np.pi], 1.0),
    ],
)
def test_coefficients_are_integers_where_they_can(
    ratios: list[float], wanted: list[float], factor: float
) -> None:
    weight = basis(1).astype(np.float64)
    members = [(r, data(f"a{i}")) for i, r in enumerate(ratios)]
    scaled, found = in_integers(weight, members)
    assert [c for c, _ in found] == wanted
    assert [v for _, v in found] == [v for _, v in members]
    np.testing.assert_array_equal(scaled, weight * factor)
