"""Step functions behind tensors of a graph, and why there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.atoms.atoms import ANYWHERE, NOWHERE, Atoms
from abc_tvm.relay_passes.analysis.steps.activations import Activation, Activations, power_of
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator
from abc_tvm.relay_passes.rewrite import const, definitions, hint
from tests.relay_passes.relax_graph import image, module, tensor

Bind = Callable[..., relax.Var]
Body = Callable[[Bind, relax.Var], relax.Expr]
CHANNELS = 3


def number(value: float) -> relax.Expr:
    return const(np.float32(value))


def found(
    body: Body,
    atoms: Atoms = NOWHERE,
    exact: Accumulator | None = None,
    x: relax.Var | None = None,
) -> Activation:
    """What the last tensor of a graph is a step function of."""
    x = image("x", CHANNELS) if x is None else x
    mod = module([x], lambda bind: bind(body(bind, x), "end"))
    defined = definitions(mod["main"])
    end = next(var for var in defined if hint(var) == "end")
    return Activations(defined, lambda root: atoms, lambda root: exact, {}).of(end)


def shifted(bind: Bind, x: relax.Var) -> relax.Var:
    return bind(relax.op.add(x, number(-0.25)), "shifted")


def test_the_deepest_tensor_is_the_root() -> None:
    activation = found(lambda bind, x: relax.op.sign(shifted(bind, x)))
    assert hint(activation.root) == "x" and activation.nominal == 1
    assert list(activation.steps.levels) == [-1, 1]
    assert set(activation.steps.thresholds.ravel()) == {np.float32(0.25)}


def test_a_root_that_has_none_gives_way_to_a_later_one() -> None:
    """``exp`` of positions is not the same everywhere; what follows it is."""

    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        places = const(np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1))
        moved = bind(relax.op.add(x, places), "moved")
        return relax.op.sign(shifted(bind, moved))

    assert hint(found(body).root) == "moved"


def test_case_1_sums_that_cannot_be_met_have_no_level() -> None:
    """``sign(D)`` of nine ±1: 0 is no sum of them; of eight it is."""
    for bound, levels in ((9, [-1, 1]), (8, [-1, 0, 1])):
        one = np.ones(CHANNELS, np.int64)
        exact = Accumulator(np.ones(CHANNELS, np.float32), one[None], one[:2], bound * one, True)
        activation = found(lambda bind, x: relax.op.sign(x), exact=exact)
        assert list(activation.steps.levels) == levels
        assert activation.nominal == len(levels) - 1


def test_case_2_a_tie_is_kept_where_the_root_has_an_atom() -> None:
    kept = found(lambda bind, x: relax.op.sign(x), atoms=ANYWHERE)
    assert list(kept.steps.levels) == [-1, 0, 1] and kept.nominal == 1
    given = found(lambda bind, x: relax.op.sign(x), atoms=NOWHERE)
    assert list(given.steps.levels) == [-1, 1] and given.nominal == 1


def test_it_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = image("x", CHANNELS)
    mod = module([x], lambda bind: bind(relax.op.sign(x), "end"))
    defined = definitions(mod["main"])
    end = next(var for var in defined if hint(var) == "end")
    activations = Activations(defined, lambda root: NOWHERE, lambda root: None, {})
    first = activations.of(end)
    monkeypatch.setattr(Activations, "find", lambda self, data: pytest.fail("looked for again"))
    assert activations.of(end) is first


def two_tensors(bind: Bind, x: relax.Var) -> relax.Expr:
    pooled = bind(relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC"))
    left, right = bind(relax.op.sign(x)), bind(relax.op.sign(pooled))
    return relax.op.add(left, right)


REFUSED: list[tuple[Body, relax.Var, str]] = [
    (
        lambda bind, x: relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC"),
        image("x", CHANNELS),
        "its input is a float tensor: avg_pool2d",
    ),
    (
        lambda bind, x: relax.op.reshape(x, (1, 25, 3)),
        image("x", CHANNELS),
        "its input is a float tensor: the network's input",
    ),
    (lambda bind, x: relax.op.sign(x), tensor("x", CHANNELS), "no image or feature vector"),
    (
        lambda bind, x: relax.op.astype(x, "float32"),
        tensor("x", 1, 5, 5, CHANNELS, dtype="int32"),
        "starts from int32, not float32",
    ),
    (
        lambda bind, x: relax.op.nn.relu(relax.op.add(x, const(np.ones((1, 1, 1, 6), np.float32)))),
        image("x", 1),
        "broadcasts its input",
    ),
    (lambda bind, x: relax.op.nn.relu(x), image("x", CHANNELS), "more than 256 different values"),
]


@pytest.mark.parametrize(("body", "x", "reason"), REFUSED)
def test_refuses(body: Body, x: relax.Var, reason: str) -> None:
    with pytest.raises(NotAStep, match=reason):
        found(body, x=x)


def of_levels(levels: list[float]) -> Activation:
    thresholds = np.zeros((len(levels) - 1, 1), np.float32)
    return Activation(None, StepFunction(thresholds, np.int8([1]), np.float32(levels)), 1)


@pytest.mark.parametrize(
    ("levels", "scaled", "power"),
    [
        ([-6, 3], [-1.5, 0.75], 4),
        ([0, 0.25], [0, 1], 0.25),
        ([-1, 1], [-1, 1], 1),
        ([0, 0], [0, 0], 1),
    ],
)
def test_levels_are_scaled_by_a_power_of_two(
    levels: list[float], scaled: list[float], power: float
) -> None:
    factor = power_of(np.float32(levels))
    activation = of_levels(levels).scaled(factor)
    assert list(activation.steps.levels) == scaled and factor == power


@pytest.mark.parametrize("levels", [[0, np.inf], [1e-35, 1], [np.nan, 1]])
def test_refuses_levels_of_extreme_size(levels: list[float]) -> None:
    with pytest.raises(NotAStep, match="too large or small"):
        power_of(np.float32(levels))
