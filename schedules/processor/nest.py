"""One way to compute a kind of sum on a processor: TE compute, tiles, knobs and loop nest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.choice import Knob, Order
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem

MOST = 96
"""Tiles of a space, the best by the rule: beyond them nothing fast was ever found."""


class Nest(ABC):
    """A way to compute sums. ``knobs``: knobs of its own beside the tile, with their values."""

    knobs: ClassVar[Mapping[str, tuple[Knob, ...]]] = {}

    @abstractmethod
    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        """At most ``MOST`` tiles that may be worth measuring, the default first."""

    def tile(self, machine: MachineFacts, problem: Problem) -> Tile:
        """The default tile."""
        return self.tiles(machine, problem)[0]

    def order(self, machine: MachineFacts, problem: Problem) -> Order:
        """The default order of the loops around a tile."""
        return "weights"

    @abstractmethod
    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        """See :meth:`abc_tvm.schedules.family.Family.sums`."""

    @abstractmethod
    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """Schedule a fused convolution made of :meth:`sums`. Returns a PrimFunc."""
