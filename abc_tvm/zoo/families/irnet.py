"""ResNet-20 of IR-Net (Qin et al., "Forward and Backward Information Retention", CVPR 2020).

Weights are standardised, their signs times a power of two for each output channel; the exporter
folds the former and leaves Sign and Mul in the graph. Every convolution has a shortcut, and a
HardTanh, which exports as Clip, stands before each sign. Where the shape changes, the shortcut
takes every second pixel and pads channels with zeros.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch

OPSET = 13
STAGES = (16, 32, 64)
BLOCKS = 3
"""Of each stage, with two convolutions each."""
END = np.iinfo(np.int64).max


def irnet20(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> [B, classes]."""
    first = layers.scaled_by(STAGES[0], width, 4)
    x = torch.float_conv(g, g.input, first, 3, "conv1", pad=1)
    x = _hard_tanh(g, x, "")
    for stage, planes in enumerate(STAGES):
        channels = planes // STAGES[0] * first
        for index in range(BLOCKS):
            scope = f"layer{stage + 1}.{index}"
            x = _block(g, x, channels, 2 if stage and not index else 1, scope)
    whole = {"kernel_shape": list(x.value.shape[2:]), "strides": list(x.value.shape[2:])}
    x = g.op("AveragePool", [x], "/AveragePool", **whole)
    x = torch.batch_norm(g, _flat(g, x), "bn2")
    return torch.linear(g, x, classes, "linear")


def _block(g: GraphBuilder, x: Tensor, channels: int, stride: int, scope: str) -> Tensor:
    shortcut = x if stride == 1 else _shortcut(g, x, channels, f"{scope}.shortcut")
    y = torch.batch_norm(g, _conv(g, x, channels, stride, f"{scope}.conv1"), f"{scope}.bn1")
    x = _hard_tanh(g, g.op("Add", [y, shortcut], f"/{_path(scope)}Add"), scope)
    y = torch.batch_norm(g, _conv(g, x, channels, 1, f"{scope}.conv2"), f"{scope}.bn2")
    return _hard_tanh(g, g.op("Add", [y, x], f"/{_path(scope)}Add_1"), scope, "_1")


def _path(scope: str) -> str:
    return f"{scope.replace('.', '/')}/" if scope else ""


def _hard_tanh(g: GraphBuilder, x: Tensor, scope: str, number: str = "") -> Tensor:
    return g.op("Clip", [x, g.scalar(-1.0), g.scalar(1.0)], f"/{_path(scope)}Clip{number}")


def _shortcut(g: GraphBuilder, x: Tensor, channels: int, scope: str) -> Tensor:
    for number, axis in (("", 2), ("_1", 3)):
        bounds = [
            torch.integers(g, f"{scope}.{key}{number}", value)
            for key, value in (("starts", 0), ("ends", END), ("axes", axis), ("steps", 2))
        ]
        x = g.op("Slice", [x, *bounds], f"/{_path(scope)}Slice{number}")
    extra = (channels - x.channels) // 2
    pads = torch.integers(g, f"{scope}.pads", 0, extra, 0, 0, 0, extra, 0, 0)
    return torch.op(g, "Pad", [x, pads, g.scalar(0.0)], scope, mode="constant")


def _conv(g: GraphBuilder, x: Tensor, channels: int, stride: int, scope: str) -> Tensor:
    shape = (channels, x.channels, 3, 3)
    real = layers.he_normal(g, shape, x.channels * 9)
    attributes = {**torch.window(3, stride, 1), "dilations": [1, 1], "group": 1}
    if g.real:
        weight = g.constant(f"{scope}.weight", real)
        return torch.op(g, "Conv", [torch.sign(g, x, scope), weight], scope, **attributes)
    axes = (1, 2, 3)
    real = real - real.mean(axis=axes, keepdims=True)
    real = real / real.std(axis=axes, keepdims=True, ddof=1)
    power = np.exp2(np.rint(np.log2(np.abs(real).mean(axis=axes, keepdims=True))))
    signs = torch.op(g, "Sign", [g.constant(f"/{_path(scope)}Div_output_0", real)], scope)
    scale = g.constant(f"/{_path(scope)}Reshape_output_0", power.astype(np.float32))
    weight = torch.op(g, "Mul", [signs, scale], scope)
    bits = g.op("Sign", [x], f"/{_path(scope)}Sign_1")
    g.low.append(torch.node(scope, "Conv"))
    return torch.op(g, "Conv", [bits, weight], scope, **attributes)


def _flat(g: GraphBuilder, x: Tensor) -> Tensor:
    """``x.view(x.size(0), -1)`` of an open batch."""
    shape = g.op("Shape", [x], "/Shape")
    batch = g.op(
        "Gather", [shape, g.constant("/Constant_1", np.array(0, np.int64))], "/Gather", axis=0
    )
    batch = g.op("Unsqueeze", [batch, torch.integers(g, "/Constant_2", 0)], "/Unsqueeze")
    dims = g.op("Concat", [batch, torch.integers(g, "/Constant_3", -1)], "/Concat", axis=0)
    return g.op("Reshape", [x, dims], "/Reshape")
