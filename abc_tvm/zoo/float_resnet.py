"""Residual networks in float: the opponents that the binarized ones are measured against.

The usual post-activation form (He et al., "Deep Residual Learning for Image Recognition", CVPR
2016), stride on the 3×3 convolution of a bottleneck: convolution, batch normalization and ReLU,
all three of which a good float compiler fuses.
"""

from __future__ import annotations

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.resnet import ResidualBlock, ResidualPlan, blocks


def float_resnet(g: GraphBuilder, plan: ResidualPlan, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> "output" [B, classes]."""
    channels = layers.scaled(plan.channels, width)
    kernel, stride = (7, 2) if plan.large_stem else (3, 1)
    x = layers.conv(g, g.input, channels, "stem.conv", kernel, stride, kernel // 2)
    x = g.op("Relu", [layers.batch_norm(g, x, "stem.bn")], "stem.relu")
    if plan.large_stem:
        x = layers.max_pool(g, x, "stem.pool", 3, 2, pad=1)
    for block in blocks(plan, width):
        x = _block(g, x, block)
    return layers.classifier(g, x, classes)


def _block(g: GraphBuilder, x: Tensor, block: ResidualBlock) -> Tensor:
    shortcut, main = x, x
    if block.changes_shape(x):
        name = f"{block.name}.shortcut"
        shortcut = layers.conv(g, x, block.channels, f"{name}.conv", 1, block.stride)
        shortcut = layers.batch_norm(g, shortcut, f"{name}.bn")
    for index, (channels, kernel, stride) in enumerate(block.convs, start=1):
        name = f"{block.name}.conv{index}"
        main = layers.conv(g, main, channels, name, kernel, stride, kernel // 2)
        main = layers.batch_norm(g, main, f"{block.name}.bn{index}")
        if index < len(block.convs):
            main = g.op("Relu", [main], f"{block.name}.relu{index}")
    total = g.op("Add", [shortcut, main], f"{block.name}.add")
    return g.op("Relu", [total], block.name)
