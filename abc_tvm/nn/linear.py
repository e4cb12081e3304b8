"""The ABC dense layer: the ABC convolution without space."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from abc_tvm.nn.weight import ABCWeight


class ABCLinear(ABCWeight, nn.Linear):
    """A dense layer of M weight bases and N activation bases.

    Args:
        in_features, out_features, bias: as in ``torch.nn.Linear``.
        M, N, u, train_u, per_channel, grid: as in :class:`ABCConv2d`.

    Raises:
        InputError: M or N is below 1, or u has not M entries.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        M: int = 1,
        N: int | None = 1,
        u: Tensor | None = None,
        train_u: bool = False,
        per_channel: bool = False,
        grid: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(in_features, out_features, bias, **options)
        self.set_bases(M, N, u, train_u, per_channel, grid)

    def forward(self, real: Tensor) -> Tensor:
        """R ``[..., C]`` to ``[..., O]``."""
        return F.linear(self.binarized(real), self.effective_weight(), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self._bases_repr()}"
