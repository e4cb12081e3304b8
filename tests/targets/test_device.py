"""What LLVM grants a device, and which machine runs its code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets import device, host, load, names


@pytest.mark.parametrize("name", names())
def test_a_shipped_device_is_complete(name: str) -> None:
    shipped = load(name)
    assert shipped.name == name
    assert 0 < shipped.cost.pair < 1, "bits must be cheaper than floats"
    assert shipped.l1d_kib < shipped.l2_kib
    assert shipped.l3_kib == 0 or shipped.l2_kib < shipped.l3_kib
    target = shipped.host_target()
    assert target.attrs["mcpu"] == shipped.cpu
    assert target.attrs["mtriple"] == shipped.triple
    assert target.attrs["num-cores"] == (shipped.cores if shipped.gpu is None else 1)
    assert isinstance(shipped.runs_here(), bool)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("zen4", {"avx512vpopcntdq", "avx512bw", "fma"}),
        ("zen5", {"avx512vpopcntdq", "avx512vnni", "fma"}),
        ("icelake-server", {"avx512vpopcntdq", "avx512bw", "fma"}),
        ("skylake-avx512", {"avx512bw", "avx512vl", "fma"}),
        ("zen3", {"avx2", "fma", "popcnt"}),
        ("haswell", {"avx2", "fma", "popcnt"}),
        ("x86-64", {"popcnt", "ssse3"}),
        ("aarch64", {"neon"}),
        ("rpi3", {"neon"}),
        ("rpi4", {"neon"}),
        ("rpi5", {"neon", "dotprod"}),
        ("rpi-armv7", {"neon", "vfp4"}),
    ],
)
def test_llvm_grants_what_the_instruction_set_family_needs(name: str, wanted: set[str]) -> None:
    from tvm.target import codegen

    granted = {str(feature) for feature in codegen.llvm_get_cpu_features(load(name).host_target())}
    assert wanted <= granted


def test_the_lesser_families_lack_what_the_better_ones_have() -> None:
    from tvm.target import codegen

    def granted(name: str) -> set[str]:
        return {str(f) for f in codegen.llvm_get_cpu_features(load(name).host_target())}

    assert "avx512vpopcntdq" not in granted("skylake-avx512")
    assert "avx512f" not in granted("zen3")
    assert "avx" not in granted("x86-64")


def test_floats_of_32_bit_arm_go_in_registers() -> None:
    """As the system's own programs pass them (gnueabihf), or nothing can be linked."""
    assert load("rpi-armv7").tvm_target().attrs["mfloat-abi"] == "hard"


def test_features_reach_llvm() -> None:
    from tvm.target import codegen

    target = replace(load("zen3"), features=("+avx2", "-sse4a")).tvm_target()
    assert list(target.attrs["mattr"]) == ["+avx2", "-sse4a"]
    assert "sse4a" not in {str(feature) for feature in codegen.llvm_get_cpu_features(target)}


def test_llvm_must_know_the_processor() -> None:
    board = replace(load("zen3"), name="board", cpu="zenith")
    with pytest.raises(TargetError, match="board: LLVM knows no cpu 'zenith'"):
        board.tvm_target()


def test_runs_here_needs_the_same_architecture() -> None:
    board = replace(load("x86-64"), triple="aarch64-linux-gnu", cpu="cortex-a72")
    if device.platform.machine() == "x86_64":
        assert not board.runs_here()


@pytest.mark.parametrize(("hidden", "runs"), [(set(), True), ({"avx512bw"}, False)])
def test_runs_here_needs_every_instruction_set(
    monkeypatch: pytest.MonkeyPatch, hidden: set[str], runs: bool
) -> None:
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    there = host.INSTRUCTION_SETS - hidden
    monkeypatch.setattr(host, "host_features", lambda: there)
    assert load("skylake-avx512").runs_here() is runs
    assert load("haswell").runs_here()


def test_runs_here_is_false_where_nothing_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind() -> frozenset[str]:
        raise TargetError("no flags")

    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "host_features", blind)
    assert not load("x86-64").runs_here()
