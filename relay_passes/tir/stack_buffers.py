"""Small buffers on the stack, whose values LLVM then keeps in registers.

TVM asks its runtime for every buffer of 1,024 bytes and more, once in every iteration of a parallel
loop. LLVM cannot know that nobody else reads what is stored there, so sums that live in registers
are written back as well, and their first zeros. Sixteen accumulators of AVX-512 are 1,024 bytes.

Buffers stay on the stack up to the size of the registers that a tile may use for its sums
(:func:`abc_tvm.schedules.processor.tiles.words_room`). Beyond that most of a buffer is memory
anyway, and kernels were measured to be 3 to 10 % slower for it (AMD Zen 5).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import tvm
from tvm import tirx

from abc_tvm.relay_passes.tir.statements import buffer_bytes
from abc_tvm.schedules.blocks import STACK_BYTES
from abc_tvm.schedules.statements import with_inner
from abc_tvm.targets import Device

_KEEP = "disable_lower_builtin"
"""Annotation with which LowerTVMBuiltin leaves an allocation to LLVM."""


def stack_bytes(device: Device) -> int:
    """The largest buffer that stays on the stack; below ``STACK_BYTES``: those that TVM keeps."""
    if device.gpu is not None:
        return 0
    return device.vector_registers * device.vector_bits // 8 * 3 // 4


def lowering_of(device: Device) -> str:
    """The name of TVM's lowering with this pass in it, for ``tir_pipeline=``."""
    size = stack_bytes(device)
    if size < STACK_BYTES:
        return "default"
    name = f"abc_tvm.stack_{size}"
    tirx.register_tir_pipeline(name, partial(_lowering, size))
    return name


def keep_on_stack(stmt: tirx.Stmt, size: int) -> tirx.Stmt:
    """``stmt`` with its allocations of ``STACK_BYTES`` to ``size`` bytes left to LLVM."""
    if isinstance(stmt, tirx.AllocBuffer):
        taken = buffer_bytes(stmt.buffer)
        if taken is not None and STACK_BYTES <= taken <= size:
            return tirx.AllocBuffer(stmt.buffer, {_KEEP: tirx.IntImm("bool", 1)})
        return stmt
    return with_inner(stmt, lambda inner: keep_on_stack(inner, size))


def _lowering(size: int) -> Any:
    """TVM's own three parts of a lowering; the second, made when asked for, lowers allocations."""
    kernel, host, device = tirx.get_tir_pipeline("default")

    @tirx.transform.prim_func_pass(opt_level=0, name="KeepOnStack")
    def keep(func: Any, *_: Any) -> Any:
        return func.with_body(keep_on_stack(func.body, size))

    return kernel, lambda: tvm.transform.Sequential([keep, host()]), device
