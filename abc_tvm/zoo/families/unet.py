"""A small binary U-Net (after Ronneberger et al., MICCAI 2015): images to images, no real trunk.

Every activation is the sign of a normalized convolution. On the way down signs are max-pooled; on
the way up they are repeated (nearest) and joined with those of the same size, and a convolution
reads both. First and last layer are float.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch

OPSET = 16
LEVELS = (32, 64, 128)
"""Channels of each size, from the largest; the smallest has twice the last."""


def unet(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> [B, classes, H, W]."""
    channels = [layers.scaled_by(level, width, 8) for level in LEVELS]
    x = torch.float_conv(g, g.input, channels[0], 3, "stem", pad=1)
    x = torch.sign(g, x, "stem.act")
    skips = []
    for level, count in enumerate(channels):
        x = _double(g, x, count, f"down.{level}")
        skips.append(x)
        x = torch.op(g, "MaxPool", [x], f"pool.{level}", **torch.window(2, 2, 0))
    x = _double(g, x, 2 * channels[-1], "bottom")
    for level in reversed(range(len(channels))):
        x = _larger(g, x, f"up.{level}.upsample")
        x = torch.op(g, "Concat", [x, skips[level]], f"up.{level}", axis=1)
        x = _double(g, x, channels[level], f"up.{level}")
    return torch.float_conv(g, x, classes, 1, "head", fold=False)


def _double(g: GraphBuilder, x: Tensor, channels: int, scope: str) -> Tensor:
    for number in (1, 2):
        weight = torch.scaled_signs(g, (channels, x.channels, 3, 3))
        x = torch.conv(g, x, weight, f"{scope}.conv{number}", pad=1)
        x = torch.sign(g, torch.batch_norm(g, x, f"{scope}.bn{number}"), f"{scope}.act{number}")
    return x


def _larger(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """``nn.Upsample(scale_factor=2)``."""
    scales = g.constant(f"{scope}.scales", np.array([1, 1, 2, 2], np.float32))
    return torch.op(
        g,
        "Resize",
        [x, Tensor("", np.empty(0, np.float32)), scales],
        scope,
        coordinate_transformation_mode="asymmetric",
        cubic_coeff_a=-0.75,
        mode="nearest",
        nearest_mode="floor",
    )
