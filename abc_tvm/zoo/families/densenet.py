"""BinaryDenseNet28 (Bethge et al., "Back to Simplicity", 2019), as Larq Zoo defines it.

A layer adds 64 channels to what it reads, ``[x, conv(sign(bn(x)))]``. Between the four blocks a
float transition: max-pool, relu, 1×1 convolution to fewer channels.
"""

from __future__ import annotations

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import larq

EPSILON = 1e-5
GROWTH = 64
LAYERS = (6, 6, 6, 5)
"""Of each block."""
REDUCTION = (2.7, 2.7, 2.2)
"""By which a transition divides the channels, before it rounds them to half a growth."""
NET = "binary_densenet28"


def densenet28(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, H, W, 3] -> [B, classes]."""
    growth = layers.scaled_by(GROWTH, width, 8)
    name = f"{NET}/conv2d"
    x = larq.conv(g, larq.image(g), growth, 7, name, stride=2, fold={"epsilon": EPSILON})
    x = larq.max_pool(g, larq.relu(g, x, f"{NET}/activation"), 3, 2, f"{NET}/max_pooling2d", "same")
    count = 0
    for block, depth in enumerate(LAYERS):
        if block:
            half = growth // 2
            channels = max(1, round(x.channels // REDUCTION[block - 1] / half)) * half
            x = _transition(g, x, channels, block)
        for _ in range(depth):
            x = _layer(g, x, growth, count)
            count += 1
    x = larq.batch_norm(g, x, f"{NET}/last_bn", EPSILON)
    return larq.classifier(g, larq.relu(g, x, f"{NET}/last"), classes, NET)


def _layer(g: GraphBuilder, x: Tensor, growth: int, count: int) -> Tensor:
    name = f"{NET}/quant_conv2d_{count}"
    bits = larq.sign(g, larq.batch_norm(g, x, f"{name}_bn", EPSILON), f"{name}/ste_sign")
    new = larq.conv(g, bits, growth, 3, name, binary=True)
    return g.op("Concat", [x, new], f"{NET}/concatenate_{count}/concat", axis=1)


def _transition(g: GraphBuilder, x: Tensor, channels: int, block: int) -> Tensor:
    name = f"{NET}/t{block}"
    x = larq.max_pool(g, larq.batch_norm(g, x, f"{name}/bn", EPSILON), 2, 2, name)
    return larq.conv(g, larq.relu(g, x, name), channels, 1, f"{name}/conv2d")
