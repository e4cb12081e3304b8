"""Scales on a grid: multiples of a power of two, and layers that run on bytes without rounding."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from abc_tvm import inspect  # noqa: E402
from abc_tvm.checks.verify.network import verify  # noqa: E402
from abc_tvm.nn import ABCActivation, ABCConv2d, binarize  # noqa: E402
from abc_tvm.nn.grid import MOST, grid_unit, on_grid  # noqa: E402
from abc_tvm.targets import load  # noqa: E402
from tests.abc_tvm.nn.exporters import EXPORTERS  # noqa: E402
from tests.abc_tvm.nn.torch_networks import lenet, randomise  # noqa: E402


@pytest.mark.parametrize("count", [1, 3, 5, 8])
@pytest.mark.parametrize("size", [1e-6, 0.37, 1.0, 63.5, 4096.0])
def test_multiples_fit_a_byte_and_use_it(count: int, size: float) -> None:
    scales = torch.tensor(np.random.default_rng(count).uniform(-size, size, (count, 20)))
    scales[:, 7] = 0
    scales = scales.float()
    unit = grid_unit(scales)
    mantissa, _ = torch.frexp(unit)
    assert torch.all(mantissa == 0.5), "no power of two"
    near = on_grid(scales, unit)
    whole = near / unit
    assert torch.equal(whole, whole.round())
    total = whole.abs().sum(0)
    assert torch.all(total <= MOST)
    used = total > 0
    assert torch.all(total[used] >= MOST / 2 - count), "half of the byte is not used"
    assert torch.all((near - scales).abs() <= unit / 2)


def test_a_power_of_two_is_its_own_unit() -> None:
    """126.5 units of 2 in one scale: the unit is 2, not 4."""
    assert grid_unit(torch.tensor([253.0])).item() == 2.0
    assert grid_unit(torch.tensor([253.1])).item() == 4.0
    assert grid_unit(torch.tensor([0.0])).item() == 1.0


def test_the_gradient_passes_through() -> None:
    activation = ABCActivation(3, grid=True)
    plain = copy.deepcopy(activation)
    plain.unit = None
    x = torch.linspace(-2, 2, 64).reshape(1, 1, 8, 8)
    weight = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for module in (activation, plain):
        (module(x) * weight).sum().backward()
    # The same gradient, by other operators: float32 sums of 64 numbers, in another order.
    np.testing.assert_allclose(activation.beta.grad, plain.beta.grad, rtol=1e-5, atol=1e-5)
    assert activation.v.grad is not None and activation.v.grad.abs().sum() > 0


def test_evaluation_uses_what_training_used() -> None:
    torch.manual_seed(0)
    layer = ABCConv2d(4, 6, 3, M=3, N=2, grid=True)
    x = torch.randn(2, 4, 8, 8)
    trained = layer(x)
    assert torch.equal(layer.eval()(x), trained)
    with torch.no_grad():
        layer.activation.beta.mul_(3)
    assert not torch.equal(layer.train()(x), trained)


@pytest.mark.parametrize("exporter", sorted(EXPORTERS))
def test_a_network_on_a_grid_runs_on_bytes_exactly(exporter: str, tmp_path: Path) -> None:
    """Every exporter keeps the grid, folded batch normalisation included; no bit flips."""
    if load("native").cost.dot is None:
        pytest.skip("this machine has no dot products of bytes (AVX-512 VNNI)")
    torch.manual_seed(1)
    network = binarize(lenet(), M=3, N=3, grid=True, verbose=False)
    randomise(network)
    network.eval()
    model = EXPORTERS[exporter](network, torch.randn(2, 1, 28, 28))
    report = inspect(model, lowering="int8")
    assert [row.lowering for row in report if row.M] == ["int8"] * len(report.binarized)
    assert report.binarized and not report.rounded
    outcome = verify(model, lowering="int8")
    assert outcome.passed and outcome.flipped_bits <= 2
