"""The flags that Linux lists, by LLVM's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets.host import INSTRUCTION_SETS, host_features


def machine(root: Path, text: str | bytes) -> Path:
    (root / "proc").mkdir()
    data = text if isinstance(text, bytes) else text.encode()
    (root / "proc/cpuinfo").write_bytes(data)
    return root


def test_flags_get_their_other_names(tmp_path: Path) -> None:
    text = "processor\t: 0\nflags\t\t: fpu pni abm bmi1 avx512_vpopcntdq constant_tsc\n"
    assert host_features(machine(tmp_path, text)) == {"sse3", "lzcnt", "bmi", "avx512vpopcntdq"}


def test_the_first_processor_speaks_for_all(tmp_path: Path) -> None:
    text = "flags : avx2\n\nflags : avx2 avx512f\n"
    assert host_features(machine(tmp_path, text)) == {"avx2"}


def test_other_lines_are_no_flags(tmp_path: Path) -> None:
    text = "vmx flags : avx512f\nbugs : avx2\nmodel name : flags : fma\nflags : popcnt\n"
    assert host_features(machine(tmp_path, text)) == {"popcnt"}


def test_a_name_of_odd_bytes_is_read_over(tmp_path: Path) -> None:
    assert host_features(machine(tmp_path, b"model name : \xff\nflags : avx\n")) == {"avx"}


def test_no_flag_that_we_know_is_an_answer(tmp_path: Path) -> None:
    assert host_features(machine(tmp_path, "flags : fpu de pse\nflags : avx2\n")) == frozenset()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no /proc/cpuinfo to read"),
        ("", "/proc/cpuinfo lists no x86 flags"),
        ("Features : fp asimd evtstrm\nCPU architecture: 8\n", "lists no x86 flags"),
        ("isa : rv64imafdc\n", "lists no x86 flags"),
    ],
)
def test_hosts_that_are_none_of_ours(text: str | None, reason: str, tmp_path: Path) -> None:
    root = tmp_path if text is None else machine(tmp_path, text)
    with pytest.raises(TargetError, match=f"target native: .*{reason}: name a target") as caught:
        host_features(root)
    assert "\n" not in str(caught.value)


def test_what_is_seen_is_known() -> None:
    """Of this very machine, where it lists flags."""
    try:
        seen = host_features()
    except TargetError as error:
        pytest.skip(str(error))
    assert seen <= INSTRUCTION_SETS
