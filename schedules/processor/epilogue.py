"""What a fused kernel does with its sums, tile by tile, while they are in registers."""

from __future__ import annotations

from tvm import s_tir
from tvm.s_tir.schedule import LoopRV, SBlockRV

from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks

from .spatial import schedule_copies

OUTER = 5
"""Loops outside a tile: ``b, g, o, h, w``."""

COPIES: tuple[Role, ...] = ("border", "crop")
"""Blocks with loops of their own, before and after all tiles."""


class Epilogue:
    """The blocks behind the block of role ``after``, and the copies of a kernel.

    A nest calls :meth:`place` while its loops over pixels are apart, then :meth:`vectorise`. What
    splits reductions comes last, because other primitives refuse what it leaves.
    """

    def __init__(self, sch: s_tir.Schedule, after: Role) -> None:
        self.sch = sch
        made = blocks.with_roles(sch)
        first = [role for role, _ in made].index(after) + 1
        self.stages = [(role, block) for role, block in made[first:] if role not in COPIES]
        self.copies = [block for role, block in made if role in COPIES]

    def place(self, loop: LoopRV) -> None:
        """Compute every stage inside ``loop``."""
        for _, block in self.stages:
            self.sch.reverse_compute_at(block, loop, preserve_unit_loops=True)

    def vectorise(self) -> None:
        """Unroll the loops of every stage in the tile, its lanes apart, which become a vector."""
        for role, block in self.stages:
            _in_registers(self.sch, role, block)

    def finish(self, outer: int) -> None:
        """Split the sums over planes, which have ``outer`` loops round a tile; then the copies."""
        for role, block in self.stages:
            if role == "combine":
                planes = self.sch.get_loops(block)[-3]
                start = self.sch.decompose_reduction(block, planes)
                blocks.unroll(self.sch, self.sch.get_loops(start)[outer:-1])
        schedule_copies(self.sch, self.copies)


def _in_registers(sch: s_tir.Schedule, role: Role | None, block: SBlockRV) -> None:
    inner = sch.get_loops(block)[OUTER:]
    if role == "pack":
        blocks.unroll(sch, inner[:-1])
    elif role == "combine":
        lane, m, p = inner[-3:]
        sch.reorder(m, p, lane)
        sch.vectorize(lane)
        blocks.unroll(sch, [*inner[:-3], m, p])
    elif role == "word":
        blocks.unroll(sch, inner)
    else:
        sch.vectorize(inner[-1])
        blocks.unroll(sch, inner[:-1])
