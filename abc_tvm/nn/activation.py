"""Activation bases: ``R ≈ Σ_n β_n A_n`` (ABC-Net, NIPS 2017, section 3.2)."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from abc_tvm.errors import InputError
from abc_tvm.nn.estimators import activation_bases, combine
from abc_tvm.nn.grid import grid_unit, on_grid


class ABCActivation(nn.Module):
    """N step functions of a real tensor, weighted and added.

    ``A_n = 2·[clip(R + v_n, 0, 1) ≥ 0.5] − 1``; the result is ``Σ_n β_n A_n``, of R's shape and
    dtype. v and β are trained. The input is expected to be batch-normalized.

    Args:
        N: number of activation bases, at least 1.
        grid: β are multiples of a power of two (see :mod:`abc_tvm.nn.grid`).

    Attributes:
        v: shifts, parameter ``[N]``. They begin so that the thresholds ``0.5 − v_n`` cut the
            standard normal distribution, which batch normalization aims at, into N + 1 equal
            shares.
        beta: scales, parameter ``[N]``. They begin as the least squares fit to that
            distribution: every level is the mean of its share.
        initial_v: where v began, buffer ``[N]``; see :func:`shift_penalty`.

    Raises:
        InputError: N is below 1.
    """

    initial_v: Tensor
    unit: Tensor | None

    def __init__(self, N: int = 1, *, grid: bool = False) -> None:
        super().__init__()
        v, beta = initial_bases(N)
        self.v = nn.Parameter(v)
        self.beta = nn.Parameter(beta)
        self.register_buffer("initial_v", v.clone())
        self.register_buffer("unit", grid_unit(beta) if grid else None)

    @property
    def N(self) -> int:
        """Number of activation bases."""
        return len(self.v)

    def forward(self, real: Tensor) -> Tensor:
        """R ``[...]`` to ``Σ_n β_n A_n`` ``[...]``."""
        if not self.training:
            return combine(real, self.v, self.scales())
        if self.unit is not None:
            self.unit = grid_unit(self.beta)
        return activation_bases(real, self.v, self.scales())

    def scales(self) -> Tensor:
        """β as it is used, ``[N]``: on the grid if there is one, as of the last training step."""
        if self.unit is None:
            return self.beta
        beta = self.beta if self.training else self.beta.detach()
        return on_grid(beta, self.unit)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if not mode and self.unit is not None:
            self.unit = grid_unit(self.beta)
        return self

    def extra_repr(self) -> str:
        return f"N={self.N}" + ("" if self.unit is None else ", beta on a grid")


def initial_bases(N: int) -> tuple[Tensor, Tensor]:
    """v and β, float32 ``[N]`` each, for a standard normal R; see :class:`ABCActivation`."""
    if N < 1:
        raise InputError(f"N is {N}: give at least one activation basis")
    normal = NormalDist()
    thresholds = [normal.inv_cdf(n / (N + 1)) for n in range(1, N + 1)]
    density = [0.0, *(normal.pdf(t) for t in thresholds), 0.0]
    means = [(N + 1) * (density[k] - density[k + 1]) for k in range(N + 1)]
    v = torch.tensor([0.5 - t for t in thresholds])
    beta = torch.tensor([(means[n + 1] - means[n]) / 2 for n in range(N)])
    return v, beta


def shift_penalty(module: nn.Module) -> Tensor:
    """``Σ ‖v − v⁰‖²`` over all :class:`ABCActivation` in ``module``: a scalar to add to the loss.

    The paper remarks that with many bases the shifts move together, so that some bases become
    copies of one another. A small weight on this term (1e-4 … 1e-2) holds them apart. Without
    such a layer the penalty is 0.
    """
    terms = [
        ((layer.v - layer.initial_v) ** 2).sum()
        for layer in module.modules()
        if isinstance(layer, ABCActivation)
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())
