"""The CUDA C of the reductions: ``ptx.cuh`` and ``window.cuh`` with one convolution's numbers."""

from __future__ import annotations

import functools
from pathlib import Path

from abc_tvm.compute.flat_taps import named

from .tiles import BlockTile

_FOLDER = Path(__file__).parent
_GUARD = "ABC_TVM_{}"


@functools.cache
def library(name: str) -> str:
    """One ``.cuh`` file, such that it may be there several times."""
    text = (_FOLDER / f"{name}.cuh").read_text(encoding="utf-8")
    guard = _GUARD.format(name.upper())
    body = text.replace("#pragma once\n", "")
    return f"#ifndef {guard}\n#define {guard}\n{body}#endif\n"


def window_source(
    name: str, geometry: list[int], tile: BlockTile, m: int, p: int, kind: str, b1: str
) -> str:
    """The function ``name(data, weights, pixels, sums)`` of one convolution.

    ``kind`` "bits" or "float"; ``b1`` as in :class:`abc_tvm.targets.Gpu`.
    """
    operation = {"and": "AbcAnd", "xor": "AbcXor"}.get(b1, "")
    tensor = tile.unit == "tensor"
    numbers = {
        **named(geometry),
        "M": m,
        "P": p,
        "PIXELS": tile.pixels,
        "BLOCKS": tile.blocks,
        "WARPS_P": tile.warps_p,
        "WARPS_O": tile.warps_o,
        "TAIL": int(tensor),
    }
    constants = ", ".join(f"{key} = {value}" for key, value in numbers.items())
    if tensor:
        inner = f"AbcTensor<{name}_shape, {operation}>"
    else:
        inner = f"AbcCores<{name}_shape, {'AbcBits' if kind == 'bits' else 'AbcFloats'}>"
    word, total = ("float", "float") if kind == "float" else ("unsigned", "int")
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
