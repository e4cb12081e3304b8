"""What the machine can do at best, measured: multiply-adds of each kind, and bytes copied."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from abc_tvm.measure import peaks
from abc_tvm.relay_passes.lowerings.table import lowerings
from abc_tvm.targets import Device

ROUNDS = 8
MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Limit:
    """The best rate of one lowering's kernels: ``gmacs`` on all threads together."""

    kind: str
    name: str
    gmacs: float


@dataclass(frozen=True)
class Limits:
    """Measured limits; kinds without a known loop for this processor are left out.

    ``cache_gbs`` and ``memory_gbs`` are GB/s, read and written together, of copies on one thread
    within the level 2 cache and far beyond it.
    """

    peaks: tuple[Limit, ...]
    cache_gbs: float
    memory_gbs: float
    threads: int

    def of(self, kind: str) -> float | None:
        """GMAC/s of a kind, ``None`` where it is not known."""
        return next((peak.gmacs for peak in self.peaks if peak.kind == kind), None)

    def json(self) -> dict[str, Any]:
        """The limits as JSON."""
        return asdict(self)


def measure_limits(device: Device, threads: int = 1) -> Limits:
    """Measure on one thread; the rates of arithmetic are then taken ``threads`` times."""
    rates = peaks.measure(device)
    limits = []
    for lowering in lowerings():
        rate = rates.get(lowering.peak) if lowering.peak else None
        if rate is not None:
            limits.append(Limit(lowering.name, lowering.arithmetic, threads * rate))
    beyond = min(max(1 << 26, 2048 * device.l3_kib), MOST_BYTES)
    return Limits(tuple(limits), copy_gbs(device.l2_kib * 512), copy_gbs(beyond), threads)


def copy_gbs(size: int) -> float:
    """GB/s, read and written, of copying half of ``size`` bytes onto the other half."""
    source, into = np.ones(size // 2, np.uint8), np.empty(size // 2, np.uint8)
    number = max(1, MOST_BYTES // size // 8)
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(number):
            np.copyto(into, source)
        best = min(best, (time.perf_counter() - start) / number)
    return size / best / 1e9
