"""Constant weights of few values as sums of ±1 planes: ``W = sum_m alpha_m * B_m``.

Recovered from the values alone, so every export of the same layer gives the same planes:

* two values ``±alpha`` a channel: one plane, ``alpha`` per output channel;
* every combination of ``±alpha_1 ± alpha_2 ...``: M planes for up to ``2**M`` values;
* a uniform grid (k-bit weights): ``alpha_i = 2**i * step / 2``;
* nested bases (thresholds on one real weight): M planes for ``M + 1`` values;
* anything else with few values: nested bases and a constant plane.

Two weights are one value only within their own rounding (see :mod:`.rounding`), and the scales that
are found, as float32, give every weight back so. The scales of a channel are at most
``MAX_SPREAD`` times its smallest weight: beyond that the rounding of their sums would drown it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from math import comb

import numpy as np

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.analysis.rounding import LARGE, in_range, is_same

MAX_VALUES = 16
"""More values than this in one output channel are not few."""

MAX_BASES = 4
"""Independent bases that are looked for; nested ones may be more."""

MAX_SPREAD = 2.0**13
"""How much larger than a channel's smallest weight (that is not 0) its scales may be, added up."""

_TOLERANCE = 2.0**-22
"""Relative size of rounding noise that is joined: a few roundings of float32, and no more."""


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


Split = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Distinct values ``[K]``, scales ``[M]``, and codes ±1 ``[K, M]`` of each value."""


def factor(weight: np.ndarray) -> WeightPlanes:
    """Planes of ``weight [OC, ...]``; raises :class:`NotPlanes`."""
    splits = _splits(weight)
    if isinstance(splits, np.ndarray):
        planes = np.where(weight > 0, 1, -1).astype(np.int8)
        return WeightPlanes(planes[None], splits[None].astype(np.float32))
    if len(splits) == 1 < len(weight):
        values, alpha, codes = splits[0]
        return WeightPlanes(
            np.take(codes.T.astype(np.int8), _nearest(weight, values), axis=1),
            np.repeat(alpha[:, None], len(weight), 1).astype(np.float32),
        )
    count = max(len(alpha) for _, alpha, _ in splits)
    planes = np.ones((count, *weight.shape), np.int8)
    alphas = np.zeros((count, len(weight)), np.float32)
    for c, (values, alpha, codes) in enumerate(splits):
        alphas[: len(alpha), c] = alpha
        code = codes.astype(np.int8)[_nearest(weight[c], values)]
        planes[: len(alpha), c] = np.moveaxis(code, -1, 0)
    return WeightPlanes(planes, alphas)


def has_planes(weight: np.ndarray) -> bool:
    """Whether :func:`factor` finds planes; it takes less time and memory to know."""
    try:
        _splits(weight)
    except NotPlanes:
        return False
    return True


def _splits(weight: np.ndarray) -> np.ndarray | list[Split]:
    """What the planes are made of: ``[OC]`` of one plane, one split for all channels, or of each.

    Raises:
        NotPlanes: There are none.
    """
    if not np.all(np.isfinite(weight)):
        raise NotPlanes("the weights hold NaN or infinity")
    single = _one_scale(weight)
    if single is not None:
        return single
    if not in_range(weight):
        raise NotPlanes(
            f"the weights hold a number of size {np.abs(weight).max():g}: sums of scales of more "
            f"than {LARGE:.0e} may overflow"
        )
    values = _distinct(weight)
    if values is None:
        return _per_channel(weight)
    joint = _decompose(values)
    if joint is None or not _fits(joint[0], weight, values):
        return _per_channel(weight)
    alpha, codes = joint
    if len(values) > 4:  # scales of single channels may hide behind many values
        try:
            split = _per_channel(weight)
        except NotPlanes:
            return [(values, alpha, codes)]
        if max(len(one[1]) for one in split) < len(alpha):
            return split
    return [(values, alpha, codes)]


def _fits(alpha: np.ndarray, weight: np.ndarray, values: np.ndarray) -> bool:
    """Whether scales are in proportion to the smallest weight of every channel."""
    total = float(np.abs(alpha).sum())
    sizes = np.abs(values[values != 0])
    if len(sizes) == 0 or total <= MAX_SPREAD * sizes.min():
        return True
    flat = np.abs(weight.reshape(len(weight), -1))
    least = np.where(flat > 0, flat, np.inf).min(1)
    return bool(np.all((total <= MAX_SPREAD * least) | np.isinf(least)))


def _one_scale(weight: np.ndarray) -> np.ndarray | None:
    """``[OC]`` where each channel has one absolute value."""
    flat = np.abs(weight.reshape(len(weight), -1))
    alpha: np.ndarray = flat.max(1)
    return None if np.any(flat.min(1) < alpha * (1 - _TOLERANCE)) else alpha


def _distinct(weight: np.ndarray) -> np.ndarray | None:
    """Sorted distinct values, rounding noise joined; ``None`` if there are too many."""
    values = np.unique(weight + weight.dtype.type(0)).astype(np.float64)
    if len(values) > 64 * MAX_VALUES:
        return None
    size = np.abs(values)
    gap = np.diff(values) > _TOLERANCE * np.minimum(size[1:], size[:-1])
    groups = np.split(values, np.nonzero(gap)[0] + 1)
    if len(groups) > MAX_VALUES or any(g[-1] - g[0] > 2 * _TOLERANCE * abs(g[0]) for g in groups):
        return None
    return np.array([g[len(g) // 2] if len(g) % 2 else g[0] for g in groups])


def _nearest(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    middles = (values[1:] + values[:-1]) / 2
    return np.searchsorted(middles, weight)


def _per_channel(weight: np.ndarray) -> list[Split]:
    found = []
    for channel in weight:
        values = _distinct(channel)
        if values is None:
            raise NotPlanes(
                f"the weights take more than {MAX_VALUES} values in one output channel "
                "(float weights)"
            )
        split = _decompose(values)
        if split is None or not _fits(split[0], channel[None], values):
            raise NotPlanes(
                "the weights of one output channel are too different in size for planes "
                f"({np.abs(values[values != 0]).min():g} beside {np.abs(values).max():g})"
            )
        found.append((values, *split))
    return found


def decompose(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(alpha [M], codes ±1 [K, M])`` with ``values = codes @ alpha``, M as small as found.

    Raises :class:`NotPlanes` where no float32 scales give every value within its rounding.
    """
    found = _decompose(values)
    if found is None:
        raise NotPlanes("the weights are too different in size for planes")
    return found


