from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from abc_tvm.deploy.c_form.archive import Member, archive
from abc_tvm.deploy.c_form.elf import MACHINES, constant_object, machine_of
from abc_tvm.errors import TargetError
from tests import qemu

DATA = bytes(range(256)) * 3 + b"\x07"
CODE = """
#include <stdint.h>
#include <stdio.h>
extern const unsigned char one[];
extern const unsigned char other[];
int main(void) {
    for (int i = 0; i < SIZE; i++)
        if (one[i] != (unsigned char)(i % 256) && i != SIZE - 1) return 1;
    if (one[SIZE - 1] != 7 || other[0] != 42) return 2;
    return (int)(((uintptr_t)one | (uintptr_t)other) % 64);
}
"""


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64", "arm"])
@pytest.mark.parametrize("archived", [False, True])
def test_a_program_reads_the_constants(tmp_path: Path, architecture: str, archived: bool) -> None:
    machine = MACHINES[architecture]
    objects = {
        name: constant_object(name, data, machine)
        for name, data in (("one", DATA), ("other", b"*"))
    }
    if archived:
        # Names of odd length, and longer than the fifteen letters that a header has room for.
        members = [Member(f"{n}_with_a_long_name.o", d, (n,)) for n, d in objects.items()]
        (tmp_path / "libconstants.a").write_bytes(archive(members))
        files = ["libconstants.a"]
    else:
        for name, data in objects.items():
            (tmp_path / f"{name}.o").write_bytes(data)
        files = [f"{name}.o" for name in objects]
    (tmp_path / "main.c").write_text(CODE, encoding="ascii")
    native = architecture == "x86_64"
    compiler = "gcc" if native else qemu.cross_compiler(architecture)
    emulator = [] if native else qemu.emulator(architecture)
    flags = ["-Wall", "-Werror", "-Wl,--fatal-warnings", f"-DSIZE={len(DATA)}", "-o", "main"]
    qemu.run([compiler, *flags, "main.c", *files], tmp_path)
    qemu.run([*emulator, "./main"], tmp_path)


def test_binutils_read_the_archive(tmp_path: Path) -> None:
    if shutil.which("ar") is None:
        pytest.skip("needs ar (Debian: apt install binutils)")
    file = tmp_path / "lib.a"
    data = constant_object("one", b"abc", MACHINES["x86_64"])
    file.write_bytes(archive([Member("x.o", data, ("one",)), Member("yy.o", b"odd", ())]))
    assert qemu.run(["ar", "t", file]).split() == ["x.o", "yy.o"]
    assert subprocess.run(["ar", "p", file, "yy.o"], capture_output=True).stdout == b"odd"
    assert "one in x.o" in qemu.run(["nm", "-s", file, "--quiet"])


def test_the_same_members_give_the_same_bytes() -> None:
    members = [Member("x.o", b"data", ("one", "two"))]
    assert archive(members) == archive(list(members))


def test_triples() -> None:
    assert machine_of("aarch64-linux-gnu").number == 183
    assert machine_of("armv7l-linux-gnueabihf").bits == 32
    assert machine_of("arm-linux-gnueabihf").bits == 32
    with pytest.raises(TargetError, match="riscv64-linux-gnu: the C form is made for"):
        machine_of("riscv64-linux-gnu")
