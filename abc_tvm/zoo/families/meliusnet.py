"""MeliusNet22 (Bethge et al., "MeliusNet", WACV 2021), as Larq Zoo defines it.

A block is a dense step, ``[x, conv(sign(bn(x)))]`` with 64 more channels, and an improvement step,
which adds a convolution of the whole to these 64. The exporter writes the latter as a Pad of
channels with zeros. Stem and transitions are float; the stem's grouped convolutions are written as
Split, a Conv for each group, Concat.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import larq

STEM = 32
GROWTH = 64
BLOCKS = (4, 5, 4, 4)
TRANSITIONS = (160, 224, 256)


def meliusnet22(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, H, W, 3] -> [B, classes]."""
    growth = layers.scaled_by(GROWTH, width, 8)
    x = _stem(g, layers.scaled_by(STEM, width, 4), growth)
    count = 0
    for stage, blocks in enumerate(BLOCKS):
        if stage:
            channels = layers.scaled_by(TRANSITIONS[stage - 1], width, 8)
            x = _transition(g, x, channels, f"meliusnet22/t{stage}")
        for _ in range(blocks):
            x = _block(g, x, growth, count)
            count += 2
    x = larq.relu(g, larq.batch_norm(g, x, "meliusnet22/last_bn"), "meliusnet22/last")
    return larq.classifier(g, x, classes, "meliusnet22")


def _stem(g: GraphBuilder, first: int, second: int) -> Tensor:
    x = larq.conv(g, larq.image(g), first, 3, "meliusnet22/conv2d", stride=2, fold={})
    x = larq.relu(g, x, "meliusnet22/act0")
    for index, (channels, groups) in enumerate(((first, 4), (second, 8)), start=1):
        name = f"meliusnet22/group{index}"
        parts = [
            larq.conv(g, part, channels // groups, 3, f"{name}/conv2d_{number}")
            for number, part in enumerate(g.split(x, groups, 1, f"{name}/split"))
        ]
        x = g.op("Concat", parts, f"{name}/concat", axis=1)
        x = larq.relu(g, larq.batch_norm(g, x, f"{name}/bn"), f"{name}/act")
    return larq.max_pool(g, x, 2, 2, "meliusnet22/pool", "same")


def _block(g: GraphBuilder, x: Tensor, growth: int, count: int) -> Tensor:
    new = _binary(g, x, growth, f"meliusnet22/quant_conv2d_{count}")
    x = g.op("Concat", [x, new], f"meliusnet22/concat_{count}", axis=1)
    name = f"meliusnet22/quant_conv2d_{count + 1}"
    change = _binary(g, x, growth, name)
    before = [0, x.channels - growth, 0, 0, 0, 0, 0, 0]
    border = g.constant(f"{name}/paddings", np.array(before, np.int64))
    wide = g.op("Pad", [change, border], f"{name}/Pad", mode="constant")
    return g.op("Add", [x, wide], f"{name}/Add")


def _binary(g: GraphBuilder, x: Tensor, channels: int, name: str) -> Tensor:
    bits = larq.sign(g, larq.batch_norm(g, x, f"{name}_bn"), f"{name}/ste_sign")
    return larq.conv(g, bits, channels, 3, name, binary=True)


def _transition(g: GraphBuilder, x: Tensor, channels: int, name: str) -> Tensor:
    x = larq.max_pool(g, larq.batch_norm(g, x, f"{name}/bn"), 2, 2, name, "same")
    return larq.conv(g, larq.relu(g, x, name), channels, 1, f"{name}/conv2d")
