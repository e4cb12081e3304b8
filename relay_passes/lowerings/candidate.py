"""A recognised layer as lowerings are asked about it, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tvm import relax

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.analysis.steps.even_steps import MANY, even_steps
from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.analysis.weights.planes_code import Code, best_code
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import array_of, shape_of
from abc_tvm.targets import Device

HINT = 0.8
"""A row mentions a lowering that is refused where it takes less than this of the others' time."""

MOST_TAPS = 64
"""Taps of a depthwise convolution that a kernel writes out one by one."""

DEPTHWISE = 8.0
"""What a depthwise convolution on bits or bytes costs more than its planes say: kernels of these
have one channel in a vector of outputs, the float kernel one in each lane. Of 128 channels of 28x28
bits take 8, bytes 11 times the time of float (measured on x86)."""


def is_depthwise(window: Window) -> bool:
    """Whether every channel is convolved with few taps of its own."""
    taps = window.kernel[0] * window.kernel[1]
    alone = window.groups == window.in_channels == window.out_channels
    return alone and window.groups > 1 and taps <= MOST_TAPS


class Candidate:
    """One ``abc.bconv2d`` and the step function that it reads, on a device.

    ``N``: activation bases, as its row has them. ``allowed``: what rounding may change a sum by,
    relative to its largest value; ``None`` where rounding was not allowed at all.
    """

    def __init__(
        self,
        call: relax.Call,
        steps: StepFunction,
        device: Device,
        N: int | None = None,
        allowed: float | None = None,
    ) -> None:
        self.call, self.steps, self.device = call, steps, device
        self.N, self.allowed = N, allowed
        self.window: Window = conv_window(call)
        self.M = int(shape_of(call.args[1])[0])

    @cached_property
    def planes(self) -> np.ndarray:
        """int8 ±1 ``[M, OC, KH, KW, IC/g]``."""
        return array_of(self.call.args[1])

    @cached_property
    def alpha(self) -> np.ndarray:
        """float32 ``[M, OC]``."""
        return array_of(self.call.args[2])

    @cached_property
    def code(self) -> Code:
        """How the index of the step is written in the fewest planes."""
        return best_code(self.steps.levels)

    @property
    def pairs(self) -> int:
        """Pairs of planes, of weights and of activations."""
        return self.M * self.code.planes

    @property
    def slower(self) -> float:
        """By how much kernels of bits and bytes are slower here than their cost says."""
        return DEPTHWISE if is_depthwise(self.window) else 1.0

    @cached_property
    def comparisons(self) -> int:
        """What its thresholds cost for each input: as many comparisons as there are, or fewer."""
        count = len(self.steps.thresholds)
        if even_steps(self.steps.thresholds) is not None:
            return min(count, MANY)  # what counting them costs, however many they are
        return count

    @property
    def compared(self) -> float:
        """Comparisons with thresholds for each multiply-accumulate."""
        window = self.window
        inputs = window.height * window.width * window.in_channels
        return self.comparisons * inputs / max(window.macs, 1)


MOST_PLANES = 8
"""Of weights on bits: what needs more (8-bit weights) is for bytes, or float."""


@dataclass(frozen=True)
class Moved:
    """``alpha`` float32 ``[M, OC]`` and ``levels`` float32 ``[N + 1]`` in the place of a layer's.

    ``error`` bounds what that changes a sum by, relative to the largest that it can be.
    """

    alpha: np.ndarray
    levels: np.ndarray
    error: float


@dataclass(frozen=True)
class Offer:
    """What a layer takes in one lowering: ``cost`` as a part of its time in float.

    ``dearer``: what a user reads where float is quicker. ``refused``: why it may not be taken,
    though it could be; empty where it may. ``moved``: the values that it needs.
    """

    cost: float
    dearer: str = ""
    refused: str = ""
    moved: Moved | None = None


@dataclass(frozen=True)
class Outcome:
    """What a layer's row says of the lowering that was taken."""

    reason: str
    weight_bytes: int
    error_bound: float | None = None