def _decompose(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    options = []
    for candidate in (_combinations, _grid, _nested):
        alpha = candidate(values)
        if alpha is None or len(alpha) > 8:
            continue
        codes = _codes(values, alpha) if candidate is not _nested else _nested_codes(values)
        if codes is not None:
            options.append((alpha, codes))
    options += [o for o in (_grid_with_constant(values), _with_constant(values)) if o is not None]
    fewest_first = sorted(options, key=lambda option: len(option[0]))
    return next((option for option in fewest_first if _gives(*option, values)), None)


def _gives(alpha: np.ndarray, codes: np.ndarray, values: np.ndarray) -> bool:
    """Whether the scales, as float32, give every value within its rounding."""
    kept = alpha.astype(np.float32).astype(np.float64)
    return bool(np.all(is_same(codes @ kept, values, np.abs(kept).sum())))


def _combinations(values: np.ndarray) -> np.ndarray | None:
    """Scales of independent bases (all added up they give the top value), fewest first."""
    top = values[-1]
    close = _TOLERANCE * max(float(np.abs(values).max()), 1e-30) * 4
    gaps = (top - values[-2::-1]) / 2
    for count in range(max(1, int(np.ceil(np.log2(len(values))))), MAX_BASES + 1):
        if count >= len(values) or comb(len(gaps) + count - 1, count) > 4000:
            return None
        signs = np.array(list(product((-1, 1), repeat=count)))
        for alpha in combinations_with_replacement(gaps, count):
            if abs(sum(alpha) - top) <= close:
                sums = signs @ np.array(alpha)
                if np.abs(values[:, None] - sums[None]).min(1).max() <= close:
                    return np.array(alpha)
    return None


def _grid(values: np.ndarray) -> np.ndarray | None:
    """``2**i`` scales of a uniform grid symmetric to zero."""
    if len(values) < 2:
        return None
    step = float(np.diff(values).min())
    bits = int(np.ceil(np.log2((values[-1] - values[0]) / step + 1) - 1e-6))
    top = step / 2 * (2**bits - 1)
    offset = (values + top) / step
    if np.abs(offset - np.rint(offset)).max() > 1e-4 or offset.min() < -0.5:
        return None
    if offset.max() > 2**bits - 0.5:
        return None
    return step / 2 * 2.0 ** np.arange(bits)


def _codes(values: np.ndarray, alpha: np.ndarray) -> np.ndarray | None:
    signs = np.array(list(product((-1, 1), repeat=len(alpha))))
    sums = signs @ alpha
    return np.asarray(signs[np.abs(values[:, None] - sums[None]).argmin(1)])


def _nested_order(values: np.ndarray) -> np.ndarray | None:
    """An order that starts at ``-v`` and ends at ``v``."""
    close = 4 * _TOLERANCE * max(float(np.abs(values).max()), 1e-30)
    for low in range(len(values) - 1):
        high = int(np.abs(values + values[low]).argmin())
        if high != low and abs(values[high] + values[low]) <= close:
            rest = [i for i in range(len(values)) if i not in (low, high)]
            return np.array([low, *rest, high])
    return None


def _nested(values: np.ndarray) -> np.ndarray | None:
    order = _nested_order(values)
    return None if order is None else np.diff(values[order]) / 2


def _nested_codes(values: np.ndarray) -> np.ndarray | None:
    order = _nested_order(values)
    if order is None:
        return None
    count = len(values)
    codes = np.empty((count, count - 1), np.int64)
    for rank, index in enumerate(order):
        codes[index] = np.where(np.arange(count - 1) < rank, 1, -1)
    return codes


def _grid_with_constant(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """``2**i`` planes of a uniform grid that is not symmetric, and a plane that is +1."""
    if len(values) < 3:
        return None
    middle = (values[0] + values[-1]) / 2
    step = float(np.diff(values).min())
    index = (values - values[0]) / step
    if index[-1] >= 2.0**MAX_VALUES:
        return None
    if np.abs(index - np.rint(index)).max() > 1e-4:
        return None
    bits = int(np.ceil(np.log2(index[-1] + 1) - 1e-6))
    middle = values[0] + step / 2 * (2**bits - 1)
    codes = np.where((np.rint(index).astype(np.int64)[:, None] >> np.arange(bits)) & 1, 1, -1)
    alpha = np.concatenate([step / 2 * 2.0 ** np.arange(bits), [middle]])
    return alpha, np.concatenate([codes, np.ones((len(values), 1), codes.dtype)], 1)


def _with_constant(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nested bases of the values about their middle, and a plane that is +1 everywhere."""
    middle = (values[0] + values[-1]) / 2
    half = np.diff(values) / 2
    codes = np.where(np.arange(len(half))[None] < np.arange(len(values))[:, None], 1, -1)
    ones = np.ones((len(values), 1), codes.dtype)
    return np.concatenate([half, [middle]]), np.concatenate([codes, ones], 1)
