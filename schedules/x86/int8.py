"""Dot products of four bytes: ``acc[lane] += codes[c, 0..3] . weights[c, lane, 0..3]`` at once.

AVX-512 VNNI has them for 512 bits, AVX-VNNI for 256.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.int8_products import QUAD, int8_products, pack_quads, quads
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.intrinsics import LANES, Instruction, ramp
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.tiles import Room, Way, words_room
from abc_tvm.schedules.processor.window import schedule_window


class Int8Products(Ruled):
    """Convolutions on bytes by ``vpdpbusd``."""

    way = Way(cycles=0.5, latency=5, activation=1, store=2)

    def steps(self, problem: Problem) -> int:
        return problem.window.taps * quads(problem.window.group_in)

    def room(self, machine: MachineFacts, blocking: Blocking) -> Room:
        """The instruction is put in for whole lane blocks."""
        return replace(words_room(machine, blocking), whole=True)

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        packed = table(pack_quads(weights, blocking), "weight")
        return int8_products(data, packed, window, blocking, plan.tile, zero)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        dot = vpdpbusd(plan.machine.vector_bits)
        return schedule_window(func, plan.choice, cores=plan.machine.cores, dot=dot)


def vpdpbusd(vector_bits: int) -> Instruction:
    """Of unsigned codes and signed weights, in registers of 256 or 512 bits.

    Intel 64 and IA-32 Software Developer's Manual, ``VPDPBUSD``: no intermediate result saturates.
    """
    lanes = vector_bits // 32

    def emit(store: tirx.BufferStore) -> tirx.Stmt:
        total, codes, weights = operands(store)
        four = tirx.call_intrin("int32", "tirx.reinterpret", quad(codes))
        spread = tirx.Broadcast(four, lanes)
        spread = tirx.call_intrin(f"uint8x{QUAD * lanes}", "tirx.reinterpret", spread)
        parts = []
        for first in range(0, LANES, lanes):
            at = [*store.indices[:-1], ramp(store.indices[-1], first, lanes)]
            among = ramp(weights.indices[-1], QUAD * first, QUAD * lanes)
            sums = tirx.call_llvm_pure_intrin(
                f"int32x{lanes}",
                f"llvm.x86.avx512.vpdpbusd.{vector_bits}",
                tirx.BufferLoad(total.source, at),
                spread,
                tirx.BufferLoad(weights.source, [*weights.indices[:-1], among]),
            )
            parts.append(tirx.BufferStore(store.buffer, sums, at))
        return tirx.SeqStmt(parts)

    return emit


def operands(
    store: tirx.BufferStore,
) -> tuple[tirx.BufferLoad, tirx.BufferLoad, tirx.BufferLoad]:
    """The sum, the code and the weight that ``acc = acc + cast(code) * cast(weight)`` reads."""
    product = store.value.b
    return store.value.a, product.a.value, product.b.value


def quad(codes: tirx.BufferLoad) -> tirx.BufferLoad:
    """The load of a code, whose last index is ``4 * c + q``, as a load of all four."""
    first = codes.indices[-1].a
    four = tirx.Ramp(first, tirx.const(1, first.ty.dtype), QUAD)
    return tirx.BufferLoad(codes.source, [*codes.indices[:-1], four])
