"""TC-ResNet8 (Choi et al., "Temporal Convolution", Interspeech 2019), binarized: keyword spotting.

The input is 40 cepstral coefficients of each moment, which are the channels of one-dimensional
convolutions over time. A block has two of nine taps; where it halves the time, the shortcut has a
1-tap convolution. All but the first and the last layer are binarized, ``conv(sign(x))``.
"""

from __future__ import annotations

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch

OPSET = 14
COEFFICIENTS = 40
STEM = 16
BLOCKS = (24, 32, 48)
TAPS = 9


def tcresnet8(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, 40, T] -> [B, classes]."""
    x = torch.float_conv(g, g.input, layers.scaled_by(STEM, width, 4), 3, "conv0", pad=1)
    for index, planes in enumerate(BLOCKS):
        x = _block(g, x, layers.scaled_by(planes, width, 4), f"blocks.{index}")
    return torch.classifier(g, x, classes)


def _block(g: GraphBuilder, x: Tensor, channels: int, scope: str) -> Tensor:
    bits = torch.sign(g, x, f"{scope}.act1")
    shortcut = _unit(g, bits, channels, 1, 2, f"{scope}.shortcut", f"{scope}.bn_shortcut")
    y = _unit(g, bits, channels, TAPS, 2, f"{scope}.conv1", f"{scope}.bn1")
    y = torch.sign(g, torch.prelu(g, y, f"{scope}.prelu1"), f"{scope}.act2")
    y = _unit(g, y, channels, TAPS, 1, f"{scope}.conv2", f"{scope}.bn2")
    return torch.prelu(g, torch.op(g, "Add", [y, shortcut], scope), f"{scope}.prelu2")


def _unit(
    g: GraphBuilder, bits: Tensor, channels: int, taps: int, stride: int, scope: str, norm: str
) -> Tensor:
    weight = torch.scaled_signs(g, (channels, bits.channels, taps))
    y = torch.conv(g, bits, weight, scope, stride=stride, pad=taps // 2)
    return torch.batch_norm(g, y, norm)
