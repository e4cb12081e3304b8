"""What ``benchmarks/cuda.py`` compares with: torch's float16 and int8 on the same GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Timer = Callable[[int], float]


def timed(call: Callable[[], Any]) -> Timer:
    """Seconds of one call, by events on the device, after three untimed calls."""
    for _ in range(3):
        call()

    def timer(number: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(number):
            call()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / number / 1e3

    return timer


def half_convolution(width: int, channels: int, batch: int) -> Timer:
    """A 3x3 float16 convolution by cuDNN, NHWC, its fastest algorithm."""
    torch.backends.cudnn.benchmark = True
    form = {"device": "cuda", "dtype": torch.float16}
    x = torch.randn(batch, channels, width, width, **form)  # type: ignore[call-overload]
    w = torch.randn(channels, channels, 3, 3, **form)  # type: ignore[call-overload]
    x, w = (t.to(memory_format=torch.channels_last) for t in (x, w))
    return timed(lambda: functional.conv2d(x, w, padding=1))


def int8_product(width: int, channels: int, batch: int) -> Timer:
    """The matrix product of that convolution in int8 by cuBLAS, without its im2col."""
    rows = max(32, batch * width * width)
    a = torch.randint(-127, 128, (rows, 9 * channels), device="cuda", dtype=torch.int8)
    b = torch.randint(-127, 128, (channels, 9 * channels), device="cuda", dtype=torch.int8)
    return timed(lambda: torch._int_mm(a, b.t()))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        same = before == after
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(functional.relu(self.first(x)))
        return functional.relu(y + self.shortcut(x))


def half_resnet18(batch: int) -> Timer:
    """ResNet-18 on 224x224 images in float16, NHWC; batch normalisation is in its convolutions."""
    torch.backends.cudnn.benchmark = True
    plan = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    plan += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    network = nn.Sequential(*stem, *(_Block(*row) for row in plan), *head).eval()
    network = network.to("cuda", torch.float16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.float16)
    x = x.to(memory_format=torch.channels_last)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return network(x)  # type: ignore[no-any-return]

    return timed(run)
