"""The NEON instructions that LLVM does not find by itself: see :mod:`..intrinsics`.

Arm Architecture Reference Manual for A-profile (DDI 0487), Advanced SIMD: ``CNT``, ``UADDLP``,
``UADALP``, ``UDOT``; DDI 0406 for ``VCNT``, ``VPADDL`` and ``VPADAL`` of the 32-bit form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import tirx

from abc_tvm.schedules.intrinsics import INSTRUCTIONS, Instruction

WORDS = 4
BYTES = 16


def count(store: Any) -> Any:
    """``byte_acc[..., r, i] += popcount(...)`` over the 16 bytes of a register: eor, cnt, add."""
    total = _vector(store.value.a, BYTES)
    return _stored(store, total + _differing(store.value.b), BYTES)


def widen(intrinsic: str) -> Instruction:
    """``acc[..., l] += four bytes`` for four lanes: two pairwise additions.

    ``intrinsic`` is LLVM's name of the pairwise addition. The second of them and the addition are
    one instruction, ``uadalp``.
    """

    def emit(store: Any) -> Any:
        lane = store.value.a  # acc[..., l]
        byte = _first_term(store.value.b)
        register = tirx.BufferLoad(byte.source, [*byte.indices[:-1], _first(byte, BYTES)])
        halves = _call(f"{intrinsic}.v8i16.v16i8", "uint16x8", register)
        words = _call(f"{intrinsic}.v4i32.v8i16", "uint32x4", halves)
        return _stored(store, _vector(lane, WORDS) + _cast(words), WORDS)

    return emit


def _differing(popcount: Any) -> Any:
    """``popcount(byte of the activation word ^ byte of the weights)`` for a whole register."""
    activation, weights = popcount.args[0].a, popcount.args[0].b
    words = activation.value.a  # cast(word >> shift)
    four = tirx.BufferLoad(words.source, [*words.indices[:-1], _first(words, WORDS)])
    register = tirx.BufferLoad(weights.source, [*weights.indices[:-1], _first(weights, BYTES)])
    spread = tirx.call_intrin("uint8x16", "tirx.reinterpret", four)
    return tirx.call_intrin("uint8x16", "tirx.popcount", spread ^ register)


def _first_term(four: Any) -> Any:
    """What is widened in the first term of ``cast(x0) + cast(x1) + cast(x2) + cast(x3)``."""
    return four.a.a.a.value


def _first(load: Any, lanes: int) -> Any:
    """The last index of ``load`` as a vector from 0 on."""
    return _ramp(tirx.const(0, load.indices[-1].ty.dtype), lanes)


def _call(intrinsic: str, dtype: str, *args: Any) -> Any:
    return tirx.call_llvm_pure_intrin(dtype, intrinsic, *args)


def _cast(words: Any) -> Any:
    return tirx.call_intrin("int32x4", "tirx.reinterpret", words)


def _vector(load: Any, lanes: int) -> Any:
    return tirx.BufferLoad(load.source, [*load.indices[:-1], _ramp(load.indices[-1], lanes)])


def _stored(store: Any, value: Any, lanes: int) -> Any:
    at = [*store.indices[:-1], _ramp(store.indices[-1], lanes)]
    return tirx.BufferStore(store.buffer, value, at)


def _ramp(first: Any, lanes: int) -> Any:
    return tirx.Ramp(first, tirx.const(1, first.ty.dtype), lanes)


TABLE: Mapping[str, Instruction] = {
    **INSTRUCTIONS,
    "byte_acc_update": count,
    "acc_update": widen("llvm.arm.neon.vpaddlu"),
}
"""The instructions of 32-bit NEON, by the block's name."""
