"""The C++ runner: its sources, and the program for another machine.

It is linked against stand-ins for TVM's two libraries, which have their names and the functions
that the runner calls. So the program is the same bytes whether or not the real ones are at hand,
and it finds them in the folder ``lib`` beside itself.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import resources
from pathlib import Path

from abc_tvm.deploy import toolchain
from abc_tvm.errors import MissingDependencyError
from abc_tvm.scratch import scratch

_CODE = ("main.cpp", "network.cpp", "npz.cpp")
_SOURCES = (*_CODE, "network.h", "npz.h", "CMakeLists.txt")
_HEADERS = ("tvm/ffi/c_api.h", "dlpack/dlpack.h")
_INLINE = re.compile(r"^inline .*?(TVMFFI\w+)\(", re.MULTILINE)


def script() -> bytes:
    """``run.py``."""
    return _read("run.py")


def sources() -> dict[str, bytes]:
    """Everything that builds the runner, TVM's two C headers included."""
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("tvm_ffi: the package apache-tvm-ffi is not installed")
    include = Path(spec.origin).with_name("include")
    files = {name: _read(name) for name in _SOURCES}
    files |= {f"include/{name}": (include / name).read_bytes() for name in _HEADERS}
    return files


def program(triple: str, name: str) -> bytes:
    """The runner for a machine.

    Raises:
        MissingDependencyError: There is no compiler for it, or it failed.
    """
    compiler = toolchain.for_program(triple, name)
    with scratch() as folder:
        for path, content in sources().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for library, functions in (("tvm_runtime", ()), ("tvm_ffi", _called(folder))):
            stub = "".join(f"void {function}(void) {{}}\n" for function in functions)
            (folder / "stub.c").write_text(stub, encoding="ascii")
            file = f"lib{library}.so"
            compiler.run(
                *("-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file, folder / "stub.c")
            )
        compiler.run(
            *("-std=c++17", "-O2", "-s", f"-I{folder / 'include'}"),
            *(folder / code for code in _CODE),
            *(f"-L{folder}", "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi", "-lpthread"),
            *("-Wl,-rpath,$ORIGIN/lib", "-o", folder / "run"),
            cxx=True,
        )
        return (folder / "run").read_bytes()


def _called(folder: Path) -> list[str]:
    """The functions of libtvm_ffi that the runner calls."""
    header = (folder / "include" / _HEADERS[0]).read_text(encoding="utf-8")
    code = (folder / "network.cpp").read_text(encoding="utf-8")
    names = set(re.findall(r"\b(TVMFFI\w+)\(", code))
    return sorted(names - set(_INLINE.findall(header)))


def _read(name: str) -> bytes:
    return resources.files("abc_tvm.deploy").joinpath("runner", name).read_bytes()
