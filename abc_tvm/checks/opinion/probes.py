"""Values of an activation's root at which a step function is compared with the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.opinion.codes import Reading

ALL_SUMS = 2**17
"""Elements up to which every reachable sum of every channel is tried."""

MOST_STEPS = 2**18
"""Thresholds of all channels beyond which a sample of them is tried."""

RANDOM = 12
ATOMS = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0**-126, -(2.0**-126), 255.0, 1e4, -1e4)


@dataclass(frozen=True)
class Probes:
    """float32 ``[P, C]``; ``sums`` int64 ``[P, C]`` where the root is a layer's integer sum.

    ``neutral`` float32 ``[C]`` never wins in a maximum of the index, and ``neutral_sums``.
    """

    values: np.ndarray
    neutral: np.ndarray
    sums: np.ndarray | None = None
    neutral_sums: np.ndarray | None = None


def float_probes(
    reading: Reading, constants: list[float], rng: np.random.Generator, like: np.dtype
) -> Probes:
    """Every threshold, one float below, one above; atoms; constants of the chain; random values."""
    limits = reading.limits
    channels = limits.shape[1]
    if limits.size > MOST_STEPS:
        keep = rng.permutation(len(limits))[: max(4, MOST_STEPS // channels)]
        limits = limits[np.sort(keep)]
    finite = np.where(np.isfinite(limits), limits, 0).astype(np.float32)
    if reading.copies > 1:
        finite = np.sort(finite, axis=0)
    least, most = finite.min(0), finite.max(0)
    span = np.maximum(most - least, np.maximum(np.abs(most), 1e-3)) * 2
    spread = rng.uniform(-1, 1, (RANDOM, channels)) * span + (least + most) / 2
    between = (finite[1:] + finite[:-1]) / 2 if len(finite) < 32 else finite[:0]
    far = 16 * (np.abs(least) + np.abs(most) + 64)
    fixed = np.array([*ATOMS, *constants], np.float32)
    rows = [
        finite,
        np.nextafter(finite, np.float32(-np.inf)),
        np.nextafter(finite, np.float32(np.inf)),
        between,
        spread,
        far[None],
        -far[None],
        np.repeat(fixed[:, None], channels, 1),
    ]
    values = np.concatenate([np.asarray(row, np.float32) for row in rows])
    neutral = np.where(reading.rising_of_root, -far, far).astype(np.float32)
    return Probes(values.astype(like), neutral.astype(like))


def integer_probes(reading: Reading, sums: IntegerSums, rng: np.random.Generator) -> Probes:
    """All reachable sums; where they are many, those about the thresholds, edges and a sample."""
    bound, channels = sums.bound, len(sums.bound)
    count = int(bound.max(initial=0)) * 2 // sums.step + 1
    if count * channels <= ALL_SUMS:
        rows = -bound[None] + sums.step * np.arange(count)[:, None]
    else:
        with np.errstate(all="ignore"):
            near = reading.limits.astype(np.float64) / sums.scale
        near = np.nan_to_num(near, nan=0, posinf=0, neginf=0)
        centre = np.clip(np.rint(near), -bound, bound).astype(np.int64)
        beside = [centre + sums.step * d for d in (-2, -1, 0, 1, 2)]
        if reading.counts is not None:
            limits = np.clip(reading.counts, -bound, bound)
            beside += [limits + sums.step * d for d in (-1, 0, 1)]
        edges = [np.stack([-bound, bound, 0 * bound, 0 * bound + 1, 0 * bound - 1])]
        sample = rng.integers(-bound, bound + 1, (4 * RANDOM, channels))
        rows = np.concatenate([*beside, *edges, sample])
    whole = sums.reachable(rows)
    lowest = sums.reachable(np.where(reading.rising_of_root, -bound, bound)[None])[0]
    return Probes(sums.value(whole), sums.value(lowest), whole, lowest)


def images(
    probes: Probes, height: int, width: int, spacing: int, rng: np.random.Generator, dense: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images ``[R, H, W, C]`` in which every probe stands alone once, then ``dense`` mixed ones.

    Probes are ``spacing`` pixels apart, with neutral values around them, so that no window of
    that size sees two.
    """
    count = len(probes.values)
    rows, columns = -(-height // spacing), -(-width // spacing)
    lone = -(-count // (rows * columns))
    index = np.full((lone + dense, height, width), -1)
    places = np.arange(lone * rows * columns).reshape(lone, rows, columns) % count
    index[:lone, ::spacing, ::spacing] = places
    index[lone:] = rng.integers(0, count, (dense, height, width))

    def filled(values: np.ndarray, neutral: np.ndarray) -> np.ndarray:
        return np.concatenate([values, neutral[None]])[index]

    made = filled(probes.values, probes.neutral)
    if probes.sums is None or probes.neutral_sums is None:
        return made, None
    return made, filled(probes.sums, probes.neutral_sums)
