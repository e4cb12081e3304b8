"""Windows of poolings of bits and codes, for the tests of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import pooled

SIZE = 6


@dataclass
class PoolCase:
    """``index`` int ``[2, 6, 6, C]`` of a step of ``n`` thresholds, and what pooling it gives.

    ``turned`` bool ``[C]``: the channels in which the pooled index is counted from the other end.
    """

    channels: int
    groups: int = 1
    n: int = 3
    kernel: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    turns: bool = True

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.channels)
        self.index = rng.integers(0, self.n + 1, (2, SIZE, SIZE, self.channels))
        # Most places hold 0, or the largest index would stand in every window.
        self.index[rng.random(self.index.shape) < 0.6] = 0
        self.turned = (rng.random(self.channels) < 0.5) & self.turns
        geometry = (self.kernel, self.strides, self.padding, self.dilation)
        window = Window(2, SIZE, SIZE, self.channels, self.channels, *geometry)
        largest = pooled(self.index, window).astype(np.int64)
        self.wanted = np.where(self.turned, self.n - largest, largest)

    def call(self, name: str, shape: tuple[int, ...], dtype: str, **attrs: Any) -> relax.Call:
        """The pooling of a tensor ``[n, 6, 6, *shape]``, the batch open."""
        x = relax.Var("x", relax.TensorType([tirx.Var("n", "int64"), SIZE, SIZE, *shape], dtype))
        window = {
            "kernel": [*self.kernel], "strides": [*self.strides], "padding": [*self.padding],
            "dilation": [*self.dilation], "groups": 1,
            "in_channels": self.channels, "out_channels": self.channels,
        }  # fmt: skip
        return make(name, [x, const(self.turned.astype(np.int8))], **window, **attrs)


CASES: dict[str, PoolCase] = {
    "one channel": PoolCase(1),
    "31 channels, one threshold": PoolCase(31, n=1, padding=(1, 0, 1, 0)),
    "32 channels": PoolCase(32, n=2, kernel=(3, 2), strides=(1, 3)),
    "33 channels, padded": PoolCase(33, kernel=(3, 3), padding=(1, 1, 2, 1)),
    "none turned": PoolCase(33, turns=False, padding=(0, 1, 0, 0)),
    "groups": PoolCase(66, groups=2, n=2, kernel=(1, 3), strides=(1, 1)),
    "dilated": PoolCase(5, dilation=(3, 2), padding=(1, 1, 1, 1)),
}
