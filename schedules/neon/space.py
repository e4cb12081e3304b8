"""The search space of a convolution on AArch64: its tiles.

The loop nest around a microkernel is fixed (:mod:`.steps`), and so is how bits are counted: what
remains to choose is the tile of pixels and the part of a lane block that a call computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

from . import STEPS, family
from .tiles import ranked_bits, ranked_floats


def has_space(device: Device) -> bool:
    """Whether this module has a space for ``device``."""
    return family(device) in STEPS


def tiles(device: Device, window: Window, blocking: Blocking, pairs: int, kind: str) -> list[Tile]:
    """Tiles that fit, what is expected to be fastest first: the default's."""
    counted = family(device)
    if kind == "bits" and counted is not None:
        return ranked_bits(counted, window, blocking, pairs)
    return ranked_floats(window, blocking, in_order=device.in_order)


def neighbours(choice: Choice, found: list[Tile]) -> Iterator[Choice]:
    """Choices whose tile is one of ``found`` and differs from ``choice`` in up to two extents.

    In two, because the registers that one of them frees are for another.
    """
    here = astuple(choice.tile)
    for tile in found:
        if 1 <= sum(a != b for a, b in zip(astuple(tile), here, strict=True)) <= 2:
            yield replace(choice, tile=tile)
