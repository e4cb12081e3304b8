"""What the sums of a convolution on int8 mean: float values, or integers to be compared.

With codes ``c = level + zero`` the sums are ``sum w c``, and the integer of
:mod:`.accumulator` is ``D = sum w c - zero * sum w``. Outside the image codes are ``zero``, so that
one constant per channel holds everywhere.
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr

from abc_tvm.compute.lanes import Index, Passes
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.lowerings.bitserial_sums import NEVER


class Int8Sums:
    """What the sums of a convolution on int8 mean; ``sums`` integers ``[B, OH, OW, G, O, L]``.

    ``missing`` int ``[OC]`` is to be added to them. The greatest value of their type is no sum.
    """

    def __init__(
        self,
        frame: Frame,
        weights: np.ndarray,
        scale: np.ndarray,
        zero: int,
        sums: te.Tensor,
        missing: np.ndarray | None = None,
        part: int = 1,
    ) -> None:
        self.frame, self.sums, self.scale, self.part = frame, sums, scale, part
        total = weights.astype(np.int64).reshape(len(weights), -1).sum(1)
        self.constant = -zero * total + (0 if missing is None else missing)

    def value(self, index: Index) -> Expr:
        """The convolution's float32 value."""
        if not hasattr(self, "factor"):
            self.factor = None
            if np.any(self.scale != 1):
                self.factor = self.frame.per_slot(self.scale, "scale")
        value = self._whole(index).astype("float32")
        return value if self.factor is None else value * self.factor(index)

    def whole_value(self, index: Index) -> Expr:
        """``D``, int32."""
        whole = self._whole(index)
        return whole if self.part == 1 else whole * tirx.const(self.part, "int32")

    def _whole(self, index: Index) -> Expr:
        """``D / part``."""
        if not hasattr(self, "offset"):
            self.offset = None
            if self.constant.any():
                self.offset = self.frame.per_slot(self.constant.astype(np.int32), "offset")
        whole = self.sums[index].astype("int32")
        return whole if self.offset is None else whole + self.offset(index)

    def passes(self, thresholds: np.ndarray) -> Passes:
        """``D >= T`` as a comparison of the sum itself; ``T`` int ``[N, OC]``."""
        dtype = str(self.sums.dtype)
        never = min(NEVER, int(np.iinfo(dtype).max))
        least = -(-thresholds.astype(np.int64) // self.part)
        limit = np.clip(least - self.constant, -never, never)
        blocking = self.frame.blocking
        table = self.frame.table(blocking.spread(limit.astype(dtype), never), "limit")
        return lambda p, index: self.sums[index] >= table[p, blocking.slot(index)]
