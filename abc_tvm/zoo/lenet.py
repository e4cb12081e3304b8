"""LeNet for one-channel digits, binarized inside and in float.

The ABC form keeps the paper's layer order (convolution, pooling, batch normalization, step) and
its float first and last layer. Its convolution has no padding and its dense layer no spatial
extent, so it is the smallest network with both kinds of binarized layer.
"""

from __future__ import annotations

from abc_tvm.zoo import abc_conv, layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor

CHANNELS = (20, 50, 500)


def abc_lenet(g: GraphBuilder, *, M: int, N: int, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 1, H, W] -> "output" [B, classes]."""
    first, second, hidden = (layers.scaled(channels, width) for channels in CHANNELS)
    x = layers.conv(g, g.input, first, "conv1", 5)
    x = layers.max_pool(g, x, "pool1", 2, 2)
    x = layers.batch_norm(g, x, "bn1")
    x = abc_conv.conv(g, abc_conv.binarize(g, x, N, "bin1"), second, M, "conv2", 5)
    x = layers.max_pool(g, x, "pool2", 2, 2)
    x = layers.batch_norm(g, x, "bn2")
    x = g.op("Flatten", [x], "flatten")
    x = abc_conv.dense(g, abc_conv.binarize(g, x, N, "bin2"), hidden, M, "fc1")
    x = layers.batch_norm(g, x, "bn3")
    return layers.dense(g, x, classes, "output")


def float_lenet(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the same layers in float, each convolution with batch normalization and ReLU."""
    x = g.input
    *convs, hidden = (layers.scaled(channels, width) for channels in CHANNELS)
    for index, channels in enumerate(convs, start=1):
        x = layers.conv(g, x, channels, f"conv{index}", 5)
        x = g.op("Relu", [layers.batch_norm(g, x, f"bn{index}")], f"relu{index}")
        x = layers.max_pool(g, x, f"pool{index}", 2, 2)
    x = layers.dense(g, g.op("Flatten", [x], "flatten"), hidden, "fc1")
    x = g.op("Relu", [layers.batch_norm(g, x, "bn3")], "relu3")
    return layers.dense(g, x, classes, "output")
