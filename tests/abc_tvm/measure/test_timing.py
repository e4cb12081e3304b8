"""Turns, their summary, and what is refused."""

from __future__ import annotations

import time

import pytest

from abc_tvm.measure import timing
from abc_tvm.measure.timing import Times


def test_times() -> None:
    taken = Times.of([float(n) for n in range(1, 21)])
    assert (taken.median_ms, taken.min_ms, taken.p90_ms, taken.repeat) == (10.5, 1.0, 18.0, 20)
    assert taken.spread == 17.0
    assert Times.of([3.0]).json() == {"median_ms": 3.0, "min_ms": 3.0, "p90_ms": 3.0, "repeat": 1}


def test_engines_alternate_and_are_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_S", 0.0)
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    times = timing.take_turns(calls, repeat=3)
    # One call each to begin with, then in every turn one untimed and one timed.
    assert order == ["a", "b"] + ["a", "a", "b", "b"] * 3
    assert {t.repeat for t in times.values()} == {3}


def test_a_turn_is_timed_without_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_S", 0.05)
    began = time.perf_counter()
    times = timing.take_turns({"nothing": lambda: None}, repeat=2)
    assert time.perf_counter() - began > 2 * timing.WARM_S
    assert times["nothing"].p90_ms < 1e3 * timing.WARM_S
