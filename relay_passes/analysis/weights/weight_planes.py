"""Constant weights of few values as sums of ±1 planes: ``W = sum_m alpha_m * B_m``.

Recovered from the values alone, so every export of the same layer gives the same planes:

1. Each output channel has one size ``alpha``: one plane, the signs.
2. All channels together have few values: these as signed sums of scales (:mod:`.signed_sums`), the
   same for all channels.
3. Each channel has few values: signed sums of scales of its own; channels of fewer scales than the
   most get scales of 0. Taken where 2 is impossible, or gives more planes for more than 4 values.
4. Some channel has more values, as 8-bit weights have: those of each channel are whole multiples of
   a step of its own. Scales are a half, a half, 1, 2, 4, … steps, which give every whole number up
   to their sum. These are for bytes, which take the planes together again (:mod:`.int8_form`).

Two weights are one value only within their own rounding (see :mod:`.rounding`), and the scales that
are found, as float32, give every weight back so. The scales of a channel are at most
``MAX_SPREAD`` times its smallest weight: beyond that the rounding of their sums would drown it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.analysis.rounding import LARGE, in_range
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples
from abc_tvm.relay_passes.analysis.weights.signed_sums import TOLERANCE, signed_sum

MAX_VALUES = 16
"""More values than this in one output channel are not few."""

LARGEST_WHOLE = 128
"""Size of the largest multiple of a step, where there are more values: a signed byte."""

MAX_SPREAD = 2.0**13
"""How much larger than a channel's smallest weight (that is not 0) its scales may be, added up."""


class NotPlanes(UnsupportedError):
    """The weights take too many values; the message says how many."""


@dataclass(frozen=True)
class WeightPlanes:
    """``planes`` int8 ±1 ``[M, OC, KH, KW, IC/g]``; ``alpha`` float32 ``[M, OC]``."""

    planes: np.ndarray
    alpha: np.ndarray

    @property
    def per_layer(self) -> bool:
        """Whether all output channels share their scales."""
        return bool(np.all(self.alpha == self.alpha[:, :1]))


@dataclass(frozen=True)
class FewValues:
    """Distinct values float64 ``[K]``, ascending, with ``values = codes @ alpha``.

    ``alpha`` float64 ``[M]``; ``codes`` ±1 ``[K, M]``.
    """

    values: np.ndarray
    alpha: np.ndarray
    codes: np.ndarray

    def index(self, weight: np.ndarray) -> np.ndarray:
        """Which value each weight is."""
        return np.searchsorted((self.values[1:] + self.values[:-1]) / 2, weight)


def factor(weight: np.ndarray) -> WeightPlanes:
    """Planes of ``weight [OC, ...]``.

    Raises:
        NotPlanes: There are none; the message says why.
    """
    form = _form(weight)
    if isinstance(form, np.ndarray):  # case 1
        planes = np.where(weight > 0, 1, -1).astype(np.int8)
        return WeightPlanes(planes[None], form[None].astype(np.float32))
    if len(form) == 1 < len(weight):  # case 2
        few = form[0]
        return WeightPlanes(
            np.take(few.codes.T.astype(np.int8), few.index(weight), axis=1),
            np.repeat(few.alpha[:, None], len(weight), 1).astype(np.float32),
        )
    count = max(len(few.alpha) for few in form)  # case 3
    planes = np.ones((count, *weight.shape), np.int8)
    alphas = np.zeros((count, len(weight)), np.float32)
    for c, few in enumerate(form):
        alphas[: len(few.alpha), c] = few.alpha
        code = few.codes.astype(np.int8)[few.index(weight[c])]
        planes[: len(few.alpha), c] = np.moveaxis(code, -1, 0)
    return WeightPlanes(planes, alphas)


def has_planes(weight: np.ndarray) -> bool:
    """Whether :func:`factor` finds planes in cases 1 to 3; that takes less time and memory."""
    try:
        _form(weight, many=False)
    except NotPlanes:
        return False
    return True


