"""What an ABC-Net computes, in plain NumPy.

Every kernel and every pass is tested against these functions. They are written to be read and
to be right, not to be fast. They import nothing but NumPy and this package's error types.

- :mod:`abc_tvm.reference.bases`: weight bases, their coefficients, activation bases, bit packing.
- :mod:`abc_tvm.reference.conv`: the convolution, and the sum of binary convolutions.
"""

from __future__ import annotations

from abc_tvm.reference.bases import (
    activation_bases,
    basis_shifts,
    on_grid,
    pack_bits,
    solve_alpha,
    unpack_bits,
    weight_bases,
)
from abc_tvm.reference.conv import abc_conv2d, conv2d

__all__ = [
    "abc_conv2d",
    "activation_bases",
    "basis_shifts",
    "conv2d",
    "on_grid",
    "pack_bits",
    "solve_alpha",
    "unpack_bits",
    "weight_bases",
]
