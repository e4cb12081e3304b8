"""Layers that users write themselves: every spelling of an estimator, through every exporter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import Tensor, nn  # noqa: E402

import abc_tvm  # noqa: E402
from tests.abc_tvm.nn.exporters import EXPORTERS  # noqa: E402


class SignOfZeroIsZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class SignOfZeroIsOne(SignOfZeroIsZero):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)


class WithSetupContext(SignOfZeroIsZero):
    @staticmethod
    def forward(x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)


class WithSymbolic(SignOfZeroIsOne):
    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        zero, one, minus = (
            g.op("Constant", value_t=torch.tensor(value)) for value in (0.0, 1.0, -1.0)
        )
        return g.op("Where", g.op("GreaterOrEqual", x, zero), one, minus)


class PapersStep(SignOfZeroIsZero):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * (torch.clamp(x + 0.5, 0, 1) >= 0.5).float() - 1


def detached_difference(x: Tensor) -> Tensor:
    return (torch.sign(x) - x).detach() + x


def difference_added(x: Tensor) -> Tensor:
    return x + (torch.where(x >= 0, 1.0, -1.0) - x).detach()


def clipped_difference(x: Tensor) -> Tensor:
    clipped = torch.clamp(x, -1, 1)
    return torch.sign(x).detach() - clipped.detach() + clipped


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "sign": SignOfZeroIsZero.apply,
    "where": SignOfZeroIsOne.apply,
    "setup_context": WithSetupContext.apply,
    "symbolic": WithSymbolic.apply,
    "clip": PapersStep.apply,
    "detached_difference": detached_difference,
    "difference_added": difference_added,
    "clipped_difference": clipped_difference,
}


class Network(nn.Module):
    """XNOR-like: weights are binarized in the forward pass and scaled by the mean of |W|."""

    def __init__(self, estimator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.weight = nn.Parameter(torch.randn(33, 16, 3, 3) * 0.1)
        self.after = nn.BatchNorm2d(33)
        self.classifier = nn.Linear(33, 10)
        self.estimator = estimator

    def forward(self, x: Tensor) -> Tensor:
        x = self.estimator(self.norm(self.stem(x)))
        scale = self.weight.abs().mean((1, 2, 3), keepdim=True)
        x = nn.functional.conv2d(x, self.estimator(self.weight) * scale, padding=1)
        return self.classifier(self.after(x).relu().mean((2, 3)))


@pytest.mark.sweep(
    "exporter, spelling",
    short=[("torchscript", s) for s in SPELLINGS] + [(e, "clipped_difference") for e in EXPORTERS],
    full=[(e, s) for e in EXPORTERS for s in SPELLINGS],
)
def test_is_recognised_and_right(exporter: str, spelling: str, tmp_path: Path) -> None:
    network = Network(SPELLINGS[spelling]).eval()
    x = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    model = EXPORTERS[exporter](network, x)
    layer = abc_tvm.inspect(model, lowering="bitserial").layers[1]
    assert (layer.M, layer.N, layer.lowering) == (1, 1, "bitserial"), layer.reason
    artifact = abc_tvm.compile(model, lowering="bitserial")
    artifact.save(tmp_path / "n.so")
    (name,) = (port.name for port in artifact.info.inputs)
    (found,) = abc_tvm.load(tmp_path / "n.so", threads=1).run({name: x.numpy()}).values()
    with torch.no_grad():
        wanted = network(x).numpy()
    # One layer deep: no bit flips for this seed, so what remains is the rounding of float sums.
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
