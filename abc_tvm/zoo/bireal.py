"""Bi-Real-18 (Liu et al., "Bi-Real Net", ECCV 2018).

Every 3×3 convolution has a shortcut of its own: ``out = shortcut + bn(conv(sign(x)))``, so the
real values travel past each binarization. Weights are α_o·sign(W), where α_o is the mean of |W|
over output channel o, and are spelled so: an int8 initializer, Cast, Mul, and then the Conv. Where
the shape changes, the shortcut is average pooling, a float 1×1 convolution and a batch
normalization.

One order differs from the authors': the stem pools before it normalizes, as ABC-Net does. With
random weights the maximum of nine normalized values would be almost always positive, and the
first Sign nearly constant.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.resnet import PLANS, blocks, stem


def bireal18(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> "output" [B, classes].

    H and W are multiples of 32, so that pooling and strided convolution give the same size.
    """
    plan = PLANS["resnet18"]
    x = layers.batch_norm(g, stem(g, plan, width), "stem.bn")
    for block in blocks(plan, width):
        for index, (channels, _, stride) in enumerate(block.convs, start=1):
            x = _unit(g, x, channels, stride, f"{block.name}.{index}")
    return layers.classifier(g, x, classes)


def _unit(g: GraphBuilder, x: Tensor, channels: int, stride: int, name: str) -> Tensor:
    shortcut = x
    if stride != 1:
        pooled = g.op("AveragePool", [x], f"{name}.shortcut.pool", **layers.window(2, 2))
        shortcut = layers.conv(g, pooled, channels, f"{name}.shortcut.conv", 1)
        shortcut = layers.batch_norm(g, shortcut, f"{name}.shortcut.bn")
    sign = g.op("Sign", [x], f"{name}.sign")
    main = g.op(
        "Conv",
        [sign, _scaled_signs(g, x, channels, f"{name}.conv")],
        f"{name}.conv",
        **layers.window(3, stride, 1),
    )
    return g.op("Add", [shortcut, layers.batch_norm(g, main, f"{name}.bn")], name)


def _scaled_signs(g: GraphBuilder, x: Tensor, channels: int, name: str) -> Tensor:
    """Add 3×3 weights α_o·sign(W), [channels, C, 3, 3] (XNOR-Net, ECCV 2016, section 3.1)."""
    real = layers.he_normal(g, (channels, x.channels, 3, 3), x.channels * 9)
    alpha = np.abs(real).mean(axis=(1, 2, 3), keepdims=True)
    signs = g.constant(f"{name}.int8", np.where(real >= 0, 1, -1).astype(np.int8))
    basis = g.op("Cast", [signs], f"{name}.sign", to=TensorProto.FLOAT)
    return g.op("Mul", [basis, g.constant(f"{name}.alpha", alpha)], f"{name}.weight")
