from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from abc_tvm.compute.flat_taps import geometry
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.cuda.source import library, window_source
from abc_tvm.schedules.cuda.tiles import BlockTile, gpu_of
from abc_tvm.schedules.problem import SUMS, Kind
from abc_tvm.targets import load

BITSERIAL, FLOAT, INT8 = SUMS
NUMBERS = geometry(
    Window(1, 9, 8, 64, 96, (3, 2), (2, 1), (1, 2, 0, 3), (1, 2), 2), Blocking(96, 2), 5
)


def constants(text: str) -> dict[str, int]:
    [line] = re.findall(r"static constexpr int (.*);", text.replace(library("window"), ""))
    return {name: int(n) for name, n in (part.split(" = ") for part in line.split(", "))}


def own(kind: Kind, tile: BlockTile, name: str = "cuda-sm80", m: int = 1) -> str:
    """A reduction's source without the files that it includes."""
    text = window_source("f", NUMBERS, tile, m, 3, kind, gpu_of(load(name)))
    return text.replace(library("ptx"), "").replace(library("window"), "")


def test_every_number_has_its_name() -> None:
    tile = BlockTile(4, 2, 8, 1, "cores", 2)
    numbers = constants(own(BITSERIAL, tile, m=6))
    assert numbers == {
        "KH": 3,
        "KW": 2,
        "SH": 2,
        "SW": 1,
        "DH": 1,
        "DW": 2,
        "TOP": 1,
        "LEFT": 2,
        "H": 9,
        "W": 8,
        "OH": 4,
        "OW": 11,
        "G": 2,
        "C": 5,
        "NB": 2,
        "M": 3,
        "ROUNDS": 2,
        "P": 3,
        "PIXELS": 4,
        "BLOCKS": 2,
        "WARPS_P": 8,
        "WARPS_O": 1,
        "TAIL": 0,
    }


@pytest.mark.parametrize(
    ("kind", "unit", "name", "operation", "types"),
    [
        (BITSERIAL, "cores", "cuda-sm75", "AbcBits", ("unsigned", "int")),
        (BITSERIAL, "tensor", "cuda-sm75", "AbcXor", ("unsigned", "int")),
        (BITSERIAL, "tensor", "cuda-sm90", "AbcAnd", ("unsigned", "int")),
        (INT8, "cores", "cuda-sm80", "AbcDots", ("signed char", "int")),
        (INT8, "tensor", "cuda-sm75", "AbcBytesTuring", ("signed char", "int")),
        (INT8, "tensor", "cuda-sm80", "AbcBytes", ("signed char", "int")),
        (FLOAT, "cores", "cuda-sm80", "AbcFloats", ("float", "float")),
    ],
)
def test_what_multiplies(
    kind: Kind, unit: Any, name: str, operation: str, types: tuple[str, str]
) -> None:
    text = own(kind, BlockTile(2, 1, 1, 1, unit), name)
    assert f"<f_shape, {operation}>>" in text
    assert f"f(const {types[0]}* data, const {types[0]}* weights, int pixels," in text
    assert f"{types[1]}* sums)" in text


def test_ones_of_the_weights_stand_behind_bits_of_tensor_cores_alone() -> None:
    """What xor or and of the fragments counts is corrected by them."""
    tails = {
        (kind, unit): constants(own(kind, BlockTile(2, 1, 1, 1, unit)))["TAIL"]
        for kind in (BITSERIAL, INT8)
        for unit in ("cores", "tensor")
    }  # fmt: skip
    assert [key for key, tail in tails.items() if tail] == [(BITSERIAL, "tensor")]


def test_a_gpu_without_the_instruction_on_bits_is_an_error() -> None:
    gpu: Any = replace(load("cuda-sm80").gpu, b1="none")
    with pytest.raises(KeyError, match="none"):
        window_source("f", NUMBERS, BlockTile(2, 1, 1, 1, "tensor"), 1, 1, BITSERIAL, gpu)


@pytest.mark.parametrize("name", ["ptx", "window", "slot"])
def test_a_file_may_be_there_several_times(name: str) -> None:
    text = library(name)
    assert text.startswith(f"#ifndef ABC_TVM_{name.upper()}\n#define ABC_TVM_{name.upper()}\n")
    assert text.endswith("#endif\n") and "#pragma once" not in text
