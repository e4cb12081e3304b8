from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets import Cost, Device, device, host, load, names

GOOD = """\
description = "a board"
triple = "x86_64-linux-gnu"
cpu = "znver3"
features = ["+avx2", "-sse4a"]
isa = "avx2"
vector_bits = 256
vector_registers = 16
cores = 4
l1d_kib = 32
l2_kib = 512
l3_kib = 0
[cost]
pair = 0.125
"""


def write(folder: Path, text: str) -> str:
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_shipped_devices() -> None:
    assert {load(name).isa for name in names()} >= {"avx512-vpopcnt", "avx512", "avx2", "x86-64"}
    assert names() == tuple(sorted(names()))


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


def test_a_users_own_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD)) == Device(
        name="board",
        description="a board",
        triple="x86_64-linux-gnu",
        cpu="znver3",
        features=("+avx2", "-sse4a"),
        isa="avx2",
        vector_bits=256,
        vector_registers=16,
        cores=4,
        l1d_kib=32,
        l2_kib=512,
        l3_kib=0,
        cost=Cost(pair=0.125),
    )


def test_fields_that_may_be_left_out(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD)).runtime
    assert not load(write(tmp_path, GOOD)).in_order
    changed = load(
        write(tmp_path, GOOD.replace("[cost]", "runtime = false\nin_order = true\n[cost]"))
    )
    assert not changed.runtime
    assert changed.in_order


def test_floats_of_32_bit_arm_go_in_registers() -> None:
    """As the system's own programs pass them (gnueabihf), or nothing can be linked."""
    assert load("rpi-armv7").tvm_target().attrs["mfloat-abi"] == "hard"


def test_the_device_without_a_runtime() -> None:
    assert [name for name in names() if not load(name).runtime] == ["rpi-armv7"]


def test_features_reach_llvm(tmp_path: Path) -> None:
    from tvm.target import codegen

    target = load(write(tmp_path, GOOD)).tvm_target()
    assert list(target.attrs["mattr"]) == ["+avx2", "-sse4a"]
    assert "sse4a" not in {str(feature) for feature in codegen.llvm_get_cpu_features(target)}


def test_an_unknown_name_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(TargetError) as caught:
        load("zen-4")
    message = str(caught.value)
    assert "did you mean zen4?" in message
    assert all(name in message for name in (*names(), "native"))
    assert "\n" not in message


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(TargetError, match="'qqqq'") as caught:
        load("qqqq")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        ("cores = 4\n", "", "cores", "missing"),
        ("cores = 4", "core = 4", "core", "did you mean cores"),
        ("cores = 4", 'cores = "4"', "cores", "integer"),
        ("cores = 4", "cores = 0", "cores", "integer of at least 1"),
        ("cores = 4", "cores = true", "cores", "integer"),
        ("l3_kib = 0", "l3_kib = -1", "l3_kib", "integer of at least 0"),
        ('cpu = "znver3"', 'cpu = " "', "cpu", "not empty"),
        ('isa = "avx2"', "isa = 2", "isa", "string"),
        ('isa = "avx2"', 'isa = "avx-2"', "isa", "one of avx512-vpopcnt, .*; did you mean avx2"),
        ('isa = "avx2"', 'isa = "cuda"', "gpu", "missing: the family cuda is for GPUs"),
        ('["+avx2", "-sse4a"]', '"+avx2"', "features", "list"),
        ('"+avx2"', '"avx2"', "features", r"\+avx2"),
        ("[cost]\npair = 0.125", "cost = 1", "cost", "table"),
        ("pair = 0.125", "", "cost.pair", "missing"),
        ("pair = 0.125", "pairs = 1", "cost.pairs", "did you mean pair"),
        ("pair = 0.125", "pair = 0", "cost.pair", "above 0"),
        ("pair = 0.125", "pair = nan", "cost.pair", "above 0"),
        ("pair = 0.125", 'pair = "1/8"', "cost.pair", "above 0"),
        ("cores = 4", 'cores = 4\nname = "x"', "name", "unknown field"),
        ("cores = 4", 'cores = 4\nruntime = "no"', "runtime", "true or false"),
        ("cores = 4", "cores = 4\nin_order = 1", "in_order", "true or false"),
    ],
)
def test_a_wrong_field_is_named(
    tmp_path: Path, old: str, new: str, field: str, reason: str
) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(TargetError, match=reason) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert f"field {field}" in str(caught.value)


@pytest.mark.parametrize("isa", ["x86-64", "neon", "neon32"])
def test_a_cost_of_dots_needs_a_family_that_has_them(isa: str, tmp_path: Path) -> None:
    text = GOOD.replace('isa = "avx2"', f'isa = "{isa}"')
    assert load(write(tmp_path, text)).cost.dot is None
    with pytest.raises(
        TargetError, match=rf"cost\.dot must be left out: the family {isa}"
    ) as caught:
        load(write(tmp_path, f"{text}dot = 0.5\n"))
    assert "\n" not in str(caught.value)
    assert load(write(tmp_path, f"{GOOD}dot = 0.5\n")).cost.dot == 0.5


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"board\.toml: not valid TOML: .*line 1"):
        load(write(tmp_path, "cores == 4\n"))


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match=r"board\.toml: not valid TOML"):
        load(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"absent\.toml: no such file"):
        load(str(tmp_path / "absent.toml"))


def test_llvm_must_know_the_processor(tmp_path: Path) -> None:
    board = load(write(tmp_path, GOOD.replace("znver3", "zenith")))
    with pytest.raises(TargetError, match="board: LLVM knows no cpu 'zenith'"):
        board.tvm_target()


def test_runs_here_needs_the_same_architecture() -> None:
    board = dataclasses.replace(load("x86-64"), triple="aarch64-linux-gnu", cpu="cortex-a72")
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
