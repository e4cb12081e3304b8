"""Real-to-Binary (Martinez et al., ICLR 2020), as Larq Zoo defines it: a ResNet-18 of 16 binary
convolutions, each with a shortcut of its own.

The result of a convolution is scaled by a gate that reads its input before the sign, as in squeeze
and excitation: mean, dense, relu, dense, sigmoid. The gate has the layout [B, 1, 1, C], and so
everything behind it is [B, H, W, C] up to the next batch normalization. Keras's PReLU comes out as
``relu(x) + (-slope)·relu(-x)``.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import larq

STAGES = (64, 128, 256, 512)
BLOCKS = 2
"""Of each stage, with two convolutions each."""
REDUCTION = 8
"""The gate's dense layers have so many times fewer features between them."""
NET = "r2b_bnn"


def realtobinary(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, H, W, 3] -> [B, classes]."""
    name = f"{NET}/block_1"
    first = layers.scaled_by(STAGES[0], width, 8)
    x = larq.conv(g, larq.image(g), first, 7, f"{name}_conv2d", stride=2, fold={})
    x = larq.max_pool(g, larq.relu(g, x, f"{name}_relu"), 3, 2, f"{name}_pool", "same")
    x = _turned(g, x, f"{name}_pool/Transpose__1", larq.TO_NHWC)
    block = 2
    for stage, planes in enumerate(STAGES):
        for index in range(BLOCKS):
            for half in "ab":
                halves = bool(stage) and not index and half == "a"
                channels = planes // STAGES[0] * first
                x = _half(g, x, channels, f"{NET}/block_{block}{half}", halves)
            block += 1
    x = _turned(g, x, f"{NET}/block_10/Transpose__1", larq.TO_NCHW)
    return larq.classifier(g, x, classes, f"{NET}/block_10")


def _turned(g: GraphBuilder, x: Tensor, name: str, perm: list[int]) -> Tensor:
    return g.op("Transpose", [x], name, perm=perm)


def _half(g: GraphBuilder, x: Tensor, channels: int, name: str, halves: bool) -> Tensor:
    """``shortcut(x) + prelu(gate·conv(sign(bn(x))))``, all of [B, H, W, C]."""
    image = _turned(g, x, f"{name}_batch_norm/Transpose__1", larq.TO_NCHW)
    normal = larq.batch_norm(g, image, f"{name}_batch_norm")
    bits = larq.sign(g, normal, f"{name}_conv2d/ste_sign")
    stride = 2 if halves else 1
    y = larq.conv(g, bits, channels, 3, f"{name}_conv2d", stride=stride, binary=True)
    y = _turned(g, y, f"{name}_conv2d/Transpose__3", larq.TO_NHWC)
    gate = _gate(g, normal, channels, name)
    y = g.op("Mul", [y, gate], f"{name}_scaling_multiplication/mul")
    shortcut = x
    if halves:
        pool = f"{name}_shortcut_pool/AvgPool"
        pooled = g.op("AveragePool", [image], pool, **larq.window(image, 2, 2, "valid"))
        shortcut = larq.conv(g, pooled, channels, 1, f"{name}_shortcut_conv2d", fold={})
        shortcut = _turned(g, shortcut, f"{name}_shortcut_conv2d/Transpose__1", larq.TO_NHWC)
    return g.op("Add", [_prelu(g, y, f"{name}_prelu"), shortcut], f"{name}_skip_add/add")


def _gate(g: GraphBuilder, normal: Tensor, channels: int, name: str) -> Tensor:
    """Factors [B, 1, 1, channels] between 0 and 1, of [B, C, H, W]."""
    z = g.op("ReduceMean", [normal], f"{name}_scaling_pool/Mean", axes=[2, 3], keepdims=0)
    inner = max(1, normal.channels // REDUCTION)
    z = larq.mat_mul(g, z, inner, f"{name}_scaling_dense_reduce")
    z = larq.relu(g, z, f"{name}_scaling_dense_reduce")
    z = larq.mat_mul(g, z, channels, f"{name}_scaling_dense_expand")
    z = g.op("Sigmoid", [z], f"{name}_scaling_dense_expand/Sigmoid")
    shape = g.constant(f"{name}_scaling_reshape/shape", np.array([-1, 1, 1, channels], np.int64))
    return g.op("Reshape", [z, shape], f"{name}_scaling_reshape/Reshape")


def _prelu(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    slope = g.rng.uniform(0.1, 0.4, (1, 1, x.value.shape[-1])).astype(np.float32)
    below = g.op("Neg", [x], f"{name}/Neg_1")
    below = g.op("Relu", [below], f"{name}/Relu_1")
    below = g.op("Mul", [g.constant(f"{name}/Neg:0", -slope), below], f"{name}/mul")
    return g.op("Add", [larq.relu(g, x, name), below], f"{name}/add")
