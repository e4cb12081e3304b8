from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tvm.target import codegen

from abc_tvm.errors import TargetError
from abc_tvm.targets import Device, host, load, native

V2 = "fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt"
AVX2 = f"{V2} movbe avx f16c fma avx2 bmi1 bmi2 abm"
AVX512 = f"{AVX2} adx avx512f avx512cd avx512bw avx512dq avx512vl"
VPOPCNT = f"{AVX512} avx512_vpopcntdq"


@pytest.fixture(autouse=True)
def linux_on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(native.platform, "system", lambda: "Linux")


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """LLVM's idea of the processor: ``cpu.setattr(codegen, "llvm_get_system_cpu", ...)``."""
    monkeypatch.setattr(codegen, "llvm_get_system_cpu", lambda: "znver4")
    return monkeypatch


def machine(root: Path, flags: str, caches: tuple[tuple[str, str, str], ...] = ()) -> Path:
    (root / "proc").mkdir()
    text = f"processor\t: 0\nmodel name\t: any\nflags\t\t: {flags}\n\n"
    (root / "proc/cpuinfo").write_text(text * 2, encoding="utf-8")
    for number, (level, kind, size) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu0/cache/index{number}"
        folder.mkdir(parents=True)
        for file, value in (("level", level), ("type", kind), ("size", size)):
            (folder / file).write_text(value + "\n", encoding="ascii")
    return root


def granted(device: Device) -> set[str]:
    return {str(feature) for feature in codegen.llvm_get_cpu_features(device.tvm_target())}


@pytest.mark.parametrize(
    ("flags", "isa", "vector_bits"),
    [
        (VPOPCNT, "avx512-vpopcnt", 512),
        (AVX512, "avx512", 512),
        (AVX2, "avx2", 256),
        (V2, "x86-64", 128),
    ],
)
def test_the_flags_decide_and_not_the_name(
    tmp_path: Path, cpu: pytest.MonkeyPatch, flags: str, isa: str, vector_bits: int
) -> None:
    device = native.detect(machine(tmp_path, flags))
    assert (device.name, device.isa, device.vector_bits) == ("native", isa, vector_bits)
    assert device.cpu == "znver4"
    seen = host.host_features(tmp_path)
    assert granted(device) & host.INSTRUCTION_SETS == seen


def test_a_processor_as_its_name_says_needs_no_corrections(
    tmp_path: Path, cpu: pytest.MonkeyPatch
) -> None:
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "x86-64-v2")
    assert native.detect(machine(tmp_path, V2)).features == ()


def test_what_a_name_does_not_promise_is_added(tmp_path: Path, cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "x86-64")
    device = native.detect(machine(tmp_path, AVX2))
    assert {"+avx2", "+fma", "+popcnt"} <= set(device.features)
    assert not [feature for feature in device.features if feature.startswith("-")]


def test_a_known_processor_brings_its_own_facts(tmp_path: Path, cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "icelake-server")
    device = native.detect(machine(tmp_path, f"{VPOPCNT} avx512_vnni"))
    assert device.l2_kib == load("icelake-server").l2_kib
    assert device.cost == load("icelake-server").cost


def test_dot_products_that_a_virtual_machine_hides_are_not_there(
    tmp_path: Path, cpu: pytest.MonkeyPatch
) -> None:
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "icelake-server")
    device = native.detect(machine(tmp_path, VPOPCNT))
    assert device.cost == replace(load("icelake-server").cost, dot=None)


def test_an_unknown_intel_processor_gets_the_costs_of_one(
    tmp_path: Path, cpu: pytest.MonkeyPatch
) -> None:
    """Two ports for 512-bit multiply-adds: bits gain half of what they do on Zen 4."""
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "emeraldrapids")
    device = native.detect(machine(tmp_path, f"{VPOPCNT} avx512_vnni avx512_fp16"))
    assert device.cost == load("sapphirerapids").cost


def test_a_processor_with_a_target_gets_its_costs(tmp_path: Path, cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(codegen, "llvm_get_system_cpu", lambda: "znver5")
    device = native.detect(machine(tmp_path, f"{VPOPCNT} avx512_vnni"))
    assert device.cost == load("zen5").cost != load("zen4").cost


def test_the_caches_are_those_of_the_machine(tmp_path: Path, cpu: pytest.MonkeyPatch) -> None:
    caches = (
        ("1", "Data", "48K"),
        ("1", "Instruction", "16K"),
        ("2", "Unified", "2048K"),
        ("3", "Unified", "96M"),
    )
    device = native.detect(machine(tmp_path, VPOPCNT, caches))
    assert (device.l1d_kib, device.l2_kib, device.l3_kib) == (48, 2048, 96 * 1024)


def test_caches_that_are_not_listed_come_from_the_model(
    tmp_path: Path, cpu: pytest.MonkeyPatch
) -> None:
    device = native.detect(machine(tmp_path, VPOPCNT, (("1", "Data", "24K"), ("2", "Unified", ""))))
    zen4 = load("zen4")
    assert (device.l1d_kib, device.l2_kib, device.l3_kib) == (24, zen4.l2_kib, zen4.l3_kib)


def test_cores_are_those_this_process_may_use(tmp_path: Path, cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7})
    assert native.detect(machine(tmp_path, VPOPCNT)).cores == 3


@pytest.mark.parametrize(("flags", "reason"), [("fpu sse sse2", "popcnt"), ("fp asimd", "popcnt")])
def test_a_processor_of_no_family_is_refused(tmp_path: Path, flags: str, reason: str) -> None:
    with pytest.raises(TargetError, match=reason) as caught:
        native.detect(machine(tmp_path, flags))
    assert "\n" not in str(caught.value)


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.platform, "machine", lambda: "riscv64")
    with pytest.raises(TargetError, match=r"Linux on riscv64 cannot be detected: name a target"):
        load("native")


def test_a_machine_without_cpuinfo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no /proc/cpuinfo"):
        native.detect(tmp_path)


def test_cpuinfo_without_flags_is_refused(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("Features : fp asimd\n", encoding="utf-8")
    with pytest.raises(TargetError, match="lists no x86 flags"):
        native.detect(tmp_path)


def test_every_flag_has_a_name_that_llvm_knows() -> None:
    """A misspelt feature would be ignored by LLVM with no more than a line in the log."""
    known: set[str] = set()
    for cpu_name in ("znver5", "graniterapids", "sapphirerapids", "tigerlake", "sierraforest"):
        target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": cpu_name}
        import tvm

        known |= {str(f) for f in codegen.llvm_get_cpu_features(tvm.target.Target(target))}
    assert known >= host.INSTRUCTION_SETS


def test_this_very_machine_runs_its_own_code() -> None:
    try:
        device = load("native")
    except TargetError as error:
        pytest.skip(str(error))
    assert device.runs_here()
    assert device.cores == len(os.sched_getaffinity(0))
