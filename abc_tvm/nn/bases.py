"""Weight bases and their scales: ``W ≈ Σ_m α_m B_m`` (ABC-Net, NIPS 2017, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from abc_tvm.reference.bases import basis_shifts

_RANK = 1e-10
"""Relative eigenvalue of the Gram matrix of ±1 bases below which two of them coincide."""


def default_shifts(M: int) -> Tensor:
    """The paper's ``u_m = −1 + 2(m−1)/(M−1)``, float32 ``[M]``; 0 for M = 1.

    Raises :class:`InputError` when M is below 1.
    """
    return torch.as_tensor(basis_shifts(M), dtype=torch.float32)


@torch.no_grad()
def solve_alpha(weight: Tensor, bases: Tensor, per_channel: bool) -> Tensor:
    """Least squares α of ``‖W − Σ_m α_m B_m‖²`` (paper, equation 2), without a gradient.

    ``weight`` ``[O, ...]``, ``bases`` ±1 ``[M, O, ...]``; returns ``[M, 1]`` for the layer, or
    ``[M, O]`` with ``per_channel``, in the dtype of the weight. Bases that coincide share their
    scale (least norm), as in ``numpy.linalg.lstsq``.
    """
    groups = len(weight) if per_channel else 1
    tall = bases.reshape(len(bases), groups, -1).transpose(0, 1).double()  # [groups, M, K]
    right = tall @ weight.reshape(groups, -1, 1).double()
    gram = tall @ tall.transpose(1, 2)
    alpha = torch.linalg.pinv(gram, rtol=_RANK, hermitian=True) @ right
    return alpha[..., 0].T.to(weight.dtype)


def approximate(bases: Tensor, alpha: Tensor) -> Tensor:
    """``Σ_m α_m B_m`` of bases ``[M, O, ...]`` and α ``[M, 1]`` or ``[M, O]``: ``[O, ...]``.

    Added in the order of m, so that elements with the same signs get the same bits.
    """
    scales = alpha.reshape(*alpha.shape, *([1] * (bases.ndim - 2)))
    total = bases[0] * scales[0]
    for m in range(1, len(bases)):
        total = total + bases[m] * scales[m]
    return total
