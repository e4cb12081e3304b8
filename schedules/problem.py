"""What a kernel computes in its lanes, whoever schedules it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking

Kind = Literal["bits", "float", "bytes", "lanes", "pool_bits", "pool_codes"]
"""What a kernel sums in its lanes: bits that differ, products of floats or of levels coded as
bytes, or nothing: "lanes" and pooling between two layers on bits or on bytes."""

SUMS: tuple[Kind, ...] = ("bits", "float", "bytes")
POOLS: tuple[Kind, ...] = ("pool_bits", "pool_codes")


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
    def planes(self) -> int:
        """Planes of activations."""
        return self.pairs // self.bases
