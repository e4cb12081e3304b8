"""What a learned cost model sees of a choice: the default rule's figures, and the knobs.

Figures that grow with the layer are logarithms, and times are per multiply-accumulate, so that
what was learned on one layer says something about another.
"""

from __future__ import annotations

from math import log2

import numpy as np

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.blocks import TASKS
from abc_tvm.schedules.choice import COUNTS, CUTS, ORDERS, TAPS, Choice, Knob
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import SUMS, Problem

from .ruled import UNROLL, Ruled

KNOBS: dict[str, tuple[Knob, ...]] = {
    "count": COUNTS,
    "taps": TAPS,
    "unroll": UNROLL,
    "order": ORDERS,
    "cut": CUTS,
    "tasks": (TASKS, TASKS // 4, TASKS * 4),
}
"""Every knob that a space may have, with all its values: the same for each space."""

BITS = {"bitserial": 1, "pool_bitserial": 1, "int8": 8, "pool_int8": 8}
"""Of an element that a kernel of a kind reads; of others 32."""


def features(
    machine: MachineFacts, problem: Problem, nest: Ruled | None, choices: list[Choice]
) -> np.ndarray:
    """float32 ``[choices, features]``; ``nest`` has the default rule's figures, where there are."""
    layer = _layer(machine, problem)
    tiles = {
        tile: _tile(machine, problem, nest, tile) for tile in {choice.tile for choice in choices}
    }
    rows = [[*layer, *tiles[choice.tile], *_knobs(choice)] for choice in choices]
    return np.array(rows, np.float32)


def _layer(machine: MachineFacts, problem: Problem) -> list[float]:
    window, bits = problem.window, BITS.get(problem.kind, 32)
    weights = window.taps * window.group_in * window.group_out
    image = window.height * window.width * window.in_channels
    return [
        float(problem.kind == "bitserial"),
        float(problem.kind == "int8"),
        float(problem.kind not in SUMS),
        float(problem.pairs),
        float(problem.bases),
        float(window.taps),
        float(window.stride[1]),
        log2(window.group_in),
        log2(window.group_out),
        log2(window.out_height * window.out_width),
        log2(weights * bits / 8 / 1024 / machine.l1d_kib),
        log2(image * bits / 8 / 1024 / machine.l1d_kib),
    ]


def _tile(machine: MachineFacts, problem: Problem, nest: Ruled | None, tile: Tile) -> list[float]:
    window = problem.window
    height, width = tile.padded(window)
    shape = [
        float(tile.rows),
        float(tile.columns),
        float(tile.blocks),
        float(tile.parts),
        float(tile.pairs(problem.bases, problem.pairs)),
        window.out_height * window.out_width / (height * width),
    ]
    if nest is None:
        return [*shape, 0.0, 0.0, 0.0, 0.0, 0.0]
    work = nest.estimate(machine, problem)
    sums, loads = work.sums(tile), work.loads(tile)
    macs = max(1, window.macs * problem.pairs)
    return [
        *shape,
        float(sums),
        (sums + loads) / machine.vector_registers,
        loads / sums,
        log2(work.passes(tile)),
        log2(work.cost(tile) / macs),
    ]


def _knobs(choice: Choice) -> list[float]:
    flags: list[float] = []
    for name, values in KNOBS.items():
        at = getattr(choice, name)
        flags += [float(value == at) for value in values[1:]]
    return flags
