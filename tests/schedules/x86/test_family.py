from __future__ import annotations

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import SUMS, Problem
from abc_tvm.targets import load

BITSERIAL, *_ = SUMS


DEVICES = ["zen4", "skylake-avx512", "haswell", "x86-64", "zen3", "icelake-server"]


def test_the_default_follows_the_popcount_instruction() -> None:
    problem = Problem(Window(1, 7, 7, 64, 64), Blocking(64), 1, BITSERIAL)
    machines = [load(name) for name in DEVICES]
    kinds = {m.name: family_of(m).default(m, problem).count for m in machines}
    assert kinds == {
        "zen4": "popcount",
        "icelake-server": "popcount",
        "skylake-avx512": "nibble",
        "haswell": "nibble",
        "zen3": "nibble",
        "x86-64": "popcount",
    }
