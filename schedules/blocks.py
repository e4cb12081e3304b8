"""Blocks by their role, and small steps that every schedule is made of."""

from __future__ import annotations

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from abc_tvm.compute.roles import ROLE, Role

TASKS = 8
"""Tasks a core that a parallel loop is cut into, so that uneven cores end together."""

STACK_BYTES = 1024
"""TVM keeps smaller buffers on the stack (``runtime::kMaxStackAlloca``)."""


def role_of(block: s_tir.SBlock) -> Role | None:
    """The role of a block of a function; ``None`` where it has none."""
    role: Role | None = block.annotations.get(ROLE)
    return role


def all_of(sch: s_tir.Schedule) -> list[SBlockRV]:
    """The blocks of a function in the order in which they compute."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def with_roles(sch: s_tir.Schedule) -> list[tuple[Role | None, SBlockRV]]:
    """The same, each behind its role."""
    return [(role_of(sch.get(block)), block) for block in all_of(sch)]


def of_role(sch: s_tir.Schedule, *roles: Role) -> list[SBlockRV]:
    """The blocks of any of these roles, in the order in which they compute."""
    return [block for role, block in with_roles(sch) if role in roles]


def only(sch: s_tir.Schedule, role: Role) -> SBlockRV:
    """The block of a role that one block has. Raises ``ValueError`` where others have it."""
    blocks = of_role(sch, role)
    if len(blocks) != 1:
        raise ValueError(f"a kernel has one block {role!r}, this one has {len(blocks)}")
    return blocks[0]


def in_order(stmt: tirx.Stmt) -> list[s_tir.SBlock]:
    """The outermost blocks of a computation without a schedule, in order."""
    if isinstance(stmt, tirx.SeqStmt):
        return [block for part in stmt.seq for block in in_order(part)]
    if isinstance(stmt, tirx.For):
        return in_order(stmt.body)
    return [stmt.block]


def has(func: tirx.PrimFunc, role: Role) -> bool:
    """Whether a function without a schedule has a block of a role."""
    return any(role_of(block) == role for block in in_order(func.body.block.body))


def extent(sch: s_tir.Schedule, loop: LoopRV) -> int | None:
    """Extent of a loop, ``None`` where it is symbolic."""
    value = sch.get(loop).extent
    return int(value) if isinstance(value, tirx.IntImm) else None


def unroll(sch: s_tir.Schedule, loops: list[LoopRV]) -> None:
    """Unroll each of ``loops`` whose extent is known.

    One is not, over an open batch, in the epilogue of a value that TVM finds to be the same for
    every input (``x - x``): that block reads no sum, and is computed whole wherever it is wanted.
    """
    for loop in loops:
        if extent(sch, loop) is not None:
            sch.unroll(loop)


def parallel(
    sch: s_tir.Schedule, loops: list[LoopRV], cores: int, scratch: int, tasks: int = TASKS
) -> int:
    """Fuse ``loops`` and run them in parallel. Returns how many loops remain (1 or 2).

    ``scratch`` is the size in bytes of a task's largest buffer. From ``STACK_BYTES`` on TVM
    allocates it once a task, so the tasks are then made longer: ``tasks`` a core. A symbolic
    extent only adds tasks.
    """
    known = 1
    for loop in loops:
        known *= extent(sch, loop) or 1
    per_task = known // (tasks * cores) if scratch >= STACK_BYTES else 1
    while per_task > 1 and known % per_task:
        per_task -= 1
    fused = sch.fuse(*loops)
    if per_task <= 1:
        sch.parallel(fused)
        return 1
    outer, _ = sch.split(fused, [None, per_task])
    sch.parallel(outer)
    return 2
