"""Claim 1: planes times scales give the weights that the graph stores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.checks.graphs.integers import unit_of
from abc_tvm.checks.graphs.relax_graph import ON_INT8, RelaxLayer, array
from abc_tvm.checks.opinion.codes import Disagrees

WEIGHT_ROUNDING = 2.0**-20
"""Of the largest weight of the output channel: a few roundings of float32."""

SAMPLE = 256
"""Weights of a channel that tell a common factor."""

MOST_SIZES = 32
"""Sizes of weights in a channel whose sums are integer multiples of one number."""

OWN = 2.0**-21
"""Of a weight itself: stored values further apart than this are two values."""


@dataclass(frozen=True)
class CodedWeight:
    """What a layer multiplies with: float32 OHWI, and its planes and scales.

    ``planes`` int8 ``[M, OC, taps]``; ``alpha`` float32 ``[M, OC]``.
    """

    weight: np.ndarray
    planes: np.ndarray
    alpha: np.ndarray


def coded_weight(layer: RelaxLayer) -> CodedWeight:
    """The weights of a layer on bits or bytes, from its constants."""
    if layer.kind == ON_INT8:
        whole, scale = array(layer.call.args[1]), array(layer.call.args[2])
        weight = whole * scale[:, None, None, None]
        return CodedWeight(weight, whole.reshape(1, len(whole), -1), scale[None])
    planes, alpha = array(layer.call.args[1]), array(layer.call.args[2])
    if np.any((planes != 1) & (planes != -1)):
        raise Disagrees("planes that are not ±1")
    weight = planes[0] * alpha[0][:, None, None, None]
    for plane, scale in zip(planes[1:], alpha[1:], strict=True):
        weight += plane * scale[:, None, None, None]
    return CodedWeight(weight, planes.reshape(*planes.shape[:2], -1), alpha)


def whole_weights(layer: RelaxLayer) -> tuple[np.ndarray, np.ndarray] | None:
    """Integers ``[1, OC, taps]`` and scales ``[1, OC]`` of a float layer, where it has such."""
    weight = array(layer.call.args[1])
    weight = weight.reshape(len(weight), -1)
    whole, scales = np.zeros(weight.shape, np.int64), np.ones((1, len(weight)))
    for channel, row in enumerate(weight):
        sizes = np.unique(np.abs(row))
        if not sizes.any():
            continue
        unit = unit_of(sizes) if len(sizes) <= MOST_SIZES else None
        if unit is None:
            return None
        scales[0, channel] = unit[0]
        whole[channel] = np.rint(row / unit[0])
    return whole[None], scales


def proportion(a: np.ndarray, b: np.ndarray) -> float:
    """``r`` with ``a = r * b`` ``[OC, ...]``, by most channels; a power of two where it is near.

    1 where ``b`` is 0.
    """
    a, b = (v.reshape(len(v), -1)[:, :SAMPLE].astype(np.float64) for v in (a, b))
    at = np.abs(b).argmax(1)[:, None]
    above, below = (np.take_along_axis(v, at, 1)[:, 0] for v in (a, b))
    some = below != 0
    ratio = float(np.median(above[some] / below[some])) if some.any() else 1.0
    if ratio == 0 or not np.isfinite(ratio):
        return 1.0
    power = 2.0 ** np.rint(np.log2(abs(ratio)))
    return float(np.copysign(power, ratio)) if abs(abs(ratio) / power - 1) < 1e-6 else ratio


def same_weights(coded: np.ndarray, wanted: np.ndarray, ratio: float, apart: bool) -> str:
    """Why ``coded`` is not ``ratio * wanted`` ``[OC, ...]``; empty where it is.

    ``apart``: stored values that differ must stay apart.
    """
    factor = np.float32(ratio)
    coded, wanted = coded.reshape(len(coded), -1), wanted.reshape(len(wanted), -1) * factor
    error = np.abs(coded - wanted)
    if not error.any():
        return ""
    largest = np.abs(wanted).max(1, initial=0)
    bad = error > WEIGHT_ROUNDING * largest[:, None]
    if bad.any():
        o, k = np.unravel_index(int(np.argmax(bad)), bad.shape)
        return (
            f"weight {k} of output channel {o} is {coded[o, k] / ratio:.9g} as compiled and "
            f"{wanted[o, k] / ratio:.9g} in the graph"
        )
    return _joined_values(coded, wanted) if apart else ""


def _joined_values(coded: np.ndarray, wanted: np.ndarray) -> str:
    """Whether two values of a channel that differ became one."""
    # Only where weights were moved at all can two of them have met.
    moved = np.nonzero(np.any(np.abs(coded - wanted) > OWN * np.abs(wanted), axis=1))[0]
    for o in moved:
        order = np.argsort(wanted[o], kind="stable")
        before, after = wanted[o][order[:-1]], wanted[o][order[1:]]
        apart = after - before > 2 * OWN * np.maximum(np.abs(before), np.abs(after))
        small = 2.0**-23 * np.abs(coded[o]).max()
        met = apart & (coded[o][order[:-1]] == coded[o][order[1:]]) & (after - before > small)
        if met.any():
            k = int(np.argmax(met))
            return (
                f"weights {before[k]:.9g} and {after[k]:.9g} of output channel {o} became one value"
            )
    return ""
