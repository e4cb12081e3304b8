"""QuickNet (Bannink et al., "Larq Compute Engine", MLSys 2021), as Larq Zoo defines it.

Sixteen binary 3×3 convolutions, each with a shortcut of its own:
``x + bn(relu(conv(sign(x))))``, padded with +1 (``pad_values=1``), so that the border takes no
correction. Between the four sections a float transition: relu, max-pool, strided blur, 1×1
convolution.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import larq

EPSILON = 1e-5
QUICKNET = (64, 128, 256, 512)
SMALL = (32, 64, 256, 512)
BLOCKS = 4
"""Of each section."""


def quicknet(g: GraphBuilder, *, sections: tuple[int, ...], width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, H, W, 3] -> [B, classes]."""
    x = _stem(g, layers.scaled_by(sections[0], width, 4))
    count = 0
    for section, channels in enumerate(sections):
        if section:
            x = _transition(g, x, layers.scaled_by(channels, width, 4), f"quicknet/t{section}")
        for _ in range(BLOCKS):
            x = _block(g, x, f"quicknet/quant_conv2d_{count}")
            count += 1
    return larq.classifier(g, larq.relu(g, x, "quicknet/final"), classes, "quicknet")


def _stem(g: GraphBuilder, channels: int) -> Tensor:
    norm = {"epsilon": EPSILON}
    x = larq.image(g)
    x = larq.conv(g, x, channels // 4, 3, "quicknet/stem/conv2d", stride=2, fold=norm)
    x = larq.relu(g, x, "quicknet/stem/relu")
    weight = layers.he_normal(g, (x.channels, 1, 3, 3), 9)
    x = larq.depthwise(g, x, weight, "quicknet/stem/depthwise", 2, fold=True)
    return larq.conv(g, x, channels, 1, "quicknet/stem/conv2d_1", fold=norm)


def _block(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    bits = larq.sign(g, x, f"{name}/ste_sign", pad=1)
    y = larq.conv(g, bits, x.channels, 3, name, padding="valid", binary=True)
    y = larq.batch_norm(g, larq.relu(g, y, name), f"{name}_bn", EPSILON)
    return g.op("Add", [y, x], f"{name}/add")


def _transition(g: GraphBuilder, x: Tensor, channels: int, name: str) -> Tensor:
    x = larq.max_pool(g, larq.relu(g, x, name), 2, 1, name)
    row = np.array([1, 2, 1], np.float32) / 4
    blur = np.broadcast_to(np.outer(row, row), (x.channels, 1, 3, 3)).copy()
    x = larq.depthwise(g, x, blur, f"{name}/blurpool", 2)
    return larq.conv(g, x, channels, 1, f"{name}/conv2d", fold={"epsilon": EPSILON})
