"""What the ABC layers share: a real weight, used as ``Σ_m α_m B_m``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from abc_tvm.errors import InputError
from abc_tvm.nn.activation import ABCActivation
from abc_tvm.nn.bases import approximate, default_shifts, solve_alpha
from abc_tvm.nn.estimators import weight_bases
from abc_tvm.nn.grid import grid_unit, on_grid


class ABCWeight(nn.Module):
    """Mixin for a layer with a parameter ``weight [O, ...]``: call :meth:`set_bases` once.

    In training the bases and α are found anew at every forward pass. In evaluation the weight
    ``Σ_m α_m B_m`` is a buffer, ``binary_weight``: it is made by ``eval()``, by loading a state
    dict and by a forward pass after any other change, and exporters see it as a constant. So it
    has no gradient: to train with fixed batch statistics put the normalizations into evaluation,
    not the whole network.
    """

    weight: Tensor
    u: Tensor
    binary_weight: Tensor
    activation: ABCActivation | None

    def set_bases(
        self,
        M: int,
        N: int | None,
        u: Tensor | None,
        train_u: bool,
        per_channel: bool,
        grid: bool = False,
    ) -> None:
        """Add what the bases need; arguments as in the layers' constructors."""
        shifts = default_shifts(M) if u is None else torch.as_tensor(u, dtype=torch.float32)
        if shifts.shape != (M,):
            raise InputError(f"u has shape {tuple(shifts.shape)}: give one shift for each of M={M}")
        shifts = shifts.clone().to(self.weight)
        if train_u:
            self.u = nn.Parameter(shifts)
        else:
            self.register_buffer("u", shifts)
        self.per_channel, self.grid = per_channel, grid
        self.activation = None if N is None else ABCActivation(N, grid=grid).to(self.weight)
        self.register_buffer("binary_weight", torch.empty_like(self.weight), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.refresh())
        self._made_from: tuple[int, ...] = ()
        self.refresh()

    @property
    def M(self) -> int:
        """Number of weight bases."""
        return len(self.u)

    def bases(self) -> Tensor:
        """``B_m``, ±1 ``[M, O, ...]``, with the straight-through gradient to ``weight`` and u."""
        return weight_bases(self.weight, self.u)

    def alpha(self) -> Tensor:
        """α by least squares, ``[M, 1]`` or, per channel, ``[M, O]``; no gradient.

        With a grid, rounded to it.
        """
        return self._solve(self.bases().detach())

    def _solve(self, bases: Tensor) -> Tensor:
        alpha = solve_alpha(self.weight, bases, self.per_channel)
        return on_grid(alpha, grid_unit(alpha)) if self.grid else alpha

    def approximate(self) -> Tensor:
        """``Σ_m α_m B_m [O, ...]`` with its gradient: ``∂/∂W = Σ_m α_m ∂/∂(Σ α B)``."""
        bases = self.bases()
        return approximate(bases, self._solve(bases.detach()))

    @torch.no_grad()
    def refresh(self) -> None:
        """Make ``binary_weight`` from the weight as it is now."""
        self.binary_weight = self.approximate()
        self._made_from = self._versions()

    def effective_weight(self) -> Tensor:
        """The weight to convolve with: ``Σ_m α_m B_m``."""
        if self.training:
            return self.approximate()
        if not _traced() and self._made_from != self._versions():
            self.refresh()
        return self.binary_weight

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if not mode:
            self.refresh()
        return self

    def binarized(self, real: Tensor) -> Tensor:
        """The layer's input: ``Σ_n β_n A_n``, or as it is where activations come binarized."""
        return real if self.activation is None else self.activation(real)

    def _versions(self) -> tuple[int, ...]:
        parts = (self.weight, self.u)
        return tuple(number for part in parts for number in (id(part), part._version))

    def _bases_repr(self) -> str:
        shared = "per channel" if self.per_channel else "per layer"
        return f"M={self.M}, alpha {shared}" + (" on a grid" if self.grid else "")


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
