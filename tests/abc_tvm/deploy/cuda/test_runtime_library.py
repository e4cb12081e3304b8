"""Stand-ins for NVIDIA's libraries: every function that TVM asks for, and each refuses."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.deploy.cuda import runtime_library
from abc_tvm.deploy.cuda.runtime_library import DRIVER
from abc_tvm.errors import MissingDependencyError, TargetError
from abc_tvm.runtime.cuda_device import RUNTIME, runtime_of_tvm


@pytest.mark.parametrize("name", [DRIVER, RUNTIME])
def test_every_function_refuses(name: str, tmp_path: Path) -> None:
    try:
        path = runtime_library._stand_in(name, tmp_path)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    library = ctypes.CDLL(str(path))
    for symbol in runtime_library._SYMBOLS[name].split():
        assert library[symbol]() == 100, symbol
    for symbol in runtime_library._TEXTS[name].split():
        function = library[symbol]
        function.restype = ctypes.c_char_p
        assert function() == b"there is no CUDA device"


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_they_have_all_that_tvm_asks_for() -> None:
    library = Path(runtime_of_tvm())
    if not library.exists():
        pytest.skip("this TVM has no CUDA runtime")
    command = ["nm", "-D", "--undefined-only", str(library)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    asked = {word.partition("@")[0] for word in said.split() if word.startswith("cu")}
    texts = " ".join(runtime_library._TEXTS.values())
    known = " ".join([*runtime_library._SYMBOLS.values(), texts]).split()
    assert asked and asked <= set(known)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is loaded yet, and nothing really is; the names that are asked for."""
    asked: list[str] = []
    monkeypatch.setattr(runtime_library, "is_loaded", lambda: False)
    monkeypatch.setattr(runtime_library, "loads", lambda name: bool(asked.append(name)) or True)
    monkeypatch.setattr(runtime_library, "runtime_of_tvm", lambda: "/none/libtvm_cuda.so")
    return asked


def test_nvidias_own_go_first(fresh: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, *_: made.append(path))
    runtime_library.load.__wrapped__()
    assert fresh == [DRIVER, RUNTIME] and made == ["/none/libtvm_cuda.so"]


def test_a_tvm_without_cuda(fresh: list[str]) -> None:
    with pytest.raises(TargetError, match=r"libtvm_cuda\.so: TVM's CUDA runtime cannot be loaded"):
        runtime_library.load.__wrapped__()
    assert fresh


def test_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_library, "is_loaded", lambda: True)
    monkeypatch.setattr(runtime_library, "runtime_of_tvm", lambda: pytest.fail("not asked"))
    runtime_library.load.__wrapped__()
