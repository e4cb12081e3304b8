"""A real weight as its bases: α by least squares, in training and in evaluation."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

from abc_tvm.errors import InputError  # noqa: E402
from abc_tvm.nn import ABCConv2d, ABCLinear  # noqa: E402
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


@pytest.mark.parametrize("u", [torch.zeros(3), torch.zeros(2, 1)])
def test_shifts_of_another_number(u: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"u has shape \(.*\): give one shift for each of M=2"):
        ABCLinear(3, 4, M=2, u=u)
    with pytest.raises(InputError, match="M is 0"):
        ABCConv2d(3, 4, 3, M=0)


def test_scales_on_a_grid_are_multiples_of_a_power_of_two() -> None:
    torch.manual_seed(0)
    layer = ABCLinear(20, 10, M=3, per_channel=True, grid=True)
    free = ABCLinear(20, 10, M=3, per_channel=True)
    free.load_state_dict({"weight": layer.weight.detach()}, strict=False)
    for scales, wanted in zip(layer.alpha().T.double(), free.alpha().T, strict=True):
        unit = 2.0 ** torch.floor(torch.log2(scales.abs().max() / 128))
        assert torch.equal(scales / unit, torch.round(scales / unit))
        assert (scales - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_an_activation_that_is_shared_is_none_of_the_layers() -> None:
    layer = ABCLinear(3, 4, N=None)
    x = torch.randn(2, 3)
    assert layer.activation is None and layer.binarized(x) is x
    assert layer.M == 1 and "M=1, alpha per layer" in repr(layer)
