"""What a kernel computes in its lanes, whoever schedules it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking

Kind = Literal["bitserial", "float", "int8", "lanes", "pool_bitserial", "pool_int8"]
"""What a kernel sums in its lanes: bits that differ, products of floats or of levels coded as
bytes, or nothing: "lanes" and pooling between two layers on bits or on bytes."""

SUMS: tuple[Kind, ...] = ("bitserial", "float", "int8")
POOLS: tuple[Kind, ...] = ("pool_bitserial", "pool_int8")


@dataclass(frozen=True)
class Problem:
    """A kernel: of its ``pairs`` of planes (1 but for bits) ``bases`` are weights'.

    Pooling has planes for ``pairs``.
    """

    window: Window
    blocking: Blocking
    pairs: int
    kind: Kind
    bases: int = 1

    @property
    def narrow(self) -> bool:
        """Whether it sums bytes of groups that lie side by side in the lanes of one."""
        return self.kind == "int8" and self.window.groups > 1 and self.blocking.groups == 1

    @property
    def planes(self) -> int:
        """Planes of activations."""
        return self.pairs // self.bases
