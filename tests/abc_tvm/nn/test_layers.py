"""The layers: α, what they approximate, evaluation, and what they refuse."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

from abc_tvm.errors import InputError  # noqa: E402
from abc_tvm.nn import ABCActivation, ABCConv2d, ABCLinear, shift_penalty  # noqa: E402
from abc_tvm.nn.bases import solve_alpha  # noqa: E402
from abc_tvm.reference.bases import solve_alpha as reference_alpha  # noqa: E402


@pytest.mark.parametrize("M", [1, 2, 3, 5])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (33, 5, 3, 3), (64, 65)])
def test_alpha_is_numpys_least_squares(M: int, per_channel: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(M)
    layer = (
        ABCLinear(shape[1], shape[0], M=M, per_channel=per_channel)
        if len(shape) == 2
        else ABCConv2d(shape[1], shape[0], shape[2], M=M, per_channel=per_channel)
    )
    bases = layer.bases().detach()
    wanted = reference_alpha(layer.weight.detach().numpy(), bases.numpy(), per_channel)
    found = layer.alpha().numpy()
    if not per_channel:
        wanted = wanted[:, None]
    # The layer solves the normal equations in float32, the reference in float64.
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_bases_that_coincide_share_their_scale() -> None:
    bases = torch.ones(3, 4, 5)
    alpha = solve_alpha(torch.full((4, 5), 0.75), bases, per_channel=False)
    np.testing.assert_allclose(alpha.numpy(), np.full((3, 1), 0.25), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_one_base_of_equal_weights_divides_by_nothing(value: float) -> None:
    layer = ABCConv2d(3, 4, 3, M=1, N=1)
    nn.init.constant_(layer.weight, value)
    out = layer(torch.randn(1, 3, 5, 5))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all()
    # A mean of 27 equal numbers: exact but for the division.
    np.testing.assert_allclose(layer.alpha().numpy(), [[value]], rtol=2.0**-23, atol=0)


def test_many_bases_approach_the_float_convolution() -> None:
    """With u and the thresholds over the whole range, the error falls with M and N, to nothing."""
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 8, 3, padding=1)
    x = torch.randn(4, 16, 12, 12)
    wanted = plain(x).detach()
    errors = []
    for count in (1, 3, 9, 27, 81):
        u = torch.linspace(-2, 2, count) if count > 1 else torch.zeros(1)
        layer = ABCConv2d(16, 8, 3, padding=1, M=count, N=count, u=u).eval()
        layer.load_state_dict(plain.state_dict(), strict=False)
        errors.append(float((layer(x).detach() - wanted).norm() / wanted.norm()))
    assert all(after < before / 1.2 for before, after in itertools.pairwise(errors)), errors
    assert errors[-1] < errors[-2] / 2 < 0.06


def test_the_papers_u_leaves_the_tails_of_the_weights() -> None:
    """Beyond one deviation the paper's bases cannot tell weights apart, however many there are."""
    torch.manual_seed(0)
    weight = torch.randn(64, 64)
    errors = []
    for count in (3, 9, 81):
        layer = ABCLinear(64, 64, M=count)
        layer.load_state_dict({"weight": weight}, strict=False)
        errors.append(float((layer.approximate().detach() - weight).norm() / weight.norm()))
    assert errors[0] > errors[1] > errors[2] > 0.2


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


def test_evaluation_is_training_without_batch_statistics() -> None:
    torch.manual_seed(0)
    layer = ABCConv2d(7, 33, 3, 2, 1, M=3, N=2, per_channel=True, train_u=True)
    x = torch.randn(2, 7, 9, 9)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert isinstance(layer.u, nn.Parameter)


def test_a_changed_weight_is_noticed_in_evaluation() -> None:
    layer = ABCLinear(20, 10, M=3).eval()
    x = torch.randn(4, 20)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(-1)
    after = layer(x)
    assert not torch.allclose(before, after)
    assert torch.equal(after, layer.train()(x))


def test_loading_a_state_makes_the_weight_anew() -> None:
    a, b = ABCConv2d(3, 4, 3, M=2).eval(), ABCConv2d(3, 4, 3, M=2).eval()
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.binary_weight, b.binary_weight)
    assert "binary_weight" not in a.state_dict()
    c = copy.deepcopy(a)
    assert torch.equal(c(torch.ones(1, 3, 5, 5)), a(torch.ones(1, 3, 5, 5)))


def test_weights_of_equal_signs_are_equal_to_the_last_bit() -> None:
    for M in (1, 2, 3, 5):
        layer = ABCConv2d(33, 65, 3, M=M).eval()
        assert len(torch.unique(layer.binary_weight)) <= M + 1


@pytest.mark.parametrize("groups", [1, 4])
def test_options_of_the_convolution(groups: int) -> None:
    layer = ABCConv2d(8, 12, (3, 5), (2, 1), (1, 0), (1, 2), groups, M=2, N=3).eval()
    x = torch.randn(2, 8, 14, 14)
    wanted = nn.functional.conv2d(
        layer.binarized(x), layer.binary_weight, layer.bias, (2, 1), (1, 0), (1, 2), groups
    )
    assert torch.equal(layer(x), wanted)


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ABCConv2d(3, 4, 3, M=0), "M is 0"),
        (lambda: ABCConv2d(3, 4, 3, N=0), "N is 0"),
        (lambda: ABCActivation(-1), "N is -1"),
        (lambda: ABCLinear(3, 4, M=2, u=torch.zeros(3)), r"u has shape \(3,\)"),
        (lambda: ABCConv2d(3, 4, 3, padding_mode="reflect"), "reflect"),
    ],
)
def test_refuses(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
