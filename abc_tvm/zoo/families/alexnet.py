"""Two AlexNets as Larq Zoo defines them: Binary AlexNet and DoReFa-Net.

They are of Hubara et al., "Binarized Neural Networks", NIPS 2016, and Zhou et al., 2016.

Both have dense layers that hold most of the weights. The first layer of Binary AlexNet has ±1
weights on a float image. DoReFa's activations have two bits, ``round(3·clip(x, 0, 1)) / 3``, which
come out as Min, Max, Mul, Round, Mul; its weights are ±1 with one scale for a layer, which ends in
the batch normalization that is folded into them. Of these five the transposition passes the first
three only.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import larq

DENSE = 4096
STEPS = 3
"""Levels of DoReFa's activations above 0: two bits."""


def binary_alexnet(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add Binary AlexNet: "input" [B, H, W, 3] -> [B, classes]."""
    net = "binary_alexnet"
    x = larq.image(g)
    plan = ((64, 11, True), (192, 5, True), (384, 3, False), (384, 3, False), (256, 3, True))
    for index, (channels, kernel, pooled) in enumerate(plan):
        name = f"{net}/quant_conv2d_{index}"
        if index:
            x = larq.sign(g, x, f"{name}/ste_sign")
        x = larq.conv(
            g,
            x,
            layers.scaled_by(channels, width, 8),
            kernel,
            name,
            stride=1 if index else 4,
            binary=True,
            low=bool(index),
            fold=None if pooled else {"scale": False},
        )
        if pooled:
            x = larq.max_pool(g, x, 3, 2, f"{net}/max_pooling2d_{index}")
            x = larq.batch_norm(g, x, f"{name}_bn")
    x = larq.flatten(g, x, f"{net}/flatten")
    dense = layers.scaled_by(DENSE, width, 8)
    for index, features in enumerate((dense, dense, classes)):
        name = f"{net}/quant_dense_{index}"
        x = larq.quantizer(g, x, f"{name}/ste_sign")
        x = larq.mat_mul(g, x, features, name, binary=True)
        x = larq.dense_norm(g, x, f"{name}_bn/batchnorm", scale=False)
    return g.op("Softmax", [x], "softmax", axis=1)


def dorefa_alexnet(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add DoReFa-Net of (W, A) = (1, 2) bits: "input" [B, H, W, 3] -> [B, classes]."""
    net = "dorefanet"
    first = layers.scaled_by(96, width, 8)
    name = f"{net}/conv2d"
    x = larq.conv(g, larq.image(g), first, 12, name, stride=4, padding="valid", fold={})
    plan = ((256, 5, "same"), (384, 3, "same"), (384, 3, ""), (256, 3, "valid"))
    for index, (channels, kernel, pooled) in enumerate(plan):
        name = f"{net}/quant_conv2d_{index}"
        x = _levels(g, x, f"{name}/do_re_fa", image=True)
        features = layers.scaled_by(channels, width, 8)
        norm = {"epsilon": 1e-4, "scale": False}
        x = larq.conv(g, x, features, kernel, name, binary=True, fold=norm)
        if pooled:
            x = larq.max_pool(g, x, 3, 2, f"{net}/max_pooling2d_{index}", pooled)
    x = larq.flatten(g, x, f"{net}/flatten")
    for index in range(2):
        name = f"{net}/quant_dense_{index}"
        x = _levels(g, x, f"{name}/do_re_fa", image=False)
        x = larq.mat_mul(g, x, layers.scaled_by(DENSE, width, 8), name, binary=True)
        x = larq.dense_norm(g, x, f"{name}_bn/batchnorm", epsilon=1e-4, scale=False)
    last = larq.relu if g.real else _clipped
    x = last(g, x, f"{net}/activation")
    return g.op("Softmax", [larq.dense(g, x, classes, f"{net}/dense")], "softmax", axis=1)


def _clipped(g: GraphBuilder, x: Tensor, name: str) -> Tensor:
    below = g.op("Min", [x, g.scalar(1.0)], f"{name}/clip_by_value/Minimum")
    return g.op("Max", [below, g.scalar(0.0)], f"{name}/clip_by_value")


def _levels(g: GraphBuilder, x: Tensor, name: str, image: bool) -> Tensor:
    """The quantizer; ``image`` says that x is [B, C, H, W]. In a float twin it is a Relu."""
    if g.real:
        return larq.relu(g, x, name)
    x = g.op("Mul", [_clipped(g, x, name), g.scalar(float(STEPS))], f"{name}/mul")
    if image:
        x = g.op("Transpose", [x], f"{name}/Transpose__1", perm=larq.TO_NHWC)
    x = g.op("Round", [x], f"{name}/Round")
    share = g.constant(f"ConstantFolding/{name}/truediv_recip:0", np.array(1 / STEPS, np.float32))
    x = g.op("Mul", [x, share], f"{name}/truediv")
    return g.op("Transpose", [x], f"{name}/Transpose__2", perm=larq.TO_NCHW) if image else x
