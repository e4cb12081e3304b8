"""The instruction sets of the processor that we run on, as Linux lists them."""

from __future__ import annotations

from pathlib import Path

from abc_tvm.errors import TargetError

# Linux's name in /proc/cpuinfo (arch/x86/include/asm/cpufeatures.h) -> LLVM's name, for the
# instruction sets that LLVM may use by itself in vector and integer code.
_LLVM_NAME = {
    "pni": "sse3",
    "ssse3": "ssse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "sse4a": "sse4a",
    "popcnt": "popcnt",
    "cx16": "cx16",
    "movbe": "movbe",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "bmi2": "bmi2",
    "adx": "adx",
    "avx": "avx",
    "f16c": "f16c",
    "fma": "fma",
    "avx2": "avx2",
    "avx_vnni": "avxvnni",
    "gfni": "gfni",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "avx512f": "avx512f",
    "avx512cd": "avx512cd",
    "avx512bw": "avx512bw",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "avx512_vp2intersect": "avx512vp2intersect",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
}

INSTRUCTION_SETS = frozenset(_LLVM_NAME.values())
"""LLVM's names of the instruction sets whose absence this module can see."""


def host_features(root: Path = Path("/")) -> frozenset[str]:
    """The instruction sets of the processor, by LLVM's names, as Linux lists them.

    ``root`` stands for the file system's root. Raises ``TargetError`` where there is no list of
    flags to read.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _unknown("there is no /proc/cpuinfo to read") from error
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(_LLVM_NAME[flag] for flag in value.split() if flag in _LLVM_NAME)
    raise _unknown("/proc/cpuinfo lists no x86 flags")


def _unknown(reason: str) -> TargetError:
    return TargetError(
        f"target native: {reason}: name a target instead (abc-tvm targets lists them) or write its "
        ".toml file"
    )
