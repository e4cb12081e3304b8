"""Published families of binarized networks, each in the spelling of its usual exporter.

The definitions are their authors'; weights are random and statistics measured, as in all the zoo.
``larq`` and ``pytorch`` are the two spellings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from abc_tvm.zoo.builder import Tensor
from abc_tvm.zoo.families import boolnet, larq, meliusnet, pytorch, quicknet, reactnet
from abc_tvm.zoo.numpy_moves import Array

__all__ = ["FAMILIES", "Published"]


@dataclass(frozen=True)
class Published:
    """One network of a family.

    Attributes:
        add: adds it to a builder; called with ``width`` and ``classes``.
        paper: where it was published, in a few words.
        options: of the zoo's entry, such as the size of the input.
    """

    add: Callable[..., Tensor]
    paper: str
    options: dict[str, Any] = field(default_factory=dict)


GRAINS = (1, 4, 16, 64)
"""Pixels of the squares that images are made of: each grain adds as much contrast."""


def images(rng: np.random.Generator, shape: Sequence[int], axes: tuple[int, int]) -> Array:
    """Draw images whose neighbouring pixels are alike, mean 0 and deviation 1 on average.

    ``axes`` are those of height and width.
    """
    total = np.zeros(shape, np.float32)
    for grain in GRAINS:
        coarse = list(shape)
        for axis in axes:
            coarse[axis] = -(-shape[axis] // grain)
        part = rng.standard_normal(coarse, dtype=np.float32)
        for axis in axes:
            part = part.repeat(grain, axis).take(range(shape[axis]), axis)
        total += part
    return total / np.float32(np.sqrt(len(GRAINS)))


KERAS: dict[str, Any] = {
    "layout": "HWC",
    "opset": larq.OPSET,
    "suffix": larq.SUFFIX,
    "draw": partial(images, axes=(1, 2)),
}
TORCH: dict[str, Any] = {
    "multiple": 32,
    "suffix": pytorch.SUFFIX,
    "draw": partial(images, axes=(2, 3)),
}

FAMILIES: dict[str, Published] = {
    "quicknet-small": Published(
        partial(quicknet.quicknet, sections=quicknet.SMALL), "Bannink 2021", KERAS
    ),
    "quicknet": Published(
        partial(quicknet.quicknet, sections=quicknet.QUICKNET), "Bannink 2021", KERAS
    ),
    "reactnet-a": Published(reactnet.reactnet, "Liu 2020", {**TORCH, "opset": reactnet.OPSET}),
    "meliusnet22": Published(meliusnet.meliusnet22, "Bethge 2021", KERAS),
    "boolnet18": Published(boolnet.boolnet18, "Guo 2021", {**TORCH, "opset": boolnet.OPSET}),
}
