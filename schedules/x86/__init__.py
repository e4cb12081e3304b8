"""Schedules for x86 processors: AVX-512 with and without a vector popcount, AVX2, and the baseline.

Which kernel counts differing bits depends on one instruction: ``VPOPCNTD`` (AVX-512
VPOPCNTDQ). Without it LLVM spells a vector popcount in about eight operations, and a table lookup
by ``VPSHUFB`` (from AVX2 on) is more than twice as fast.
"""
