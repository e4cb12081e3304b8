"""What a family of schedules says: everything about one instruction set.

A family has no state: what it is asked comes in a :class:`Plan`, and two machines, two kernels or
two threads may ask one family in any order. :mod:`.families` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import Tile

from .choice import Choice
from .machine import MachineFacts
from .problem import Problem
from .space import Space

CodeType = Literal["uint8", "int8"]
"""Bytes that levels are coded in."""

Table = Callable[[np.ndarray, str], te.Tensor]
"""Registers a constant of a kernel and gives its placeholder."""


@dataclass(frozen=True)
class Plan:
    """One kernel: what it computes, on which machine, and how: tile, order of loops and the rest.

    The choice is a family's default or what a tuning record says.
    """

    machine: MachineFacts
    problem: Problem
    choice: Choice

    @property
    def tile(self) -> Tile:
        """What the kernel computes in registers."""
        return self.choice.tile


class Family(ABC):
    """Kernels of one instruction set.

    ``code``: the bytes that it multiplies, where it has dot products of bytes. ``gpu``: its
    machines are GPUs. ``choices``: what its records say. ``tunable``: there are search spaces.
    ``described``: they have features for a learned cost model. ``narrow``: the bytes
    that narrow groups have where it schedules their sums side by side, by
    :func:`abc_tvm.compute.narrow_products.narrow_products`, which need no dot products; else these
    are a group after the other.
    """

    code: CodeType | None = None
    gpu: bool = False
    choices: type[Choice] = Choice
    tunable: bool = False
    described: bool = False
    narrow: CodeType | None = None

    @abstractmethod
    def default(self, machine: MachineFacts, problem: Problem) -> Choice:
        """What is compiled where nothing is recorded."""

    @abstractmethod
    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int = 0
    ) -> te.Tensor:
        """The TE compute of a convolution's sums, a block ``sums``; its weights go to ``table``.

        By ``plan.problem.kind``: of "bitserial" what :func:`.accumulate.popcounts` says
        (``weights`` are packed planes), of "float" what :func:`.accumulate.products` says, and of
        "int8" what :func:`abc_tvm.compute.int8_products.int8_products` says (``weights`` int8
        ``[OC, KH, KW, IC/g]``; outside the image lies ``zero``).
        """

    @abstractmethod
    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """Schedule the PrimFunc of a fused kernel, whatever its kind: those of sums and "lanes"
        have a block of the role ``sums`` (:mod:`abc_tvm.compute.roles`), unless nothing in them
        depends on it."""

    @abstractmethod
    def rest(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """Schedule a PrimFunc of unknown blocks."""

    def space(self, machine: MachineFacts, problem: Problem, threads: int) -> Space | None:
        """What may be chosen; ``None`` where there is one kernel of its kind."""
        return None
