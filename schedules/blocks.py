"""Small steps that every schedule is made of."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

TASKS = 8
"""Tasks a core that a parallel loop is cut into, so that uneven cores end together."""

STACK_BYTES = 1024
"""TVM keeps smaller buffers on the stack (``runtime::kMaxStackAlloca``)."""


def names(sch: s_tir.Schedule, func: str = "main") -> list[str]:
    """Names of the blocks of ``func`` in the order in which they compute."""
    root = sch.get_sblock("root", func)
    return [str(sch.get(block).name_hint) for block in sch.get_child_blocks(root)]


def extent(sch: s_tir.Schedule, loop: Any) -> int | None:
    """Extent of a loop, ``None`` where it is symbolic."""
    value = sch.get(loop).extent
    return int(value) if isinstance(value, tirx.IntImm) else None


def unroll(sch: s_tir.Schedule, loops: list[Any]) -> None:
    """Unroll each of ``loops`` whose extent is known.

    One is not, over an open batch, in the epilogue of a value that TVM finds to be the same for
    every input (``x - x``): that block reads no sum, and is computed whole wherever it is wanted.
    """
    for loop in loops:
        if extent(sch, loop) is not None:
            sch.unroll(loop)


def parallel(
    sch: s_tir.Schedule, loops: list[Any], cores: int, scratch: int, tasks: int = TASKS
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
