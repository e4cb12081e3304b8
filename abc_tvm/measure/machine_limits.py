"""What the machine can do at best, measured: multiply-adds of each kind, and bytes copied."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from abc_tvm.measure import peaks
from abc_tvm.measure.kernel_plan import Kind
from abc_tvm.targets import Device

ROUNDS = 8
MOST_BYTES = 1 << 28

LOOPS: dict[Kind, tuple[peaks.Kind, str]] = {
    "bits": ("bits", "xor + popcount + add"),
    "float": ("float", "float32 FMA"),
    "bytes": ("dot", "int8 dot product"),
}
"""The loop of :mod:`abc_tvm.measure.peaks` that bounds each kind of kernel, and what it does."""


@dataclass(frozen=True)
class Limit:
    """The best rate of one kind of kernel: ``gmacs`` on all threads together."""

    kind: Kind
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

    def of(self, kind: Kind) -> float | None:
        """GMAC/s of a kind, ``None`` where it is not known."""
        return next((peak.gmacs for peak in self.peaks if peak.kind == kind), None)

    def json(self) -> dict[str, Any]:
        """The limits as JSON."""
        return asdict(self)


def measure_limits(device: Device, threads: int = 1) -> Limits:
    """Measure on one thread; the rates of arithmetic are then taken ``threads`` times."""
    rates = peaks.measure(device)
    found = []
    for kind, (loop, name) in LOOPS.items():
        rate = rates[loop]
        if rate is not None:
            found.append(Limit(kind, name, threads * rate))
    beyond = min(max(1 << 26, 2048 * device.l3_kib), MOST_BYTES)
    return Limits(tuple(found), copy_gbs(device.l2_kib * 512), copy_gbs(beyond), threads)


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
