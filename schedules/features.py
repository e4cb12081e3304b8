"""What a learned cost model sees of a choice: the default rule's figures, and the knobs.

Figures that grow with the layer are logarithms, and times are per multiply-accumulate, so that
what was learned on one layer says something about another.
"""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np

from . import neon
from .choice import Choice
from .space import Space
from .tiles import SUMS


def features(space: Space, choices: list[Choice]) -> np.ndarray:
    """float32 ``[choices, features]``."""
    layer = _layer(space)
    tiles = {tile: _tile(space, tile) for tile in {choice.tile for choice in choices}}
    rows = [[*layer, *tiles[choice.tile], *_knobs(space, choice)] for choice in choices]
    return np.array(rows, np.float32)


def _layer(space: Space) -> list[float]:
    window, device = space.window, space.device
    bits = {"bits": 1, "pool_bits": 1, "bytes": 8, "pool_codes": 8}.get(space.kind, 32)
    weights = window.taps * window.group_in * window.group_out
    image = window.height * window.width * window.in_channels
    return [
        float(space.kind == "bits"),
        float(space.kind == "bytes"),
        float(space.kind not in SUMS),
        float(neon.family(device) is not None),
        float(space.pairs),
        float(space.bases),
        float(window.taps),
        float(window.stride[1]),
        log2(window.group_in),
        log2(window.group_out),
        log2(window.out_height * window.out_width),
        log2(weights * bits / 8 / 1024 / device.l1d_kib),
        log2(image * bits / 8 / 1024 / device.l1d_kib),
    ]


def _tile(space: Space, tile: Any) -> list[float]:
    height, width = tile.padded(space.window)
    used = space.window.out_height * space.window.out_width / (height * width)
    shape = [
        float(tile.rows),
        float(tile.columns),
        float(tile.blocks),
        float(tile.parts),
        float(tile.pairs(space.bases, space.pairs)),
        used,
    ]
    if space.kind not in SUMS or neon.family(space.device) is not None:
        return [*shape, 0.0, 0.0, 0.0, 0.0, 0.0]
    work = space.work
    sums = work.room.accumulators(tile, space.pairs, space.bases)
    macs = max(1, space.window.macs * space.pairs)
    return [
        *shape,
        float(sums),
        (sums + work.loads(tile)) / space.device.vector_registers,
        work.loads(tile) / sums,
        log2(work.passes(tile)),
        log2(work.cost(tile) / macs),
    ]


def _knobs(space: Space, choice: Choice) -> list[float]:
    found: list[float] = []
    for name, values in space.all_knobs.items():
        at = getattr(choice, name)
        found += [float(value == at) for value in values[1:]]
    return found
