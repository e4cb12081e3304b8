"""The CUDA C of the reductions: ``ptx.cuh`` and ``window.cuh`` with one convolution's numbers."""

from __future__ import annotations

import functools
from pathlib import Path

from abc_tvm.compute.flat_taps import named
from abc_tvm.schedules.machine import GpuFacts
from abc_tvm.schedules.problem import Kind

from .tiles import AMPERE, BlockTile, architecture

_FOLDER = Path(__file__).parent
_GUARD = "ABC_TVM_{}"
_CORES: dict[Kind, str] = {"bitserial": "AbcBits", "int8": "AbcDots", "float": "AbcFloats"}
FUNCTIONS: dict[Kind, str] = {"bitserial": "abc_bits", "int8": "abc_bytes", "float": "abc_float"}
"""The first word of a device function's name, which is part of the code that a GPU gets."""

_TYPES: dict[Kind, str] = {"bitserial": "unsigned", "int8": "signed char", "float": "float"}


@functools.cache
def library(name: str) -> str:
    """One ``.cuh`` file, such that it may be there several times."""
    text = (_FOLDER / f"{name}.cuh").read_text(encoding="utf-8")
    guard = _GUARD.format(name.upper())
    body = text.replace("#pragma once\n", "")
    return f"#ifndef {guard}\n#define {guard}\n{body}#endif\n"


def window_source(
    name: str, geometry: list[int], tile: BlockTile, m: int, p: int, kind: Kind, gpu: GpuFacts
) -> str:
    """The function ``name(data, weights, pixels, sums)`` of one convolution."""
    tensor = tile.unit == "tensor"
    numbers = {
        **named(geometry),
        "M": m // tile.rounds,
        "ROUNDS": tile.rounds,
        "P": p,
        "PIXELS": tile.pixels,
        "BLOCKS": tile.blocks,
        "WARPS_P": tile.warps_p,
        "WARPS_O": tile.warps_o,
        "TAIL": int(tensor and kind == "bitserial"),
    }
    constants = ", ".join(f"{key} = {value}" for key, value in numbers.items())
    unit, operation = ("AbcTensor", _products(kind, gpu)) if tensor else ("AbcCores", _CORES[kind])
    inner = f"{unit}<{name}_shape, {operation}>"
    word, total = _TYPES[kind], "float" if kind == "float" else "int"
    return f"""{library("ptx")}{library("window")}
struct {name}_shape {{
  static constexpr int {constants};
}};
__device__ __forceinline__ void {name}(const {word}* data, const {word}* weights, int pixels,
                                       {total}* sums) {{
  abc_window<{name}_shape, {inner}>(reinterpret_cast<const unsigned*>(data),
                                    reinterpret_cast<const unsigned*>(weights), pixels, sums);
}}
"""


def _products(kind: Kind, gpu: GpuFacts) -> str:
    """What the tensor cores multiply, in the fragments that they have."""
    if kind == "bitserial":
        return {"and": "AbcAnd", "xor": "AbcXor"}[gpu.b1]
    return "AbcBytes" if architecture(gpu) >= AMPERE else "AbcBytesTuring"
