"""Loops on registers: which ones a device has, and that each is what it claims to be."""

import pytest

from abc_tvm.measure import peaks
from abc_tvm.measure.peaks import DOT_512, FMA_512, SHUFFLE_256
from abc_tvm.targets import load


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        ("zen4", {"bitserial", "float", "int8"}),
        ("haswell", {"bitserial", "float"}),
        ("x86-64", set()),
        ("rpi4", set()),
    ],
)
def test_loops_by_instruction_set(target: str, kinds: set[str]) -> None:
    assert {peak.kind for peak in peaks.loops(load(target))} == kinds


def test_no_rate_for_another_machine() -> None:
    assert peaks.measure(load("rpi4")) == {"bitserial": None, "float": None, "int8": None}


def test_every_loop_of_this_machine_runs() -> None:
    device = load("native")
    for peak in peaks.loops(device):
        assert peak.build(device)(1) > 0, peak.name


def test_measures_each_kind_that_has_a_loop() -> None:
    device = load("native")
    rates = peaks.measure(device)
    assert {kind for kind, rate in rates.items() if rate} == {p.kind for p in peaks.loops(device)}


def test_refuses_machine_code_with_anything_else_in_the_loop() -> None:
    load_from_memory = f"{peaks.BEGIN}\n vmovaps (%rsp), %zmm12\n{peaks.END}"
    with pytest.raises(RuntimeError, match="not register-only"):
        FMA_512._check(load_from_memory)


def test_macs_of_one_instruction() -> None:
    assert (FMA_512.macs_per_link, DOT_512.macs_per_link) == (16, 64)
    assert SHUFFLE_256.macs == peaks.STEPS * peaks.UNROLL * peaks.CHAINS * 32 * 4
