"""The CUDA C of a few small kernels, and that it compiles for each architecture.

``ABC_TVM_UPDATE_GOLDEN=1`` writes the files anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm import stages
from abc_tvm.deploy.cuda import device_code
from abc_tvm.runtime.cuda_device import pip_libraries
from abc_tvm.schedules.cuda.source import library
from abc_tvm.schedules.cuda.tiles import BlockTile
from tests.schedules.cuda.cases import counts_of, device_of, kernels, scheduled
from tests.schedules.int8_cases import byte_kernel
from tests.schedules.window_cases import all_outputs, bit_case

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "ABC_TVM_UPDATE_GOLDEN"
ARCHITECTURES = ["sm80", "sm75", "sm86", "sm89", "sm90"]
"""The first one's source is what is kept."""

SMALL: dict[str, Any] = {
    "size": (5, 4), "channels": (33, 40), "kernel": (3, 3), "padding": (1, 1, 1, 1)
}  # fmt: skip
TILES = {"cores": BlockTile(2, 1, 1, 1, "cores"), "tensor": BlockTile(2, 1, 1, 1, "tensor")}
KINDS = ["bitserial", "int8"]
PRODUCTS = {"bitserial": (" AbcAnd>>", " AbcXor>>"), "int8": (" AbcBytes>>", " AbcBytesTuring>>")}
"""In the line that calls a reduction on tensor cores: from Ampere on, and on Turing."""


def source(name: str, tile: BlockTile | None, kind: str = "bitserial") -> str:
    """The CUDA C of one fused kernel, as TVM hands it to a compiler."""
    made = kernels(tile, f"cuda-{name}")
    if kind == "int8":
        func = byte_kernel(SMALL, device_of(made), np.random.default_rng(0), made).func
    else:
        case = bit_case(0, **SMALL, M=2)
        kernel = all_outputs(case, case.window, counts_of(made))
        func = scheduled(made, kernel.func(False))
    with stages.device_code_of(device_of(made)):
        built = tvm.compile(func, device_of(made).tvm_target())
    return str(built.mod.imports[0].inspect_source())


def own_part(text: str) -> str:
    """Without what is the same for every kernel."""
    for name in ("ptx", "window", "slot"):
        assert text.count(library(name)) == 1, name
        text = text.replace(library(name), f"// {name}.cuh\n")
    return text[text.index("// ptx.cuh") :]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", sorted(TILES))
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_source(name: str, unit: str, kind: str, cuda_emulation: None) -> None:
    """One source for all architectures, but for what Turing's tensor cores multiply."""
    text = own_part(source(name, TILES[unit], kind))
    path = GOLDEN / f"{kind}-{unit}.cu"
    if os.environ.get(UPDATE) == "1" and name == ARCHITECTURES[0]:
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    if unit == "tensor" and name == "sm75":
        [line] = [line for line in golden.splitlines() if line.startswith("  abc_window<")]
        later, turing = PRODUCTS[kind]
        assert line.count(later) == 1
        golden = golden.replace(line, line.replace(later, turing))
    assert text == golden, f"{path.name}: {UPDATE}=1 rewrites it"


COMPILE = """
import sys
from pathlib import Path
from abc_tvm.deploy.cuda import device_code
source, compiler, arch = sys.argv[1:]
code = Path(source).read_text(encoding="utf-8")
if compiler == "nvrtc":
    made = device_code.compile_source(code, arch)
else:
    made = device_code.by_nvcc(compiler, code, arch)
Path(source).with_suffix(".cubin").write_bytes(made)
"""


@pytest.mark.parametrize("compiler", ["nvrtc", "nvcc"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_compiles(name: str, compiler: str, tmp_path: Path, cuda_emulation: None) -> None:
    """Real device code: an ELF file whose architecture is the one that was asked for."""
    program = shutil.which("nvcc") if compiler == "nvcc" else "nvrtc"
    if program is None:
        pytest.skip("needs nvcc of a CUDA 13 toolkit")
    if compiler == "nvrtc" and not pip_libraries(device_code.NVRTC):
        pytest.skip("needs NVRTC (pip install nvidia-cuda-nvrtc)")
    path = tmp_path / "kernels.cu"
    # One function of each kind, in one file.
    sources = [source(name, TILES[unit], kind) for kind in KINDS for unit in sorted(TILES)]
    names = [b"main_kernel", *(b"kernel_%d" % n for n in range(1, len(sources)))]
    parts = [sources[0]]
    for text, kernel in zip(sources[1:], names[1:], strict=True):
        own = text[text.index("struct abc_") :]
        parts.append(own.replace("main_kernel", kernel.decode()))
    path.write_text("".join(parts), encoding="utf-8")
    # Another process: NVRTC looks for a driver, and must not find the emulated one.
    command = [sys.executable, "-c", COMPILE, str(path), program, f"sm_{name[2:]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cubin = path.with_suffix(".cubin").read_bytes()
    # ELF, of machine 190 (EM_CUDA); CUDA 13 keeps the architecture in bits 8 to 15 of e_flags.
    assert cubin[:4] == b"\x7fELF" and cubin[18:20] == (190).to_bytes(2, "little")
    assert cubin[48 + 1] == int(name[2:])
    assert all(kernel in cubin for kernel in names)


@pytest.mark.parametrize("architecture", ["sm80", "sm86", "sm89", "sm90"])
def test_the_product_of_bits_is_one_instruction(architecture: str, tmp_path: Path) -> None:
    """Tensor cores do it, where some later architectures call a function."""
    disassembler, program = shutil.which("nvdisasm"), shutil.which("nvcc")
    if disassembler is None or program is None:
        pytest.skip("needs nvdisasm and nvcc of a CUDA 13 toolkit")
    code = library("ptx") + (
        'extern "C" __global__ void k(int* c, const unsigned* a) {\n'
        "  abc_mma_m16n8k256_and(c, a, a + 4);\n}\n"
    )
    cubin = tmp_path / "k.cubin"
    cubin.write_bytes(device_code.by_nvcc(program, code, f"sm_{architecture[2:]}"))
    text = subprocess.run([disassembler, cubin], capture_output=True, text=True, check=True).stdout
    assert text.count("BMMA.168256.AND.POPC") == 1


def test_a_compiler_that_fails_gives_one_line(tmp_path: Path) -> None:
    if not pip_libraries(device_code.NVRTC):
        pytest.skip("needs NVRTC (pip install nvidia-cuda-nvrtc)")
    path = tmp_path / "kernels.cu"
    path.write_text('extern "C" __global__ void k() { no_such(); }', encoding="utf-8")
    command = [sys.executable, "-c", COMPILE, str(path), "nvrtc", "sm_80"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError: target cuda: NVRTC for sm_80 failed:" in last
    assert "no_such" in last
