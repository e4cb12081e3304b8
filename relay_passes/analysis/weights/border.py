"""Zero padding of convolutions on bits.

A padded position holds no level, it holds 0, which bits cannot say. Padded bits are 0, and the
sums are put right by constants. With ``b`` in {0, 1} for a weight plane and ``a`` for an
activation plane, summed over *all* taps, ``sum B_k a_k = count(b) - popcount(b xor a)`` holds
whether a tap is inside or not (outside ``a`` is 0), so only the base level, ``base * sum of B over
the taps inside``, depends on where the window lies. Output rows fall into classes by which kernel
rows are inside, and columns likewise: 3x3 classes for a padded 3x3 convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.compute.geometry import Window


@dataclass(frozen=True)
class Border:
    """Class of every output row and column, and the taps inside for each class.

    ``row_class`` int32 ``[OH]``, ``column_class`` int32 ``[OW]``; ``rows`` bool
    ``[row classes, KH]``, ``columns`` bool ``[column classes, KW]``.
    """

    row_class: np.ndarray
    column_class: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def classes(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    def inside_sums(self, planes: np.ndarray) -> np.ndarray:
        """``[row classes, column classes, M, OC]`` sums of ``planes [M, OC, KH, KW, C]``."""
        taps = planes.astype(np.int64).sum(-1)
        r, c = self.rows.astype(np.int64), self.columns.astype(np.int64)
        return np.asarray(np.einsum("mohw,rh,cw->rcmo", taps, r, c))


def _classes(
    out: int, size: int, kernel: int, stride: int, dilation: int, before: int
) -> tuple[np.ndarray, np.ndarray]:
    at = np.arange(out)[:, None] * stride - before + np.arange(kernel)[None] * dilation
    inside = (at >= 0) & (at < size)
    patterns, index = np.unique(inside, axis=0, return_inverse=True)
    return index.reshape(-1).astype(np.int32), patterns


def border_of(window: Window) -> Border:
    """The border classes of a window."""
    rows = _classes(
        window.out_height,
        window.height,
        window.kernel[0],
        window.stride[0],
        window.dilation[0],
        window.padding[0],
    )
    columns = _classes(
        window.out_width,
        window.width,
        window.kernel[1],
        window.stride[1],
        window.dilation[1],
        window.padding[1],
    )
    return Border(rows[0], columns[0], rows[1], columns[1])
