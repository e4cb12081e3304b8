"""ReActNet-A (Liu et al., "ReActNet", ECCV 2020): MobileNet's shape, 31 binary convolutions.

A block is a 3×3 convolution and a 1×1 one, each with a shortcut. Where channels double, two 1×1
convolutions read the same signs and their results are joined. Every activation is shifted before
its sign (RSign) and before and behind its PReLU (RPReLU), by ``x + bias.expand_as(x)``, which
exports as Shape, Expand, Add.
"""

from __future__ import annotations

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch

OPSET = 13
STEM = 32
BLOCKS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
"""Channels out; where they grow beyond 64, the image halves."""


def reactnet(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> [B, classes]."""
    unit = layers.scaled_by(STEM, width, 4)
    x = torch.float_conv(g, g.input, unit, 3, "feature.0.conv1", stride=2, pad=1)
    for index, planes in enumerate(BLOCKS, start=1):
        channels = planes // STEM * unit
        halves = channels != x.channels and planes > BLOCKS[0]
        x = _block(g, x, channels, 2 if halves else 1, f"feature.{index}")
    return torch.classifier(g, x, classes)


def _block(g: GraphBuilder, x: Tensor, channels: int, stride: int, scope: str) -> Tensor:
    bits = _r_sign(g, x, f"{scope}.move11", f"{scope}.binary_activation")
    y = _conv(g, bits, x.channels, 3, stride, f"{scope}.binary_3x3", f"{scope}.bn1")
    if stride == 2:
        x = torch.op(g, "AveragePool", [x], f"{scope}.pooling", **torch.window(2, 2, 0))
    y = g.op("Add", [x, y], f"/{scope}/Add")
    x = _r_prelu(g, y, scope, 1)
    bits = _r_sign(g, x, f"{scope}.move21", f"{scope}.binary_activation_1")
    if channels == x.channels:
        y = _conv(g, bits, channels, 1, 1, f"{scope}.binary_pw", f"{scope}.bn2")
        y = g.op("Add", [y, x], f"/{scope}/Add_1")
    else:
        halves = []
        for half in (1, 2):
            names = f"{scope}.binary_pw_down{half}", f"{scope}.bn2_{half}"
            y = _conv(g, bits, x.channels, 1, 1, *names)
            halves.append(g.op("Add", [y, x], f"/{scope}/Add_{half}"))
        y = torch.op(g, "Concat", halves, scope, axis=1)
    return _r_prelu(g, y, scope, 2)


def _conv(
    g: GraphBuilder, bits: Tensor, channels: int, kernel: int, stride: int, scope: str, norm: str
) -> Tensor:
    weight = torch.scaled_signs(g, (channels, bits.channels, kernel, kernel))
    y = torch.conv(g, bits, weight, scope, stride=stride, pad=kernel // 2)
    return torch.batch_norm(g, y, norm)


def _move(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Add ``x + bias.expand_as(x)``, |bias| up to 0.2."""
    drawn = g.rng.uniform(-0.2, 0.2, (1, x.channels, 1, 1)).astype("float32")
    shape = torch.op(g, "Shape", [x], scope)
    expanded = torch.op(g, "Expand", [g.constant(f"{scope}.bias", drawn), shape], scope)
    return torch.op(g, "Add", [x, expanded], scope)


def _r_sign(g: GraphBuilder, x: Tensor, move: str, scope: str) -> Tensor:
    return torch.sign(g, _move(g, x, move), scope)


def _r_prelu(g: GraphBuilder, x: Tensor, scope: str, which: int) -> Tensor:
    y = torch.prelu(g, _move(g, x, f"{scope}.move{which}2"), f"{scope}.prelu{which}")
    return _move(g, y, f"{scope}.move{which}3")
