"""Convolution by im2col in float64, and ABC-Net's sum of binary convolutions.

With weights and inputs that are small dyadic numbers every product and partial sum is exact in
float64, so the result is the true value whatever the order of the additions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abc_tvm.errors import InputError
from abc_tvm.reference.bases import activation_bases

Pair = int | tuple[int, int]
Pads = int | tuple[int, int] | tuple[int, int, int, int]


def conv2d(
    x_nchw: npt.ArrayLike,
    w_oihw: npt.ArrayLike,
    stride: Pair = 1,
    padding: Pads = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> npt.NDArray[np.float64]:
    """A 2-D convolution (cross-correlation, as networks write it) with zero padding.

    ``x_nchw``: ``[B, C, H, W]``; ``w_oihw``: ``[O, C/groups, KH, KW]``; ``padding``: one
    number, (vertical, horizontal), or (top, left, bottom, right) as in ONNX. Returns float64
    ``[B, O, OH, OW]``. Raises :class:`InputError` when channels, groups or sizes do not fit.
    """
    x = np.asarray(x_nchw, dtype=np.float64)
    w = np.asarray(w_oihw, dtype=np.float64)
    stride_h, stride_w = _pair(stride)
    dilation_h, dilation_w = _pair(dilation)
    batch, channels = x.shape[:2]
    out_channels, group_channels, kernel_h, kernel_w = w.shape
    if group_channels * groups != channels or out_channels % groups:
        raise InputError(
            f"weights {w.shape} with groups={groups} do not fit an input of {channels} channels"
        )
    top, left, bottom, right = _pads(padding)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out_h = (padded.shape[2] - dilation_h * (kernel_h - 1) - 1) // stride_h + 1
    out_w = (padded.shape[3] - dilation_w * (kernel_w - 1) - 1) // stride_w + 1
    if out_h < 1 or out_w < 1:
        raise InputError(f"input {x.shape} is too small for kernel {kernel_h}x{kernel_w}")

    columns = np.empty((batch, channels, kernel_h, kernel_w, out_h, out_w))
    for row in range(kernel_h):
        for col in range(kernel_w):
            rows = slice(row * dilation_h, row * dilation_h + stride_h * (out_h - 1) + 1, stride_h)
            cols = slice(col * dilation_w, col * dilation_w + stride_w * (out_w - 1) + 1, stride_w)
            columns[:, :, row, col] = padded[:, :, rows, cols]
    taps = group_channels * kernel_h * kernel_w
    matrix = columns.reshape(batch, groups, taps, out_h * out_w)
    kernels = w.reshape(1, groups, out_channels // groups, taps)
    return (kernels @ matrix).reshape(batch, out_channels, out_h, out_w)


def abc_conv2d(
    R: npt.ArrayLike,
    B: npt.ArrayLike,
    alpha: npt.ArrayLike,
    v: npt.ArrayLike,
    beta: npt.ArrayLike,
    *,
    bias: npt.ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pads = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> npt.NDArray[np.float64]:
    """``sum_m sum_n alpha_m beta_n Conv(B_m, A_n) + bias`` (paper, equation 9), as M*N sums.

    ``R``: real input ``[B, C, H, W]``; ``B``: weight bases ``[M, O, C/groups, KH, KW]`` of ±1;
    ``alpha``: ``[M]``, or ``[M, O]`` per output channel; ``v`` and ``beta``: ``[N]``; ``bias``:
    ``[O]``. Padding is zero after binarization, so a padded place adds nothing. Returns float64
    ``[B, O, OH, OW]``. Raises :class:`InputError` as :func:`conv2d` and
    :func:`~abc_tvm.reference.bases.activation_bases` do.
    """
    bases = np.asarray(B)
    planes = activation_bases(R, v)
    betas = np.asarray(beta, dtype=np.float64)
    alphas = np.asarray(alpha, dtype=np.float64).reshape(bases.shape[0], 1, -1, 1, 1)
    if betas.shape != (len(planes),):
        raise InputError(f"beta has shape {betas.shape}: v gives {len(planes)} activation bases")
    products = [
        alphas[m] * beta_n * conv2d(plane, bases[m], stride, padding, dilation, groups)
        for m in range(len(bases))
        for beta_n, plane in zip(betas, planes, strict=True)
    ]
    total: npt.NDArray[np.float64] = np.sum(products, axis=0)
    if bias is not None:
        total = total + np.asarray(bias, dtype=np.float64).reshape(1, -1, 1, 1)
    return total


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _pads(padding: Pads) -> tuple[int, int, int, int]:
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    if len(padding) == 2:
        return (padding[0], padding[1], padding[0], padding[1])
    return padding
