"""Straight-through estimators: what passes back through a step that has no gradient.

Three steps, each with the paper's estimator (ABC-Net, NIPS 2017, sections 3.1 and 3.2):

=========================  ==========================================================
forward                    backward
=========================  ==========================================================
``sign(x)``                ``g · 1[|x| ≤ 1]`` (clipped identity)
``B_m(W)``                 ``Σ_m g_m`` for W: identity, mean and deviation held fixed
``Σ_n β_n A_n(R)``         ``Σ_n β_n g · 1[0 ≤ R + v_n ≤ 1]`` for R (the clip's gradient)
=========================  ==========================================================

They are autograd functions for training only. In evaluation the layers compute the same values
with plain operators, so that no exporter meets a function of our own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class _Sign(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return signs(x >= 0, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1).to(x.dtype)


class _WeightBases(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor) -> Tensor:
        centred = weight - weight.mean()
        deviation = weight.std(correction=0)
        ctx.save_for_backward(deviation)
        shifted = centred + u.reshape(-1, *([1] * weight.ndim)) * deviation
        return signs(shifted >= 0, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (deviation,) = ctx.saved_tensors
        grad = grads[0]
        weight = grad.sum(0) if ctx.needs_input_grad[0] else None
        u = grad.flatten(1).sum(1) * deviation if ctx.needs_input_grad[1] else None
        return weight, u


class _ActivationBases(Function):
    # The loops below hold one temporary plane at a time and scale it in place: on a CPU the
    # plain expressions take three times as long.

    @staticmethod
    def forward(ctx: Any, real: Tensor, v: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(real, v, beta)
        total = torch.zeros_like(real)
        for shift, scale in zip(v.tolist(), beta.tolist(), strict=True):
            total.add_(signs(real + shift >= 0.5, real), alpha=scale)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        real, v, beta = ctx.saved_tensors
        grad = grads[0].contiguous()
        flat = grad.flatten()
        slope, total = torch.zeros_like(grad), flat.sum()
        to_v, to_beta = torch.zeros_like(v), torch.zeros_like(beta)
        for n, (shift, scale) in enumerate(zip(v.tolist(), beta.tolist(), strict=True)):
            shifted = real + shift
            bits = (shifted >= 0.5).to(grad.dtype)
            to_beta[n] = 2 * torch.dot(flat, bits.flatten()) - total  # A = 2·bit − 1
            window = shifted.ge(0).logical_and_(shifted.le(1)).to(grad.dtype)
            to_v[n] = scale * torch.dot(flat, window.flatten())
            slope.add_(window, alpha=scale)
        return slope.mul_(grad), to_v, to_beta


def signs(positive: Tensor, like: Tensor) -> Tensor:
    """+1 where ``positive``, −1 elsewhere, in the dtype of ``like``."""
    return positive.to(like.dtype).mul_(2).sub_(1)


def combine(real: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    """``Σ_n β_n A_n`` with plain operators: what training computes and exporters see.

    ``clip(R + v, 0, 1) ≥ 0.5`` and ``R + v ≥ 0.5`` are the same in floating point, so the clip
    is left out; it lives on in the gradient.
    """
    total = torch.where(real + v[0] >= 0.5, beta[0], -beta[0])
    for n in range(1, len(v)):
        total = total + torch.where(real + v[n] >= 0.5, beta[n], -beta[n])
    return total


def sign_ste(x: Tensor) -> Tensor:
    """``sign(x)`` with ``sign(0) = +1``; the gradient is clipped to ``|x| ≤ 1``.

    Any shape and floating dtype; returns ±1 of the same.
    """
    return _Sign.apply(x)


def weight_bases(weight: Tensor, u: Tensor) -> Tensor:
    """``B_m = sign(W − mean(W) + u_m·std(W))``: ``[...]`` and ``[M]`` to ±1 ``[M, ...]``."""
    return _WeightBases.apply(weight, u)


def activation_bases(real: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    """``Σ_n β_n A_n`` of R ``[...]`` with shifts v ``[N]`` and scales β ``[N]``: ``[...]``."""
    return _ActivationBases.apply(real, v, beta)
