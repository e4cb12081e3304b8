"""Activation bases: where shifts begin, what is trained, and what holds them apart."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

from abc_tvm.errors import InputError  # noqa: E402
from abc_tvm.nn import ABCActivation, ABCConv2d, shift_penalty  # noqa: E402
from abc_tvm.nn.activation import initial_bases  # noqa: E402


@pytest.mark.parametrize("N", [1, 2, 3, 5, 9])
def test_shifts_begin_as_equal_shares_of_the_normal_distribution(N: int) -> None:
    layer = ABCActivation(N)
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    levels, counts = torch.unique(layer.eval()(x).detach(), return_counts=True)
    # N thresholds; rounding of the sum may not split a level.
    assert len(levels) == N + 1
    np.testing.assert_allclose(counts / len(x), 1 / (N + 1), atol=0.01)
    for level in levels:
        inside = layer(x).detach() == level
        assert abs(float(x[inside].mean()) - float(level)) < 0.02


def test_the_penalty_pulls_shifts_back() -> None:
    network = nn.Sequential(ABCConv2d(3, 4, 3, N=3), ABCActivation(2))
    assert float(shift_penalty(network).detach()) == 0
    with torch.no_grad():
        network[1].v.add_(0.5)
    penalty = shift_penalty(network)
    assert float(penalty.detach()) == pytest.approx(2 * 0.25)
    penalty.backward()
    np.testing.assert_allclose(network[1].v.grad.numpy(), [1.0, 1.0], rtol=1e-6)
    assert float(shift_penalty(nn.Linear(2, 2))) == 0


@pytest.mark.parametrize("N", [0, -1])
def test_no_bases(N: int) -> None:
    with pytest.raises(InputError, match=f"N is {N}: give at least one activation basis"):
        ABCActivation(N)


def test_one_base_is_the_sign_and_its_mean() -> None:
    v, beta = initial_bases(1)
    assert v.tolist() == [0.5]
    assert float(beta) == pytest.approx(np.sqrt(2 / np.pi))
    layer = ABCActivation().eval()
    x = torch.tensor([-2.0, -1e-6, 0.0, 3.0])
    assert torch.equal(layer(x).detach(), beta * torch.tensor([-1.0, -1, 1, 1]))


def test_training_and_evaluation_agree_and_both_parameters_learn() -> None:
    layer = ABCActivation(3)
    x = torch.randn(50, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert torch.equal(out.detach(), layer.eval()(x).detach())
    for parameter in (layer.v, layer.beta, x):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


def test_scales_on_a_grid() -> None:
    layer = ABCActivation(3, grid=True)
    with torch.no_grad():
        layer.beta.copy_(torch.tensor([0.3, 0.51, 1.7]))
    scales = layer.eval().scales().double()
    unit = float(layer.unit)
    assert np.log2(unit) % 1 == 0
    assert torch.equal(scales / unit, torch.round(scales / unit))
    assert "N=3, beta on a grid" in repr(layer) and "grid" not in repr(ABCActivation(3))
