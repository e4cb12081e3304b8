"""Instructions of 32-bit NEON that LLVM does not find: see :mod:`..processor.intrinsics`.

Arm Architecture Reference Manual for ARMv7-A (DDI 0406): ``VCNT``, ``VPADDL``, ``VPADAL``.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm import tirx

from abc_tvm.compute.roles import Role
from abc_tvm.schedules.processor.intrinsics import INSTRUCTIONS, Instruction

WORDS = 4
BYTES = 16


def count(store: tirx.BufferStore) -> tirx.Stmt:
    """``partial[..., r, i] += popcount(...)`` over the 16 bytes of a register: eor, cnt, add."""
    total = _vector(store.value.a, BYTES)
    return _stored(store, total + _differing(store.value.b), BYTES)


def pack(store: tirx.BufferStore) -> tirx.Stmt:
    """``word[...] += truth[..., lane] << lane`` over 32 lanes, which LLVM would do one by one.

    Each truth value goes to the place of its bit in a byte; three pairwise additions leave the sum
    of eight bytes in each half of a register, which is one byte of the word.
    """
    flags = store.value.b.a.value  # old + (cast(truth) << cast(lane))
    place = _ramp(tirx.const(0, "uint8"), BYTES) & tirx.Broadcast(tirx.const(7, "uint8"), BYTES)
    word = None
    for half in range(2):
        first = tirx.const(half * BYTES, flags.indices[-1].ty.dtype)
        truth = tirx.BufferLoad(flags.source, [*flags.indices[:-1], _ramp(first, BYTES)])
        sums = truth << place
        for shape, dtype in _PAIRWISE:
            sums = _call(f"{_VPADDL}.{shape}", dtype, sums)
        pair = tirx.call_intrin("uint32x4", "tirx.reinterpret", sums)
        for n in range(2):
            byte = tirx.Shuffle([pair], [2 * n]) << tirx.const(16 * half + 8 * n, "uint32")
            word = byte if word is None else word | byte
    return tirx.BufferStore(store.buffer, word, store.indices)


_VPADDL = "llvm.arm.neon.vpaddlu"
_PAIRWISE = (("v8i16.v16i8", "uint16x8"), ("v4i32.v8i16", "uint32x4"), ("v2i64.v4i32", "uint64x2"))


def widen(store: tirx.BufferStore) -> tirx.Stmt:
    """``sums[..., l] += four bytes`` for four lanes: two pairwise additions.

    The second of them and the addition are one instruction, ``vpadal``.
    """
    byte = _first_term(store.value.b)
    words = tirx.BufferLoad(byte.source, [*byte.indices[:-1], _first(byte, BYTES)])
    for shape, dtype in _PAIRWISE[:2]:
        words = _call(f"{_VPADDL}.{shape}", dtype, words)
    return _stored(store, _vector(store.value.a, WORDS) + _cast(words), WORDS)


def _differing(popcount: tirx.Expr) -> tirx.Expr:
    """``popcount(byte of the activation word ^ byte of the weights)`` for a whole register."""
    activation, weights = popcount.args[0].a, popcount.args[0].b
    words = activation.value.a  # cast(word >> shift)
    four = tirx.BufferLoad(words.source, [*words.indices[:-1], _first(words, WORDS)])
    register = tirx.BufferLoad(weights.source, [*weights.indices[:-1], _first(weights, BYTES)])
    spread = tirx.call_intrin("uint8x16", "tirx.reinterpret", four)
    return tirx.call_intrin("uint8x16", "tirx.popcount", spread ^ register)


def _first_term(four: tirx.Add) -> tirx.BufferLoad:
    """What is widened in the first term of ``cast(x0) + cast(x1) + cast(x2) + cast(x3)``."""
    return four.a.a.a.value


def _first(load: tirx.BufferLoad, lanes: int) -> tirx.Ramp:
    """The last index of ``load`` as a vector from 0 on."""
    return _ramp(tirx.const(0, load.indices[-1].ty.dtype), lanes)


def _call(intrinsic: str, dtype: str, *args: tirx.Expr) -> tirx.Expr:
    return tirx.call_llvm_pure_intrin(dtype, intrinsic, *args)


def _cast(words: tirx.Expr) -> tirx.Expr:
    return tirx.call_intrin("int32x4", "tirx.reinterpret", words)


def _vector(load: tirx.BufferLoad, lanes: int) -> tirx.BufferLoad:
    return tirx.BufferLoad(load.source, [*load.indices[:-1], _ramp(load.indices[-1], lanes)])


def _stored(store: tirx.BufferStore, value: tirx.Expr, lanes: int) -> tirx.BufferStore:
    at = [*store.indices[:-1], _ramp(store.indices[-1], lanes)]
    return tirx.BufferStore(store.buffer, value, at)


def _ramp(first: tirx.Expr, lanes: int) -> tirx.Ramp:
    return tirx.Ramp(first, tirx.const(1, first.ty.dtype), lanes)


TABLE: Mapping[Role, Instruction] = {
    **INSTRUCTIONS,
    "partial": count,
    "sums": widen,
    "pack": pack,
}
"""The instructions of 32-bit NEON, by the block's role."""
