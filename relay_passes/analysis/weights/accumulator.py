"""When a convolution's value is a function of one integer per output channel.

With weights ``a_oc * z_m`` and levels ``u * z_q`` (``z`` integers) the convolution is
``f32(a_oc * u) * D`` with an integer ``D``: accumulation is exact, and thresholds on it are
integers. Every network with one weight base and one activation base is of this kind, and so are
k-bit networks, and ABC networks trained on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.padding import pads_levels, unpadded
from abc_tvm.relay_passes.analysis.rounding import is_same
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import Definitions, array_of, op_name

MAX_SUM = 2**29
"""Sums are 32-bit, and so are their parts and the limits that they are compared with."""


@dataclass(frozen=True)
class Accumulator:
    """``value = scale[oc] * D``.

    ``scale`` float32 ``[OC]``; ``weight`` int ``[M, OC]`` and ``level`` int ``[N + 1]`` are the
    integer multiples; ``bound`` int64 ``[OC]`` is the largest ``|D|``; ``even`` says that all
    reachable ``D`` have the parity of ``bound``.
    """

    scale: np.ndarray
    weight: np.ndarray
    level: np.ndarray
    bound: np.ndarray
    even: bool

    def value(self, count: np.ndarray) -> np.ndarray:
        """float32 value of the graph's convolution at accumulator ``count [..., OC]``."""
        return np.asarray(count.astype(np.float32) * self.scale)

    def threshold(self, t: np.ndarray) -> np.ndarray:
        """Smallest integer ``D`` per channel with ``value(D) >= t``; int64, clipped to reach.

        ``t`` float32 ``[OC]``. Exact: found by evaluating :meth:`value` on both sides.
        """
        low = -self.bound - 1
        high = self.bound + 1
        low, high = low.copy(), high.copy()
        while np.any(high - low > 1):
            middle = (low + high) // 2
            open_ = high - low > 1
            holds = self.value(middle) >= t
            high = np.where(open_ & holds, middle, high)
            low = np.where(open_ & ~holds, middle, low)
        return high


def accumulator(
    planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, padded: bool
) -> Accumulator | None:
    """The integer form of a convolution, or ``None`` where it has none."""
    coded = integer_multiples(levels)
    if coded is None or (len(alpha) == 1 and np.any(alpha < 0)):
        return None
    unit, level = coded
    if len(alpha) == 1:
        weight, base = np.ones(alpha.shape, np.int64), alpha[0].astype(np.float64)
    else:
        scales = _channel_multiples(alpha)
        if scales is None:
            return None
        base, weight = scales
    taps = int(np.prod(planes.shape[2:]))
    bound = taps * np.abs(weight).sum(0) * int(np.abs(level).max())
    if bound.max(initial=0) > MAX_SUM:
        return None
    odd = bool(np.all(level % 2 != 0)) and len(weight) == 1 and not padded
    scale = (base * unit).astype(np.float32)
    return Accumulator(scale, weight, level, bound.astype(np.int64), odd)


def integer_form(call: relax.Expr, defined: Definitions) -> Accumulator | None:
    """That of an ``abc.bconv2d`` which reads an ``abc.step``, a max-pool of one, or a move of such.

    Any may be padded by a level, which makes no other sums than levels do; steps that are moved
    together have their levels in common, and what a move fills with is one of them.
    ``defined``: the bindings around it. ``None`` for any other call, and for none.
    """
    if op_name(call) != "abc.bconv2d":
        return None
    data, pad = unpadded(call.args[0], defined)
    source: relax.Expr = defined.get(data)
    if op_name(source) == "abc.move":
        source = defined.get(source.args[0])
    if op_name(source) == "nn.max_pool2d":
        source = defined.get(source.args[0])
    if op_name(source) != "abc.step" or (pad is not None and not pads_levels(pad, source)):
        return None
    planes, alpha, levels = (array_of(a) for a in (call.args[1], call.args[2], source.args[3]))
    return accumulator(planes, alpha, levels, any(conv_window(call).padding))


def _channel_multiples(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """``(unit [OC], integers [M, OC])`` of scales ``alpha [M, OC]``, each channel by itself.

    Channels whose scales are in one proportion get the same integers.
    """
    sizes = np.abs(alpha).max(0).astype(np.float64)
    shapes = alpha.astype(np.float64) / np.where(sizes > 0, sizes, 1)
    unit, whole = np.empty(alpha.shape[1]), np.zeros(alpha.shape, np.int64)
    left = np.arange(alpha.shape[1])
    while len(left):
        first = alpha[:, left[0]]
        multiples = integer_multiples(first)
        if multiples is None and np.any(first):
            return None
        alike = np.all(is_same(shapes[:, left], shapes[:, left[:1]], 1.0), axis=0)
        same = left[alike]
        one = 1 / np.abs(multiples[1]).max() if multiples else 1.0
        unit[same] = sizes[same] * one
        whole[:, same] = multiples[1][:, None] if multiples else 0
        left = left[~alike]
    return unit, whole
