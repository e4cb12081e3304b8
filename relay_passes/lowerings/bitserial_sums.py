"""What the counts of a bit convolution mean: float values, or integers to be compared.

See :mod:`.border` for the algebra and :mod:`.accumulator` for the integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr

from abc_tvm.compute import accumulate
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Index, Passes, Scalar
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator, accumulator
from abc_tvm.relay_passes.analysis.weights.border import Border, border_of
from abc_tvm.relay_passes.emit.frame import Frame

NEVER = 2**30
"""Beyond every count: a limit that is always or never kept."""


class BitserialSums:
    """What the counts of a bit convolution mean (see :mod:`.border` for the algebra)."""

    def __init__(
        self,
        frame: Frame,
        window: Window,
        planes: np.ndarray,
        alpha: np.ndarray,
        base: float,
        weights: np.ndarray,
        counts: te.Tensor,
    ) -> None:
        self.frame, self.window, self.counts = frame, window, counts
        self.blocking = frame.blocking
        levels = base + np.concatenate([[0.0], np.cumsum(weights)])
        self.exact: Accumulator | None = accumulator(
            planes, alpha, np.concatenate([levels, base + weights]), any(window.padding)
        )
        self.border: Border = border_of(window)
        inside = self.border.inside_sums(planes)  # [R, C, M, OC]
        ones = (planes > 0).reshape(*planes.shape[:2], -1).sum(-1)  # [M, OC]
        if base == 0:
            inside = inside[:1, :1]
        self.classes = inside.shape[:2]
        if self.exact is not None:
            z = self.exact.weight  # [M, OC]
            unit = _unit(levels, self.exact.level)
            steps = np.rint(weights / unit).astype(np.int64)
            level0 = int(np.rint(base / unit))
            self.factors = z[:, None] * steps[None, :, None]  # [M, P, OC]
            if np.all(self.factors == self.factors[:, :, :1]):
                self.factors = self.factors[:, :, :1]
            self.constant = (z * ones * steps.sum()).sum(0) + (z * inside * level0).sum(2)
            self.single = self.factors.size == 1 and self.factors.item() > 0
            self.whole = self._integer_sum()
            return
        wide = alpha.astype(np.float64)
        constant_part = (wide * (ones * weights.sum() + base * inside)).sum(2)
        factors = wide[:, None] * weights[None, :, None]  # [M, P, OC]
        if np.all(factors == factors[:, :, :1]):
            slots = factors[:, :, :1]
        else:
            slots = self.blocking.spread(factors)
        rounded = slots.astype(np.float32)
        table = frame.table(rounded, "factor")
        middle = window.taps * window.group_in // 2
        self.sum = accumulate.combine(counts, table, window, self.blocking, "float32", middle)
        constant_part = constant_part - factors.sum((0, 1)) * middle
        self.offset = self._class_table(constant_part.astype(np.float32), 0)

    def _integer_sum(self) -> Scalar:
        if self.single:
            counts = self.counts
            return lambda i: counts[i[0], i[1], i[2], i[3], i[4], 0, 0, i[5]]
        shared = self.factors.shape[2] == 1
        factors = self.factors if shared else self.blocking.spread(self.factors)
        table = self.frame.table(factors.astype(np.int32), "factor")
        total = accumulate.combine(self.counts, table, self.window, self.blocking, "int32")
        return lambda index: total[index]

    def _class_table(self, values: np.ndarray, fill: float) -> Callable[..., Expr]:
        """Read ``values [..., R, C, OC]`` at the class of a pixel: ``read(index, *leading)``."""
        table = self.frame.table(self.blocking.spread(values, fill), "border")
        rows = columns = None
        if self.classes[0] > 1:
            rows = self.frame.table(self.border.row_class, "row")
        if self.classes[1] > 1:
            columns = self.frame.table(self.border.column_class, "column")

        def read(index: Index, *leading: Expr) -> Expr:
            _, h, w, *_ = index
            r = rows[h] if rows is not None else 0
            c = columns[w] if columns is not None else 0
            return table[(*leading, r, c, self.blocking.slot(index))]

        return read

    def value(self, index: Index) -> Expr:
        """The convolution's float32 value."""
        if self.exact is None:
            return self.offset(index) - self.sum[index]
        if not hasattr(self, "scale"):
            self.scale = None
            if np.any(self.exact.scale != 1):
                self.scale = self.frame.per_slot(self.exact.scale, "scale")
        value = self.whole_value(index).astype("float32")
        return value if self.scale is None else value * self.scale(index)

    def whole_value(self, index: Index) -> Expr:
        """``D``, int32."""
        if not hasattr(self, "count_offset"):
            self.count_offset = self._class_table(self.constant.astype(np.int32), 0)
        whole = self.whole(index)
        if self.single and self.factors.item() != 1:
            whole = whole * tirx.const(int(self.factors.item()), "int32")
        return self.count_offset(index) - whole

    def passes(self, thresholds: np.ndarray) -> Passes:
        """``D >= T`` as a comparison of the count itself; ``T`` int ``[N, OC]``."""
        t = thresholds.astype(np.int64)[:, None, None, :]
        limit = self.constant[None] - t
        if self.single:
            limit = np.floor_divide(limit, int(self.factors.item()))
        limit = np.clip(limit, -NEVER, NEVER).astype(np.int32)
        read = self._class_table(limit, -NEVER)
        return lambda p, index: self.whole(index) <= read(index, p)


def _unit(levels: np.ndarray, whole: np.ndarray) -> float:
    at = int(np.abs(whole[: len(levels)]).argmax())
    return float(levels[at] / whole[at])
