"""Files that describe a device: what may be in them, and the one line where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets import Cost, Device, files, load, names
from abc_tvm.targets.files import MOST_BYTES, read

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


def write(folder: Path, text: str) -> Path:
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_devices() -> None:
    assert {load(name).isa for name in names()} >= {"avx512-vpopcnt", "avx512", "avx2", "x86-64"}
    assert names() == tuple(sorted(names()))


def test_a_users_own_file(tmp_path: Path) -> None:
    assert read(write(tmp_path, GOOD)) == Device(
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
    assert read(write(tmp_path, GOOD)).runtime
    assert not read(write(tmp_path, GOOD)).in_order
    changed = read(
        write(tmp_path, GOOD.replace("[cost]", "runtime = false\nin_order = true\n[cost]"))
    )
    assert not changed.runtime
    assert changed.in_order


def test_the_device_without_a_runtime() -> None:
    assert [name for name in names() if not load(name).runtime] == ["rpi-armv7"]


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        ("cores = 4\n", "", "cores", "missing"),
        ("cores = 4", "core = 4", "core", "did you mean cores"),
        ("cores = 4", 'cores = "4"', "cores", "integer"),
        ("cores = 4", "cores = 0", "cores", "integer of at least 1"),
        ("cores = 4", "cores = true", "cores", "integer"),
        ("cores = 4", "cores = 4.0", "cores", "integer"),
        ("cores = 4", "cores = 4_000_000_000", "cores", "integer of at most 2147483647"),
        ("l3_kib = 0", "l3_kib = -1", "l3_kib", "integer of at least 0"),
        ('cpu = "znver3"', 'cpu = " "', "cpu", "not empty"),
        ('isa = "avx2"', "isa = 2", "isa", "string"),
        ('isa = "avx2"', 'isa = "avx-2"', "isa", "one of avx512-vpopcnt, .*; did you mean avx2"),
        ('isa = "avx2"', 'isa = "cuda"', "gpu", "missing: the family cuda is for GPUs"),
        ('["+avx2", "-sse4a"]', '"+avx2"', "features", "list"),
        ('"+avx2"', '"avx2"', "features", r"\+avx2"),
        ('"+avx2"', "1", "features", "list of strings"),
        ('"+avx2"', '"+"', "features", "list of strings"),
        ("[cost]\npair = 0.125", "cost = 1", "cost", "table"),
        ("pair = 0.125", "", "cost.pair", "missing"),
        ("pair = 0.125", "pairs = 1", "cost.pairs", "did you mean pair"),
        ("pair = 0.125", "pair = 0", "cost.pair", "above 0"),
        ("pair = 0.125", "pair = nan", "cost.pair", "above 0"),
        ("pair = 0.125", "pair = inf", "cost.pair", "above 0"),
        ("pair = 0.125", "pair = true", "cost.pair", "above 0"),
        ("pair = 0.125", "pair = 0.125\ndot = []", "cost.dot", "above 0"),
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
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert f"field {field}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("isa", ["x86-64", "neon", "neon32"])
def test_a_cost_of_dots_needs_a_family_that_has_them(isa: str, tmp_path: Path) -> None:
    text = GOOD.replace('isa = "avx2"', f'isa = "{isa}"')
    assert read(write(tmp_path, text)).cost.dot is None
    with pytest.raises(
        TargetError, match=rf"cost\.dot must be left out: the family {isa}"
    ) as caught:
        read(write(tmp_path, f"{text}dot = 0.5\n"))
    assert "\n" not in str(caught.value)
    assert read(write(tmp_path, f"{GOOD}dot = 0.5\n")).cost.dot == 0.5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"cores == 4\n", "not valid TOML: .*line 1"),
        (b"\xff\xfe\x00", "not valid TOML: .*decode"),
        (b"cores = " + b"9" * 5000, "not valid TOML: .*digits"),
        (b"cores = " + b"[" * 100_000, "not valid TOML"),
        (b"#" * (MOST_BYTES + 1), "has 1,048,577 bytes, more than the 1,048,576"),
        (b"", "the field description is missing"),
    ],
)
def test_what_is_no_description_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(data)
    with pytest.raises(TargetError, match=rf"board\.toml: {reason}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"absent\.toml: no such file"):
        read(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arch = "sm_80"', 'arch = "ampere"', "gpu.arch must be the name of a real architecture"),
        ('arch = "sm_80"', 'arch = "sm_²"', "gpu.arch must be the name of a real architecture"),
        ('arch = "sm_80"', "arch = 80", "gpu.arch must be the name of a real architecture"),
        ('b1 = "and"', 'b1 = ["and"]', "gpu.b1 must be one of and, xor, none"),
        ('b1 = "and"', 'b1 = "or"', "gpu.b1 must be one of and, xor, none"),
        ("fma = 64", "fma = 0", "gpu.fma must be an integer of at least 1"),
        ("fma = 64", "fmas = 64", r"unknown field gpu\.fmas: did you mean fma"),
        ("fma = 64", "", r"the field gpu\.fma is missing"),
        ("dp4a = 64", "dp4a = 64.5", "gpu.dp4a must be an integer"),
        ("tensor_quads = 512", "", r"the field gpu\.tensor_quads is missing"),
        ("popc = 16", "popc = 16\nsms = 108", r"unknown field gpu\.sms: there are arch"),
        ('isa = "cuda"', 'isa = "avx2"', "gpu must be left out: the family avx2 is for processors"),
    ],
)
def test_a_wrong_field_of_a_gpu_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = Path(files.__file__).with_name("cuda-sm80.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "card.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(TargetError, match=message):
        read(path)
