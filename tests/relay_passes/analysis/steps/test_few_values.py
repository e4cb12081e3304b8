"""Tensors of few values: which, and the step function that each is of itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.few_values import MOST_VALUES, ValueSets, own_steps
from abc_tvm.relay_passes.rewrite import const, definitions, hint
from tests.relay_passes.relax_graph import image, module

Bind = Callable[..., relax.Var]
Body = Callable[[Bind, relax.Var], relax.Expr]


def values(body: Body, channels: int = 3) -> list[float] | None:
    """Those of the last tensor; tensors called ``s…`` are step functions of levels -1 and 1."""
    x = image("x", channels)
    mod = module([x], lambda bind: bind(body(bind, x), "end"))
    defined = definitions(mod["main"])
    end = next(v for v in defined if hint(v) == "end")

    def stepped(var: relax.Var) -> np.ndarray | None:
        return np.float32([-1, 1]) if hint(var).startswith("s") else None

    found = ValueSets(defined, stepped, lambda var: None).of(end)
    return None if found is None else [float(v) for v in found]


def sign(bind: Bind, x: relax.Var) -> relax.Var:
    return bind(relax.op.sign(x), "s")


def number(value: float) -> relax.Expr:
    return const(np.float32(value))


CASES: dict[str, tuple[Body, list[float] | None]] = {
    "a step": (lambda bind, x: relax.op.negative(sign(bind, x)), [-1, 1]),
    "product": (lambda bind, x: relax.op.multiply(sign(bind, x), sign(bind, x)), [-1, 1]),
    "maximum": (lambda bind, x: relax.op.maximum(sign(bind, x), number(0)), [0, 1]),
    "sum": (lambda bind, x: relax.op.add(sign(bind, x), sign(bind, x)), [-2, 0, 2]),
    "clip": (lambda bind, x: relax.op.clip(sign(bind, x), 0, 0.5), [0, 0.5]),
    "truth": (lambda bind, x: relax.op.astype(bind(relax.op.greater(x, number(0))), "float32"),
              [0, 1]),
    "where": (lambda bind, x: relax.op.where(bind(relax.op.greater(x, number(0))), number(3),
                                             sign(bind, x)), [-1, 1, 3]),
    "pooled": (lambda bind, x: relax.op.nn.max_pool2d(sign(bind, x), (2, 2), layout="NHWC"),
               [-1, 1]),
    "root of bits": (lambda bind, x: relax.op.sqrt(bind(relax.op.astype(
        bind(relax.op.greater(x, number(0))), "float32"))), [0, 1]),
    "power of two": (lambda bind, x: relax.op.power(number(2), sign(bind, x)), [0.5, 2]),
    "rounded softmax": (lambda bind, x: relax.op.round(bind(relax.op.multiply(
        bind(relax.op.nn.softmax(x, 3)), number(3)))), [0, 1, 2, 3]),
    "moved softmax, from -1 to 0": (lambda bind, x: relax.op.floor(bind(relax.op.subtract(
        bind(relax.op.permute_dims(bind(relax.op.nn.softmax(x, 3)))), number(1)))), [-1, 0]),
    "rounded signs": (lambda bind, x: relax.op.ceil(bind(relax.op.multiply(
        sign(bind, x), number(0.75)))), [0, 1]),
    "rounded without bounds": (lambda bind, x: relax.op.round(bind(relax.op.multiply(
        bind(relax.op.sqrt(x)), number(3)))), None),
    "rounded to too many": (lambda bind, x: relax.op.round(bind(relax.op.multiply(
        bind(relax.op.nn.softmax(x, 3)), number(300)))), None),
    "moved": (lambda bind, x: relax.op.permute_dims(sign(bind, x), [0, 3, 1, 2]), [-1, 1]),
    "place": (lambda bind, x: relax.op.astype(bind(relax.op.argmax(x, 1)), "float32"),
              [0, 1, 2, 3, 4]),
    "place among all": (lambda bind, x: relax.op.astype(bind(relax.op.argmin(x)), "float32"), None),
    "average": (lambda bind, x: relax.op.nn.avg_pool2d(sign(bind, x), (1, 2), layout="NHWC"),
                [-1, 0, 1]),
    "mean": (lambda bind, x: relax.op.mean(sign(bind, x), [1], True),
             [-1, -0.6, -0.2, 0.2, 0.6, 1]),
    "sum of a row": (lambda bind, x: relax.op.sum(sign(bind, x), [2], True),
                     [-5, -3, -1, 1, 3, 5]),
    "padded average": (lambda bind, x: relax.op.nn.avg_pool2d(
        sign(bind, x), (2, 2), padding=(1, 1), layout="NHWC"), None),
    "any number": (lambda bind, x: relax.op.add(x, number(1)), None),
    "one of them any": (lambda bind, x: relax.op.multiply(sign(bind, x), x), None),
    "rounded": (lambda bind, x: relax.op.round(x), None),
    "infinite": (lambda bind, x: relax.op.divide(sign(bind, x), number(0)), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    body, wanted = CASES[name]
    found = values(body)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        np.testing.assert_array_equal(np.float32(found), np.float32(wanted))


def test_too_many_are_none() -> None:
    """Averages of 15 x 17 signs are 256 values; of 16 x 16, one more."""

    def mean(size: tuple[int, int]) -> list[float] | None:
        x = relax.Var("x", relax.TensorType([1, *size, 3], "float32"))
        mod = module([x], lambda bind: bind(relax.op.mean(sign(bind, x), [1, 2], True), "end"))
        defined = definitions(mod["main"])
        end = next(v for v in defined if hint(v) == "end")
        found = ValueSets(defined, lambda v: np.float32([-1, 1]), lambda v: None).of(end)
        return None if found is None else list(found)

    most = mean((15, 17))
    assert most is not None and len(most) == MOST_VALUES
    assert mean((16, 16)) is None


def test_long_chains_end() -> None:
    def chain(bind: Bind, x: relax.Var) -> relax.Expr:
        y = sign(bind, x)
        for _ in range(300):
            y = bind(relax.op.negative(y))
        return relax.op.negative(y)

    assert values(chain) is None


def test_the_step_of_a_tensor_gives_its_values() -> None:
    levels = np.float32([-1, -0.5, 0.25, 3])
    steps = own_steps(levels, 2)
    assert steps.thresholds.shape == (3, 2)
    np.testing.assert_array_equal(steps(np.repeat(levels[:, None], 2, 1))[:, 0], levels)


def test_of_neighbouring_floats() -> None:
    low = np.float32(1)
    levels = np.array([low, np.nextafter(low, np.float32(2))])
    steps = own_steps(levels, 1)
    np.testing.assert_array_equal(steps(levels[:, None])[:, 0], levels)


def test_of_a_constant() -> None:
    steps = own_steps(np.float32([2]), 3)
    assert np.all(steps(np.full((4, 3), 2, np.float32)) == 2) and len(steps.levels) == 2
