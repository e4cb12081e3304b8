"""What a machine can do at best: rates of all threads, and copies near and far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from abc_tvm.measure import machine_limits, peaks
from abc_tvm.measure.machine_limits import Limit, Limits, copy_gbs, measure_limits
from abc_tvm.relay_passes.lowerings.table import lowerings
from abc_tvm.targets import Device, load


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that were copied, at 1 GB/s a KiB; arithmetic as :func:`rates` says."""
    copied: list[int] = []

    def copy(size: int) -> float:
        copied.append(size)
        return size / 1024

    monkeypatch.setattr(machine_limits, "copy_gbs", copy)
    monkeypatch.setattr(peaks, "measure", rates)
    return copied


def rates(device: Device) -> dict[str, float | None]:
    return {"bitserial": 200.0, "float": 30.0, "int8": None}


def test_rates_are_those_of_all_threads(sizes: list[int]) -> None:
    found = measure_limits(load("zen4"), 3)
    assert {peak.kind: peak.gmacs for peak in found.peaks} == {"bitserial": 600.0, "float": 90.0}
    assert (found.of("bitserial"), found.threads) == (600.0, 3)
    assert found.of("int8") is None and found.of("other") is None
    names = {one.name: one.arithmetic for one in lowerings()}
    assert all(peak.name == names[peak.kind] for peak in found.peaks)


@pytest.mark.parametrize(
    ("l3_kib", "far"), [(0, 1 << 26), (96 * 1024, 192 << 20), (1 << 20, 1 << 28)]
)
def test_copies_within_the_cache_and_far_beyond_it(l3_kib: int, far: int, sizes: list[int]) -> None:
    device = replace(load("zen4"), l2_kib=1024, l3_kib=l3_kib)
    found = measure_limits(device)
    assert sizes == [512 * 1024, far]
    assert (found.cache_gbs, found.memory_gbs) == (512.0, far / 1024)


def test_a_machine_that_is_not_this_one_has_no_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_limits, "copy_gbs", lambda size: 1.0)
    assert measure_limits(load("rpi4")).peaks == ()


def test_bytes_read_and_written_both_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the bytes are read and half are written; the best of the rounds is told."""
    copied: list[tuple[int, int]] = []
    ticks = iter(float(n) * n for n in range(100))
    monkeypatch.setattr(np, "copyto", lambda into, source: copied.append((into.size, source.size)))
    monkeypatch.setattr(machine_limits.time, "perf_counter", lambda: next(ticks))
    size = machine_limits.MOST_BYTES // 8 // 2
    rate = copy_gbs(size)
    assert copied == [(size // 2, size // 2)] * 2 * machine_limits.ROUNDS
    assert rate == pytest.approx(size / 0.5 / 1e9), "the first round: 1 s of two copies"


def test_a_real_copy() -> None:
    assert 0.01 < copy_gbs(1 << 16) < 10_000


def test_json() -> None:
    limits = Limits((Limit("float", "float32 FMA", 50.0),), 80.0, 10.0, 2)
    assert limits.json() == {
        "peaks": ({"kind": "float", "name": "float32 FMA", "gmacs": 50.0},),
        "cache_gbs": 80.0,
        "memory_gbs": 10.0,
        "threads": 2,
    }