def _form(weight: np.ndarray, many: bool = True) -> np.ndarray | list[FewValues]:
    """What the planes are made of: sizes ``[OC]``, values of all channels (one), or of each.

    Raises:
        NotPlanes: There are none.
    """
    if not np.all(np.isfinite(weight)):
        raise NotPlanes("the weights hold NaN or infinity")
    sizes = _one_size(weight)
    if sizes is not None:
        return sizes
    if not in_range(weight):
        raise NotPlanes(
            f"the weights hold a number of size {np.abs(weight).max():g}: sums of scales of more "
            f"than {LARGE:.0e} may overflow"
        )
    values = _distinct(weight)
    if values is None:
        whole = _whole_numbers(weight) if many else None
        return whole or _per_channel(weight)
    joint = signed_sum(values)
    if joint is None or not _fits(joint[0], weight, values):
        return _per_channel(weight)
    together = FewValues(values, *joint)
    if len(values) > 4:  # scales of single channels may hide behind many values
        try:
            apart = _per_channel(weight)
        except NotPlanes:
            return [together]
        if max(len(few.alpha) for few in apart) < len(together.alpha):
            return apart
    return [together]


def _fits(alpha: np.ndarray, weight: np.ndarray, values: np.ndarray) -> bool:
    """Whether scales are in proportion to the smallest weight of every channel."""
    total = float(np.abs(alpha).sum())
    sizes = np.abs(values[values != 0])
    if len(sizes) == 0 or total <= MAX_SPREAD * sizes.min():
        return True
    flat = np.abs(weight.reshape(len(weight), -1))
    least = np.where(flat > 0, flat, np.inf).min(1)
    return bool(np.all((total <= MAX_SPREAD * least) | np.isinf(least)))


def _one_size(weight: np.ndarray) -> np.ndarray | None:
    """``[OC]`` where each channel has one absolute value."""
    flat = np.abs(weight.reshape(len(weight), -1))
    alpha: np.ndarray = flat.max(1)
    return None if np.any(flat.min(1) < alpha * (1 - TOLERANCE)) else alpha


def _distinct(weight: np.ndarray) -> np.ndarray | None:
    """Sorted distinct values, rounding noise joined; ``None`` if there are too many."""
    values = np.unique(weight + weight.dtype.type(0)).astype(np.float64)
    if len(values) > 64 * MAX_VALUES:
        return None
    size = np.abs(values)
    gap = np.diff(values) > TOLERANCE * np.minimum(size[1:], size[:-1])
    groups = np.split(values, np.nonzero(gap)[0] + 1)
    if len(groups) > MAX_VALUES or any(g[-1] - g[0] > 2 * TOLERANCE * abs(g[0]) for g in groups):
        return None
    return np.array([g[len(g) // 2] if len(g) % 2 else g[0] for g in groups])


def _whole_numbers(weight: np.ndarray) -> list[FewValues] | None:
    """Case 4, of each channel; ``None`` where no channel has many values, or one is no such."""
    if all(_distinct(channel) is not None for channel in weight):
        return None
    found: list[tuple[np.ndarray, float, np.ndarray]] = []
    for channel in weight:
        values = np.unique(channel + channel.dtype.type(0))
        if len(values) > 2 * LARGEST_WHOLE:
            return None
        multiples = integer_multiples(values) if np.any(values) else (1.0, np.zeros(1, np.int64))
        if multiples is None or np.abs(multiples[1]).max() > LARGEST_WHOLE:
            return None
        found.append((values.astype(np.float64), *multiples))
    largest = max(int(np.abs(whole).max()) for _, _, whole in found)
    bits = max(1, (largest - 1).bit_length())
    halves = np.array([1, *(2**k for k in range(bits + 1))])
    channels = []
    for values, step, whole in found:
        # Twice the number is a sum of signed halves where these bits of its distance are set.
        distance = whole + 2**bits
        last = distance == 2 ** (bits + 1)
        rest = np.where(last, distance - 1, distance)
        codes = np.stack([last, *((rest >> k) & 1 for k in range(bits + 1))], 1) * 2 - 1
        channels.append(FewValues(values, halves * (step / 2), codes))
    return channels


def _per_channel(weight: np.ndarray) -> list[FewValues]:
    channels: list[FewValues] = []
    for channel in weight:
        values = _distinct(channel)
        if values is None:
            raise NotPlanes(
                f"the weights take more than {MAX_VALUES} values in one output channel "
                "(float weights)"
            )
        sums = signed_sum(values)
        if sums is None or not _fits(sums[0], channel[None], values):
            raise NotPlanes(
                "the weights of one output channel are too different in size for planes "
                f"({np.abs(values[values != 0]).min():g} beside {np.abs(values).max():g})"
            )
        channels.append(FewValues(values, *sums))
    return channels
