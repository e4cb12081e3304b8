"""The float networks that ``accuracy.py`` trains first and binarizes then."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESNET_CHANNELS = (24, 48, 96)


def lenet() -> nn.Module:
    """LeNet for 28×28 digits, each layer in the paper's order: convolution, pooling, BN, ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.BatchNorm2d(20), nn.ReLU(),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.BatchNorm2d(50), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(800, 200), nn.BatchNorm1d(200), nn.ReLU(),
        nn.Linear(200, 10),
    )  # fmt: skip


class PreactivationBlock(nn.Module):
    """Pre-activation block: ``shortcut(h) + conv2(relu(bn2(conv1(h))))``, ``h = relu(bn1(x))``."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``."""
        h = F.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(h)
        return kept + self.conv2(F.relu(self.bn2(self.conv1(h))))


def resnet() -> nn.Module:
    """A residual network of three blocks for 28×28 images."""
    first, *_, last = RESNET_CHANNELS
    blocks = [PreactivationBlock(first, first, 1)]
    for inputs, outputs in itertools.pairwise(RESNET_CHANNELS):
        blocks.append(PreactivationBlock(inputs, outputs, 2))
    return nn.Sequential(
        nn.Conv2d(1, first, 3, 2, 1, bias=False),
        *blocks,
        nn.BatchNorm2d(last), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10),
    )  # fmt: skip


NETWORKS = {"mnist": lenet, "fashion": resnet}


def normalise(images: Tensor) -> Tensor:
    """uint8 ``[B, 28, 28]`` to float32 ``[B, 1, 28, 28]`` in −1 … 1, which is the input."""
    return images[:, None].to(torch.float32) / 127.5 - 1
