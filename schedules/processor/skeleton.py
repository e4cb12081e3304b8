"""What the loop nests of all convolutions have in common: the loops round a tile, and its epilogue.

::

    border: rows in parallel
    for b, g, o0, h0 (parallel), w0:         # o0 and h0 in either order
        what a nest says: the sums of a tile
        epilogue of the tile, unrolled and vectorised
    crop: rows in parallel

A nest makes a :class:`Skeleton` of a function, says in which order its own loops go
(:meth:`~Skeleton.order`), treats what is inside, has the rest scheduled (:meth:`~Skeleton.around`),
splits its reduction, and finishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV

from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice

from .epilogue import Epilogue
from .intrinsics import INSTRUCTIONS, Emit, Instruction, lower_lanes


class Skeleton:
    """A fused convolution whose pixels (and with ``several``, lane blocks) are cut into tiles.

    ``block`` has the role ``reduction``. Its loops are those of the tile (``tile``: rows, columns
    and perhaps lane blocks), those over planes of weights and of activations (``planes``; none for
    one sum a channel), ``lane``, and those that it sums over (``taps``). ``cores`` only sets how
    finely the parallel loop is cut.
    """

    def __init__(
        self,
        func: tirx.PrimFunc,
        choice: Choice,
        cores: int,
        *,
        reduction: Role = "sums",
        several: bool = True,
    ) -> None:
        self.sch = sch = s_tir.Schedule(func)
        self.choice, self.cores = choice, cores
        self.block = blocks.only(sch, reduction)
        self.epilogue = Epilogue(sch, reduction)
        b, h, w, g, o, *inner = sch.get_loops(self.block)
        kinds = [int(var.iter_type) for var in sch.get(self.block).iter_vars]
        summed = sum(kind == tirx.IterVar.CommReduce for kind in kinds)
        *self.planes, self.lane = inner[:-summed]
        self.taps = inner[-summed:]
        h0, h1 = sch.split(h, [None, choice.tile.rows])
        self.column, w1 = sch.split(w, [None, choice.tile.columns])
        self.tile = [h1, w1]
        if several:
            o, o1 = sch.split(o, [None, choice.tile.blocks])
            self.tile.append(o1)
        self.rows = [b, g, *([o, h0] if choice.order == "weights" else [h0, o])]
        self.sums = prod(blocks.extent(sch, loop) or 1 for loop in (*self.planes, self.lane))

    def order(self, inside: list[LoopRV]) -> None:
        """Put the loops ``inside`` into those round a tile, in this order, and the epilogue."""
        self.sch.reorder(*self.rows, self.column, *inside)
        self.epilogue.place(self.column)

    def around(self) -> int:
        """Vectorise the epilogue and run tiles in parallel. Returns the number of loops round one.

        A step of the parallel loop is a row of tiles or, where the choice is cut at "columns", one.
        """
        self.epilogue.vectorise()
        scratch = 4 * self.sums * prod(blocks.extent(self.sch, n) or 1 for n in self.tile)
        if self.choice.cut == "columns":
            loops, inner = [*self.rows, self.column], 0
        else:
            loops, inner = self.rows, 1
        tasks = self.choice.tasks
        self.outer = blocks.parallel(self.sch, loops, self.cores, scratch, tasks) + inner
        return self.outer

    def finish(
        self,
        instructions: Mapping[Role, Instruction] = INSTRUCTIONS,
        whole: Mapping[Role, Emit] | None = None,
    ) -> tirx.PrimFunc:
        """The function, with instructions in it: see :func:`.intrinsics.lower_lanes`."""
        self.epilogue.finish(self.outer)
        return lower_lanes(self.sch.mod["main"], instructions, whole)
