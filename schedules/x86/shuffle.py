"""Table lookups by AVX2's byte shuffle, which LLVM does not find by itself."""

from __future__ import annotations

from tvm import tirx

from abc_tvm.schedules.processor.intrinsics import LANES, all_lanes, ramp


def lookup(store: tirx.BufferStore) -> tirx.Stmt:
    """``sum[..., lane] += table[row + weight[..., lane]]`` over all lanes: one AVX2 shuffle.

    Intel 64 and IA-32 Software Developer's Manual, ``VPSHUFB``: each half of the register looks
    up 16 bytes, so the row of 16 is loaded into both halves.
    """
    load = store.value.b
    row, weight = load.indices[0].a, load.indices[0].b.value
    one = tirx.const(1, row.ty.dtype)
    entries = tirx.BufferLoad(load.source, [tirx.Ramp(row, one, LANES // 2)])
    both = tirx.Shuffle([entries, entries], list(range(LANES)))
    counts = tirx.call_llvm_pure_intrin(
        f"uint8x{LANES}", "llvm.x86.avx2.pshuf.b", both, all_lanes(weight)
    )
    total = all_lanes(store.value.a) + counts
    at = [*store.indices[:-1], ramp(store.indices[-1], 0, LANES)]
    return tirx.BufferStore(store.buffer, total, at)
