"""The ABC convolution is the convolution of what its bases stand for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

from abc_tvm.errors import InputError  # noqa: E402
from abc_tvm.nn import ABCActivation, ABCConv2d  # noqa: E402


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


@pytest.mark.parametrize("groups", [1, 4])
def test_options_of_the_convolution(groups: int) -> None:
    layer = ABCConv2d(8, 12, (3, 5), (2, 1), (1, 0), (1, 2), groups, M=2, N=3).eval()
    x = torch.randn(2, 8, 14, 14)
    wanted = nn.functional.conv2d(
        layer.binarized(x), layer.binary_weight, layer.bias, (2, 1), (1, 0), (1, 2), groups
    )
    assert torch.equal(layer(x), wanted)


def test_by_linearity_it_is_the_papers_sum() -> None:
    """Σ_m Σ_n α_m β_n conv(B_m, A_n), computed in float64."""
    from abc_tvm.reference import abc_conv2d

    torch.manual_seed(0)
    layer = ABCConv2d(4, 6, 3, padding=1, groups=2, M=3, N=2, per_channel=True).eval()
    x = torch.randn(2, 4, 5, 5)
    activation = layer.activation
    assert activation is not None
    wanted = abc_conv2d(
        x.numpy(),
        layer.bases().detach().numpy(),
        layer.alpha().numpy(),
        activation.v.detach().numpy(),
        activation.beta.detach().numpy(),
        bias=layer.bias.detach().numpy(),
        padding=1,
        groups=2,
    )
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_layers_share_an_activation() -> None:
    shared = ABCActivation(2)
    layer = ABCConv2d(3, 4, 3, N=None).eval()
    x = torch.randn(1, 3, 5, 5)
    wanted = nn.functional.conv2d(shared(x), layer.binary_weight, layer.bias)
    assert torch.equal(layer(shared(x)), wanted)


def test_refuses() -> None:
    with pytest.raises(InputError, match="padding_mode 'reflect': ABC layers pad with zeros"):
        ABCConv2d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(InputError, match="N is 0"):
        ABCConv2d(3, 4, 3, N=0)
    assert "M=2" in repr(ABCConv2d(3, 4, 3, M=2))
