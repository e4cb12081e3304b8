from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.nibbles import lookup_table, nibble_counts, pack_nibbles
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.x86.nibbles import schedule_nibbles
from abc_tvm.targets import load
from tests.schedules.window_cases import (
    GEOMETRIES,
    BitCase,
    Counts,
    all_outputs,
    bit_case,
    placeholder,
    symbolic,
)

HASWELL = load("haswell")

pytestmark = pytest.mark.skipif(not HASWELL.runs_here(), reason="this machine has no AVX2")


def by_lookup(tile: Tile) -> Counts:
    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits(), pack_nibbles(case.planes()), lookup_table()]
        inputs = [
            placeholder("A", operands[0], window.batch),
            placeholder("W", operands[1]),
            placeholder("T", operands[2]),
        ]
        return nibble_counts(*inputs, window, case.blocking, tile), inputs, operands

    return counts


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
@pytest.mark.parametrize("shapes", ["int32", "int64", "symbolic"])
def test_every_output_equals_numpy(case: tuple[dict[str, Any], Tile], shapes: str) -> None:
    geometry, tile = case
    bits = bit_case(0, **geometry)
    window = symbolic(bits.window) if shapes == "symbolic" else bits.window
    kernel = all_outputs(bits, window, by_lookup(tile))
    kernel.check(schedule_nibbles(kernel.func(shapes != "int32"), Choice(tile)), cpu="haswell")


def test_sums_beyond_sixteen_bits() -> None:
    bits = bit_case(0, size=(1, 1), channels=(70_000, 32))
    bits.activations[:] = 1
    bits.weights[:, :16] = 0
    kernel = all_outputs(bits, bits.window, by_lookup(Tile()))
    kernel.check(schedule_nibbles(kernel.func(False), Choice()), cpu="haswell")
