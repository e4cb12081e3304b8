"""The reduction of a convolution on AArch64 is a call, and the kernel what NumPy says it is."""

from __future__ import annotations

import re

import pytest
import tvm

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests.schedules.neon.cases import check, scheduled_of
from tests.schedules.window_cases import bit_case


@pytest.mark.parametrize(
    "tile",
    [
        Tile(1, 1),
        Tile(1, 4, 1, 2),
        Tile(2, 2, 1, 2),
        Tile(1, 7, 1, 4),
        Tile(1, 5, 1, 2),
        Tile(2, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["rpi3", "rpi5"])
def test_tiles(name: str, tile: Tile) -> None:
    case = bit_case(5, size=(8, 8), channels=(160, 40), kernel=(3, 3), stride=(1, 2), P=2)
    check(load(name), case, tile)


def test_pixels_beyond_the_reach_of_an_immediate_offset() -> None:
    case = bit_case(0, size=(2, 3), channels=(32 * 1100, 32), stride=(1, 2), P=2)
    check(load("rpi3"), case, Tile(2, 2, 1, 2))


@pytest.mark.parametrize(("parts", "loops"), [(1, "2, 3, 1)"), (2, "2, 3, 2)")])
def test_one_call_computes_a_part_of_a_tile(parts: int, loops: str) -> None:
    """Inside loops over both kinds of planes and the parts; of the reduction nothing is left."""
    case = bit_case(0, size=(6, 6), channels=(64, 32), kernel=(3, 3), M=2, P=3)
    func = scheduled_of(scheduler_of(load("rpi3")), case, Tile(1, 2, 1, parts))
    text = func.script()
    [name] = re.findall(r'T.call_extern\("int32", "(abc_loop_\w+)"', text)
    before = text[: text.index("call_extern")].splitlines()
    assert [line for line in before if " in T.grid(" in line][-1].endswith(f"{loops}:")
    assert "popcount" not in text and "acc_init" not in text
    assert f"define linkonce_odr hidden i32 @{name}(" in tvm.ir.save_json(func)


def test_kernels_of_equal_convolutions_are_one() -> None:
    """Whatever is done with their sums; another stride makes another loop."""
    made = scheduler_of(load("rpi3"))
    names = []
    for seed, stride in ((0, (1, 1)), (1, (1, 1)), (0, (1, 2))):
        case = bit_case(seed, size=(6, 6), channels=(64, 32), kernel=(3, 3), stride=stride)
        text = scheduled_of(made, case, Tile(1, 2, 1, 2)).script()
        names += re.findall(r'T.call_extern\("int32", "(abc_loop_\w+)"', text)
    assert names[0] == names[1] != names[2]
