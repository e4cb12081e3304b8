"""Nests whose tile the register rule of :mod:`.tiles` chooses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import TAPS, Knob
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem

from .nest import MOST, Nest
from .tiles import Estimate, Room, Way, candidates, words_room

UNROLL = (1, 2, 4)


class Ruled(Nest):
    """``way``: what the arithmetic costs.

    ``lane``: bytes of weights that a step of the reduction reads for a lane.
    """

    way: Way
    lane: int = 4
    knobs: ClassVar[Mapping[str, tuple[Knob, ...]]] = {"taps": TAPS, "unroll": UNROLL}

    @abstractmethod
    def steps(self, problem: Problem) -> int:
        """Steps of the reduction."""

    def room(self, machine: MachineFacts, blocking: Blocking) -> Room:
        """The registers that there are."""
        return words_room(machine, blocking)

    def estimate(self, machine: MachineFacts, problem: Problem) -> Estimate:
        """The convolution as the rule sees it."""
        room = self.room(machine, problem.blocking)
        caches = (machine.l1d_kib * 1024, machine.l2_kib * 1024)
        return Estimate(problem, room, self.way, self.steps(problem), self.lane, caches)

    def tile(self, machine: MachineFacts, problem: Problem) -> Tile:
        """The tile of the least cost.

        Its blocks divide ``blocking.blocks``; its rows and columns need not divide the output.
        Where no tile fits, it is one pixel and one block, a plane of weights at a time.
        """
        work = self.estimate(machine, problem)
        return min((t for t in candidates(work) if work.fits(t)), key=work.cost, default=Tile())

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        """The default, then also those that take the quarter that it leaves to temporaries."""
        return tuple(self._ranked(machine, problem))

    def _ranked(self, machine: MachineFacts, problem: Problem) -> Iterator[Tile]:
        work, default = self.estimate(machine, problem), self.tile(machine, problem)
        yield default
        wide = replace(work, room=replace(work.room, limit=machine.vector_registers))
        pixels = problem.window.out_height * problem.window.out_width
        most = pixels * problem.blocking.blocks * problem.pairs * work.room.per_block
        # Few accumulators wait for the latency of one addition.
        others = [
            t
            for t in candidates(wide)
            if wide.fits(t) and work.sums(t) >= min(4, most) and t != default
        ]
        yield from sorted(others, key=work.cost)[: MOST - 1]
