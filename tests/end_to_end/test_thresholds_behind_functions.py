"""A comparison behind a rising function is a step of its input, and costs no function."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.checks.opinion.guard import STRICT
from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.relay_passes.harness import Net, calls, passes_until

LIMITS = [(kind, limit) for kind, limits in {
    "Sigmoid": (0.5, 0.37, 0.99), "Tanh": (0.0, 0.25), "Exp": (1.0, 2.5), "Softplus": (0.7, 2),
    "Elu": (0.0, -0.5), "Selu": (0.0, 1.5), "Relu": (0.5,), "LeakyRelu": (-0.01, 0.25),
    "HardSigmoid": (0.5, 0.6), "Atan": (0.5,),
}.items() for limit in limits]  # fmt: skip


@pytest.mark.parametrize(("kind", "limit"), LIMITS)
@pytest.mark.parametrize("comparison", ["Greater", "LessOrEqual"])
def test_a_step_of_the_input(
    kind: str, limit: float, comparison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STRICT, "error")
    net = Net((2, 8, 6, 6))
    above = net.op(comparison, net.op(kind, "input"), net.constant(limit))
    bits = net.op("Cast", above, to=1)
    model = net.model(net.conv(bits, net.signs(5, 8, 3, 3)))
    made = Compiled(model, "bitserial")
    assert [row.lowering for row in made.layers] == ["bitserial"]
    mod, _ = passes_until(model, "encode")
    names = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp"}
    assert not calls(mod, names.get(kind, "nothing"))
    x = {"input": np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)}
    assert_equal(made.run(x), reference(model, x), True, (kind, limit))


def test_logic_of_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two numbers: Not, And, Less. It rises and falls again, and has three pieces."""
    monkeypatch.setenv(STRICT, "error")
    net = Net((2, 8, 6, 6))
    below = net.op("Less", "input", net.constant(-0.5))
    between = net.op("And", net.op("Not", below), net.op("Less", "input", net.constant(0.75)))
    bits = net.op("Cast", between, to=1)
    model = net.model(net.conv(bits, net.signs(5, 8, 3, 3)))
    made = Compiled(model, "bitserial")
    assert [row.lowering for row in made.layers] == ["bitserial"]
    x = {"input": (np.random.default_rng(0).integers(-8, 9, (2, 8, 6, 6)) / 4).astype(np.float32)}
    assert_equal(made.run(x), reference(model, x), True, None)
