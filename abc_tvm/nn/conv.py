"""The ABC convolution: ``conv(W, R) ≈ Σ_m Σ_n α_m β_n conv(B_m, A_n)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from abc_tvm.errors import InputError
from abc_tvm.nn.weight import ABCWeight


class ABCConv2d(ABCWeight, nn.Conv2d):
    """A 2-D convolution of M weight bases and N activation bases (ABC-Net, NIPS 2017).

    By linearity one convolution of ``Σ β A`` with ``Σ α B`` is trained, which costs what the
    float one does for every M and N; the compiler finds the bases again.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as in
            ``torch.nn.Conv2d``; padding is with zeros.
        M: weight bases, at least 1.
        N: activation bases; ``None`` when the input comes from an :class:`ABCActivation` that
            other layers share.
        u: shifts of the weight bases in standard deviations, ``[M]``; by default the paper's
            ``−1 … 1``.
        train_u: u is a parameter, not a constant.
        per_channel: one α for every output channel, not for the layer.
        grid: α, and β of the layer's own activation, are multiples of a power of two, so that the
            compiler may run the layer on int8 without rounding (see :mod:`abc_tvm.nn.grid`).

    Raises:
        InputError: M or N is below 1, u has not M entries, or padding is not with zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
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
        if options.get("padding_mode", "zeros") != "zeros":
            raise InputError(f"padding_mode {options['padding_mode']!r}: ABC layers pad with zeros")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            **options,
        )  # fmt: skip
        self.set_bases(M, N, u, train_u, per_channel, grid)

    def forward(self, real: Tensor) -> Tensor:
        """R ``[B, C, H, W]`` to ``[B, O, H', W']``."""
        return self._conv_forward(self.binarized(real), self.effective_weight(), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self._bases_repr()}"
