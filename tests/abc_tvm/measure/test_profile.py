"""Rows of a profile: rates, shares of peaks, and the rest of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from abc_tvm.errors import UserError
from abc_tvm.measure import profile as module
from abc_tvm.measure import timing
from abc_tvm.measure.kernel_plan import Kernel
from abc_tvm.measure.kernel_times import Timed
from abc_tvm.measure.machine_limits import Limit, Limits
from abc_tvm.measure.profile import Profile, Row, shares
from abc_tvm.measure.timing import Times
from tests.abc_tvm.measure.made_up import LIMITS, profile, row
from tests.abc_tvm.small_networks import network

BITS = Limits((Limit("bitserial", "xor + popcount + add", 1000.0),), 80.0, 10.0, 1)


@pytest.fixture(scope="module")
def measured() -> Iterator[Profile]:
    """A network whose batch is open, on three images, by a machine with a peak of bits alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_limits", lambda device, threads: BITS)
        patch.setattr(timing, "WARM_S", 0.0)
        patch.setattr(timing, "PAUSE_S", 0.0)
        yield module.profile(network(), lowering="bitserial", batch=3, repeat=2)


def test_rows_count_all_images_and_pairs(measured: Profile) -> None:
    assert measured.shapes == {"input": [3, 8, 6, 6]}
    assert measured.plan.artifact.info.inputs[0].shape == (3, 8, 6, 6), "compiled for three"
    layers = {r.kernel.name: r for r in measured.rows if r.kernel.macs}
    assert {name: r.macs for name, r in layers.items()} == {
        "block/conv1": 3 * 2 * 36 * 16 * 8 * 9,
        "block/conv2": 3 * 2 * 36 * 4 * 16,
    }
    for found in layers.values():
        if found.times.median_ms:  # 0 where the stopwatch takes as long
            assert found.gmacs == pytest.approx(found.macs / found.times.median_ms / 1e6)
            assert found.of_peak == pytest.approx((found.gmacs or 0) / 1000)
    others = [r for r in measured.rows if not r.kernel.macs]
    assert all(r.gmacs is None and r.of_peak is None for r in others)


def test_json(measured: Profile) -> None:
    facts = json.loads(json.dumps(measured.json()))
    assert [one["name"] for one in facts["layers"]] == [r.kernel.name for r in measured.rows]
    assert facts["kernels_ms"] + facts["rest_ms"] == pytest.approx(facts["run"]["median_ms"])
    assert (facts["inputs"], facts["threads"]) == ({"input": [3, 8, 6, 6]}, 1)
    assert (facts["bitserial_layers"], facts["lowering"]) == (2, "bitserial")
    assert len(facts["processors"]) == 1 and facts["run"]["repeat"] == 2


def test_rows_need_not_sum_up_to_the_run() -> None:
    """Whole runs have no stopwatch inside: kernels may even take longer in sum."""
    assert profile(row("a", ms=1.0), row("b", ms=2.0), run_ms=2.5).rest_ms == -0.5
    assert profile(run_ms=2.5).kernels_ms == 0


def rows_of(kernels: list[Kernel], *timed: Timed, images: int = 1) -> list[Row]:
    return list(module._rows(kernels, timed, images, LIMITS))


def test_rates_and_shares() -> None:
    conv, bits = Kernel("c", "float", 10**6), Kernel("b", "bitserial", 10**6, pairs=4)
    ran = [Timed(name, 100, Times.of([0.5])) for name in ("kernel_c", "reshape", "kernel_b")]
    first, other, last = rows_of([conv, bits], *ran, images=5)
    assert (first.macs, first.gmacs, first.of_peak) == (5 * 10**6, 10.0, 0.2)
    assert (other.kernel, other.macs, other.gmacs) == (Kernel("reshape"), 0, None)
    assert (last.macs, last.gmacs) == (20 * 10**6, 40.0)
    assert last.of_peak is None, "a kind without a peak"
    assert first.json()["macs_per_byte"] == 5e4 and other.json()["macs_per_byte"] is None
    assert first.json()["median_us"] == 500 and first.json()["shape"] == []


def test_what_takes_no_time_has_no_rate() -> None:
    (only,) = rows_of([Kernel("c", "float", 9)], Timed("kernel_c", 0, Times.of([0.0])))
    assert (only.macs, only.gmacs, only.of_peak) == (9, None, None)
    assert only.json()["macs_per_byte"] is None
    assert dict(shares([only])) == {}


@pytest.mark.parametrize("ran", [0, 2])
def test_other_kernels_than_were_planned(ran: int) -> None:
    with pytest.raises(UserError, match="runs other kernels than were planned; fix its batch"):
        rows_of([Kernel("c")], *[Timed("kernel_c", 0, Times.of([1.0]))] * ran)


def test_shares_are_weighted_by_time() -> None:
    rows = [
        row("fast", ms=1.0, of_peak=0.9),
        row("slow", ms=3.0, of_peak=0.5),
        row("unknown"),
        row("bitserial", of_peak=0.8, kind="bitserial"),
    ]
    found = dict(shares(rows))
    assert set(found) == {"float", "bitserial"}
    assert found["float"]["of_peak"] == pytest.approx((0.9 + 3 * 0.5) / 4)
    assert (found["float"]["least"], found["float"]["least_layer"]) == (0.5, "slow")
    assert found["float"]["ms"] == 4.0, "of those whose share is known"
