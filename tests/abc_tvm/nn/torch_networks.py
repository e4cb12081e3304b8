"""Ordinary float networks, as people write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """The block of torchvision's ResNet-18: the sum is rectified, then both ways read it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """torchvision's ResNet with basic blocks; ``blocks=(2, 2, 2, 2)`` is ResNet-18."""

    def __init__(self, blocks: tuple[int, ...] = (2, 2, 2, 2), width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        self.stages = len(blocks)
        for index, count in enumerate(blocks):
            layers = []
            for block in range(count):
                stride = 2 if index and not block else 1
                layers.append(BasicBlock(channels, width << index, stride))
                channels = width << index
            setattr(self, f"layer{index + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(self.stages):
            x = getattr(self, f"layer{index + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class PreActivation(nn.Module):
    """One block in pre-activation order; main path and shortcut read the same rectified tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 16, 3, 2, 1)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, 1, 1)
        self.shortcut = nn.Conv2d(8, 16, 1, 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.stem(x)))
        x = self.conv2(F.relu(self.bn2(self.conv1(h)))) + self.shortcut(h)
        return self.fc(x.mean((2, 3)))


def lenet(norm: bool = True) -> nn.Module:
    """Convolution, BN, ReLU, max-pool, twice, and two dense layers."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        norms = [nn.BatchNorm2d(outputs)] if norm else []
        return [nn.Conv2d(inputs, outputs, 5), *norms, nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        *block(1, 6), *block(6, 16),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics as training leaves them: γ of both signs, means that are not 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.copy_(1 + 0.3 * draw(module.weight))
                module.weight[:: max(1, len(module.weight) // 5)] *= -1
                module.bias.copy_(0.3 * draw(module.bias))
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.copy_(0.3 * draw(module.running_mean))
                module.running_var.copy_(1 + 0.3 * draw(module.running_var).abs())
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(draw(module.weight) * (2 / module.weight[0].numel()) ** 0.5)
    return network
