"""Per-channel step functions: thresholds, levels, and in which sense a channel takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.rewrite import array_of, op_name

MAX_THRESHOLDS = 255
"""More thresholds a channel than this is no step function (8-bit quantisation has 255)."""

MOST_THRESHOLDS = 1 << 25
"""Of all channels of a step: 128 MB."""


class NotAStep(UnsupportedError):
    """The chain is no per-channel step function; the message says why."""


@dataclass(frozen=True)
class StepFunction:
    """``N`` thresholds and ``N + 1`` levels a channel.

    ``value = levels[q]`` with ``q`` the number of thresholds ``t`` of the channel with
    ``x >= t``, counted from the other end (``N - q``) where ``sense`` is -1.

    ``thresholds`` float32 ``[N, C]`` ascending along N (``+inf``: never, ``-inf``: always);
    ``sense`` int8 ``[C]``; ``levels`` float32 ``[N + 1]``.
    """

    thresholds: np.ndarray
    sense: np.ndarray
    levels: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """NumPy meaning: ``x`` float32 ``[..., C]``."""
        n = len(self.thresholds)
        q = np.zeros(x.shape, np.int64)
        for t in self.thresholds:
            q += x >= t
        return np.asarray(self.levels[np.where(self.sense > 0, q, n - q)])

    @property
    def rising(self) -> bool:
        """Whether levels rise with the index, so that max-pooling keeps the highest index."""
        return bool(np.all(self.levels[1:] > self.levels[:-1]))


def steps_of(call: relax.Call) -> StepFunction:
    """The step function of an ``abc.step`` or ``abc.count_step`` (its float thresholds)."""
    place = (4, 2, 3) if op_name(call) == "abc.count_step" else (1, 2, 3)
    thresholds, sense, levels = (array_of(call.args[i]) for i in place)
    return StepFunction(thresholds, sense, levels)
