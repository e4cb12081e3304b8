"""BoolNet-18 (Guo et al., "BoolNet", 2021) with four slices, after the authors' definition.

Between blocks there are no real tensors: an activation is four signs of one value, at four
thresholds, in a fifth axis [B, slices, C, H, W]. Shortcuts are a product of signs (XNOR) and a
maximum (OR, written by Clip); the convolutions have a group for each slice and are padded by
replication. Halves of the channels skip a block, and are shuffled with the others.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch

OPSET = 13
SLICES = 4
THRESHOLDS = (-2 / 3, -1 / 3, 1 / 3, 2 / 3)
STAGES = (64, 128, 256, 512)
BLOCKS = 2
"""Of each stage."""


def boolnet18(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> [B, classes]."""
    first = layers.scaled_by(STAGES[0], width, SLICES)
    x = torch.float_conv(g, g.input, first, 7, "conv1", stride=2, pad=3)
    x = torch.op(g, "MaxPool", [x], "maxpool.1", **torch.window(3, 2, 1))
    x = _adaptive(g, x, "ghostbnsign")
    for stage, planes in enumerate(STAGES):
        channels = planes // STAGES[0] * first
        for index in range(BLOCKS):
            scope = f"layer{stage + 1}.{index}"
            last = (stage, index) == (len(STAGES) - 1, BLOCKS - 1)
            x = _block(g, x, channels, scope, halve=bool(stage) and not index, last=last)
    return torch.classifier(g, torch.prelu(g, x, "prelu2"), classes)


def _adaptive(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Signs around a zero point that a depthwise convolution computes."""
    zero = torch.batch_norm(g, x, f"{scope}.bn2")
    name = f"{scope}.adaptive_zero_points.0"
    zero = torch.float_conv(g, zero, x.channels, 3, name, pad=1, group=x.channels)
    x = torch.op(g, "Add", [torch.batch_norm(g, x, f"{scope}.bn1"), zero], scope)
    return _ghost_sign(g, x, f"{scope}.GhostSign")


def _ghost_sign(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """The four signs: [B, C, H, W] -> [B, 4, C, H, W]."""
    x = torch.op(g, "Unsqueeze", [x, torch.integers(g, f"{scope}.axes", 1)], scope)
    slices = np.array(THRESHOLDS, np.float32).reshape(1, SLICES, 1, 1, 1)
    x = torch.op(g, "Add", [x, g.constant(f"{scope}.slice", slices)], scope)
    x = torch.op(g, "Clip", [x, g.scalar(-1.0), g.scalar(1.0)], scope)
    return torch.sign(g, x, scope)


def _joined(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """[B, S, C, H, W] -> [B, S·C, H, W]."""
    height, width = x.value.shape[3:]
    return torch.reshape(g, x, scope, 0, -1, height, width)


def _conv(g: GraphBuilder, x: Tensor, channels: int, stride: int, scope: str) -> Tensor:
    x = _joined(g, x, scope)
    pads = torch.integers(g, f"{scope}.pads", 0, 0, 1, 1, 0, 0, 1, 1)
    x = torch.op(g, "Pad", [x, pads], f"{scope}.replicatepad", mode="edge")
    weight = torch.scaled_signs(g, (channels, x.channels // SLICES, 3, 3))
    return torch.conv(g, x, weight, scope, stride=stride, group=SLICES)


def _part(g: GraphBuilder, x: Tensor, start: int, end: int, scope: str) -> Tensor:
    bounds = [
        torch.integers(g, f"{scope}.{key}", value)
        for key, value in (("starts", start), ("ends", end), ("axes", 2), ("steps", 1))
    ]
    return torch.op(g, "Slice", [x, *bounds], scope)


def _block(
    g: GraphBuilder, given: Tensor, channels: int, scope: str, *, halve: bool, last: bool
) -> Tensor:
    inside = given.value.shape[2]
    skipped = None
    x = given
    if inside == 2 * channels:
        x = _part(g, given, 0, channels, f"{scope}.first")
        skipped = _part(g, given, channels, inside, f"{scope}.second")
    residual = x
    if halve:
        residual = _downsample(g, x, channels, f"{scope}.downsample")
    y = torch.batch_norm(
        g, _conv(g, x, channels, 2 if halve else 1, f"{scope}.conv1"), f"{scope}.bn1"
    )
    y = torch.op(g, "Mul", [_ghost_sign(g, y, f"{scope}.ghostsign1"), residual], f"{scope}.xnor")
    z = torch.batch_norm(g, _conv(g, y, channels, 1, f"{scope}.conv2"), f"{scope}.bn2")
    if last:
        mean = torch.op(g, "ReduceMean", [y], scope, axes=[1], keepdims=0)
        return torch.op(g, "Add", [z, torch.batch_norm(g, mean, f"{scope}.bn3")], scope)
    z = _or(g, _ghost_sign(g, z, f"{scope}.ghostsign2"), residual, f"{scope}.or")
    return _shuffled(g, z, residual if skipped is None else skipped, scope)


def _downsample(g: GraphBuilder, x: Tensor, channels: int, scope: str) -> Tensor:
    x = torch.float_conv(
        g, _joined(g, x, scope), channels, 1, f"{scope}.0", group=SLICES, fold=False
    )
    x = torch.op(g, "AveragePool", [x], f"{scope}.1", **torch.window(2, 2, 0))
    return _ghost_sign(g, torch.batch_norm(g, x, f"{scope}.2"), f"{scope}.3")


def _or(g: GraphBuilder, x: Tensor, y: Tensor, scope: str) -> Tensor:
    """``clip((x + 1) / 2 + (y + 1) / 2, 0, 1)·2 − 1`` of signs."""
    halves = []
    for name, sign in (("x", x), ("y", y)):
        more = torch.op(g, "Add", [sign, g.scalar(1.0)], f"{scope}.{name}")
        halves.append(torch.op(g, "Div", [more, g.scalar(2.0)], f"{scope}.{name}"))
    total = torch.op(g, "Add", halves, scope)
    total = torch.op(g, "Clip", [total, g.scalar(0.0), g.scalar(1.0)], scope)
    total = torch.op(g, "Mul", [total, g.scalar(2.0)], scope)
    return g.op("Add", [total, g.scalar(-1.0)], f"/{scope}/Add_1")


def _shuffled(g: GraphBuilder, x: Tensor, y: Tensor, scope: str) -> Tensor:
    """Channels of x and y in turns: two of [B, S, C, H, W] -> [B, S, 2C, H, W]."""
    axis = torch.integers(g, f"{scope}.axes", 2)
    pair = [
        torch.op(g, "Unsqueeze", [part, axis], f"{scope}.{name}")
        for name, part in (("mixed", x), ("kept", y))
    ]
    both = torch.op(g, "Concat", pair, scope, axis=2)
    turned = torch.op(g, "Transpose", [both], scope, perm=[0, 1, 3, 2, 4, 5])
    height, width = x.value.shape[3:]
    return torch.reshape(g, turned, f"{scope}.shuffled", 0, SLICES, -1, height, width)
