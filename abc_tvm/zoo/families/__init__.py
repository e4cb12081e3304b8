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
from abc_tvm.zoo.families import (
    alexnet,
    boolnet,
    densenet,
    irnet,
    larq,
    meliusnet,
    pytorch,
    quicknet,
    reactnet,
    realtobinary,
    tcresnet,
    transformer,
    unet,
)
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


def images(rng: np.random.Generator, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """Draw images whose neighbouring pixels are alike, mean 0 and deviation 1 on average.

    ``axes`` are those of space: height and width, or time.
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
    "densenet28": Published(densenet.densenet28, "Bethge 2019", KERAS),
    "realtobinary": Published(
        realtobinary.realtobinary, "Martinez 2020", {**KERAS, "multiple": 32}
    ),
    "boolnet18": Published(boolnet.boolnet18, "Guo 2021", {**TORCH, "opset": boolnet.OPSET}),
    "dorefa-alexnet": Published(alexnet.dorefa_alexnet, "Zhou 2016", {**KERAS, "smallest": 64}),
    "binaryalexnet": Published(alexnet.binary_alexnet, "Hubara 2016", {**KERAS, "smallest": 64}),
    "irnet20": Published(
        irnet.irnet20,
        "Qin 2020",
        {**TORCH, "opset": irnet.OPSET, "multiple": 4, "size": 32, "smallest": 8, "classes": 10},
    ),
    "unet": Published(
        unet.unet,
        "after Ronneberger 2015",
        {**TORCH, "opset": unet.OPSET, "multiple": 8, "size": 96, "smallest": 16, "classes": 4},
    ),
    "tcresnet8": Published(
        tcresnet.tcresnet8,
        "Choi 2019",
        {
            "layout": "CT",
            "channels": tcresnet.COEFFICIENTS,
            "opset": tcresnet.OPSET,
            "suffix": pytorch.SUFFIX,
            "size": 101,
            "smallest": 16,
            "classes": 12,
            "samples": 4,
            "draw": partial(images, axes=(2,)),
        },
    ),
    "transformer": Published(
        transformer.transformer,
        "after Qin 2022",
        {
            "layout": "TC",
            "channels": transformer.TOKEN,
            "opset": transformer.OPSET,
            "suffix": pytorch.SUFFIX,
            "size": 64,
            "smallest": 4,
            "classes": 10,
        },
    ),
}
