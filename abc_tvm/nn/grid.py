"""Scales on a grid: α and β as multiples of a power of two, so that bytes are exact.

A layer whose scales are such multiples, 127 at most in all, has weights and levels that are small
integers times one number: the compiler may then run it on dot products of bytes without rounding
(``docs/contract.md``). A power of two keeps every product and sum of scales exact in float32, so
that no exporter can move one off the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 127
"""Largest sum of integers that a signed byte holds."""


@torch.no_grad()
def grid_unit(scales: Tensor) -> Tensor:
    """The smallest power of two of which ``scales`` ``[n, ...]`` are ``MOST`` multiples in all.

    Rounding may add one half to each. Returns ``[1, ...]``: one unit for each column.
    """
    total = scales.detach().abs().sum(0, keepdim=True).double() / (MOST - len(scales) / 2)
    mantissa, exponent = torch.frexp(total)
    power = torch.where(mantissa == 0.5, exponent - 1, exponent)  # already a power of two
    unit = torch.ldexp(torch.ones_like(total), power)
    return torch.where(total > 0, unit, torch.ones_like(unit)).to(scales.dtype)


def on_grid(scales: Tensor, unit: Tensor) -> Tensor:
    """``scales`` rounded to multiples of ``unit``; the gradient passes straight through."""
    near = torch.round(scales.detach() / unit) * unit
    return scales + (near - scales.detach()) if scales.requires_grad else near
