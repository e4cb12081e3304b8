"""Forward values against the NumPy reference, gradients against the paper's formulas."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from abc_tvm.nn import ABCActivation, ABCConv2d, sign_ste  # noqa: E402
from abc_tvm.nn.estimators import activation_bases, combine, weight_bases  # noqa: E402
from abc_tvm.reference import bases as reference  # noqa: E402

EDGES = torch.tensor(
    [-2.0, -1.0, np.nextafter(np.float32(-1), np.float32(-2)), -0.0, 0.0, 0.5, 1, 3]
)


def test_sign_is_one_at_zero_and_its_gradient_is_the_clipped_identity() -> None:
    x = EDGES.clone().requires_grad_()
    y = sign_ste(x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    y.backward(torch.arange(1.0, 9.0))
    assert x.grad is not None and x.grad.tolist() == [0, 2, 0, 4, 5, 6, 7, 0]


@pytest.mark.parametrize("M", [1, 2, 3, 5, 8])
def test_weight_bases_are_the_papers(M: int) -> None:
    W = torch.randn(33, 7, 3, 3, generator=torch.Generator().manual_seed(M))
    u = torch.as_tensor(reference.basis_shifts(M), dtype=torch.float32)
    found = weight_bases(W, u).numpy()
    wanted = reference.weight_bases(W.numpy(), M)
    # The reference works in float64: only a weight within rounding of a threshold may differ.
    exact = W.double().numpy()
    margin = np.abs(
        exact - exact.mean() + reference.basis_shifts(M).reshape(-1, 1, 1, 1, 1) * exact.std()
    )
    assert np.array_equal(found[margin > 1e-6], wanted[margin > 1e-6])
    assert (margin > 1e-6).mean() > 0.999


def test_the_gradient_passes_through_every_basis_to_the_weight_and_to_u() -> None:
    W = torch.randn(4, 3, 2, 2, requires_grad=True)
    u = torch.tensor([-0.5, 0.25], requires_grad=True)
    g = torch.randn(2, 4, 3, 2, 2)
    weight_bases(W, u).backward(g)
    assert W.grad is not None and u.grad is not None
    torch.testing.assert_close(W.grad, g.sum(0))
    wanted = g.flatten(1).sum(1) * W.detach().std(correction=0)
    torch.testing.assert_close(u.grad, wanted)


def test_a_layers_weight_gets_the_sum_of_alpha_times_the_effective_gradient() -> None:
    """Paper, section 3.1: ∂c/∂W = Σ_m α_m ∂c/∂B_m with ∂B_m/∂W = 1."""
    layer = ABCConv2d(5, 4, 3, M=3, N=2, bias=False)
    x = torch.randn(2, 5, 6, 6)
    out = layer(x)
    g = torch.randn_like(out)
    out.backward(g)
    effective = layer.approximate().detach().requires_grad_()
    real = layer.binarized(x).detach()
    torch.nn.functional.conv2d(real, effective).backward(g)
    assert layer.weight.grad is not None and effective.grad is not None
    torch.testing.assert_close(layer.weight.grad, layer.alpha().sum() * effective.grad)


@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_activation_bases_are_the_papers(N: int) -> None:
    layer = ABCActivation(N)
    v, beta = layer.v.detach(), layer.beta.detach()
    thresholds = 0.5 - v
    R = torch.cat([torch.randn(999), EDGES, thresholds, torch.nextafter(thresholds, -EDGES[-1:])])
    planes = reference.activation_bases(R.numpy(), v.numpy())
    wanted = (beta.numpy().reshape(-1, 1) * planes).sum(0)
    for found in (activation_bases(R, v, beta), combine(R, v, beta)):
        # Up to five float32 terms in another order: four roundings each, of sums near 1.
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=2.0**-22)
    # Training and evaluation are the same function, to the last bit.
    assert torch.equal(activation_bases(R, v, beta), combine(R, v, beta))
    assert torch.equal(layer.train()(R), layer.eval()(R))


def test_the_gradient_of_the_activation_is_the_clips() -> None:
    """Paper, section 3.2: ∂A_n/∂R = 1 where 0 ≤ R + v_n ≤ 1; v_n the same; β_n gets Σ g·A_n."""
    R = torch.cat([torch.randn(200), torch.tensor([-0.25, 0.75, 0.0, 1.0, -1.0])]).requires_grad_()
    v = torch.tensor([0.25, 0.0, -0.5], requires_grad=True)
    beta = torch.tensor([0.5, -0.25, 1.5], requires_grad=True)
    g = torch.randn(205)
    activation_bases(R, v, beta).backward(g)
    shifted = R.detach() + v.detach()[:, None]
    window = ((shifted >= 0) & (shifted <= 1)).float()
    A = torch.where(shifted >= 0.5, 1.0, -1.0)
    scale = beta.detach()[:, None]
    for found, wanted in (
        (R.grad, g * (scale * window).sum(0)),
        (v.grad, (scale * window * g).sum(1)),
        (beta.grad, (A * g).sum(1)),
    ):
        assert found is not None
        # Gradients of v and beta are float32 sums over all of R, in another order.
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert 0 < int(window.sum()) < window.numel()


def test_strided_tensors_are_no_matter() -> None:
    R = torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    v, beta = torch.tensor([0.5, 0.1]), torch.tensor([0.7, 0.3])
    out = activation_bases(R, v, beta)
    out.backward(torch.ones_like(out).transpose(2, 3))
    plain = R.detach().contiguous().requires_grad_()
    activation_bases(plain, v, beta).sum().backward()
    assert R.grad is not None and plain.grad is not None
    assert torch.equal(R.grad, plain.grad)
