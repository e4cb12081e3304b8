"""The CUDA device is looked at before any code is loaded: what is missing is said in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tvm

from abc_tvm.errors import TargetError
from abc_tvm.runtime import cuda_device
from abc_tvm.runtime.cuda_device import RUNTIME, loads, open_device, pip_libraries, runtime_of_tvm
from abc_tvm.targets import driver


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "capability", lambda: (8, 6, 84, "a card"))


def test_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise TargetError("target cuda: no driver here: name the architecture, -t cuda-sm80")

    monkeypatch.setattr(driver, "capability", none)
    with pytest.raises(TargetError) as caught:
        open_device("m.so", "sm_80")
    assert str(caught.value) == (
        "m.so: compiled for a GPU (sm_80): no driver here; run it on a machine with one, or "
        "compile it for this one (abc-tvm compile -t native)"
    )


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("arch", ["sm_90", "sm_89"])
def test_code_for_a_later_device(arch: str) -> None:
    with pytest.raises(TargetError, match=f"compiled for {arch}, and a card is sm_86; compile"):
        open_device("m.so", arch)


@pytest.mark.usefixtures("card")
def test_the_runtime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(cuda_device, "is_loaded", lambda: False)
    monkeypatch.setattr(cuda_device, "loads", lambda name: bool(tried.append(name)))
    monkeypatch.setattr(cuda_device, "pip_libraries", lambda name: [f"/pip/{name}"])
    with pytest.raises(TargetError, match=f"needs the CUDA runtime {RUNTIME}: pip install"):
        open_device("m.so", "sm_80")
    assert tried == [RUNTIME, f"/pip/{RUNTIME}"], "the system's own first"


@pytest.mark.usefixtures("card")
def test_a_device_that_the_runtime_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "is_loaded", lambda: True)
    monkeypatch.setattr(tvm, "cuda", lambda n: SimpleNamespace(exist=False))
    with pytest.raises(TargetError, match="the driver knows a card, and the CUDA runtime does not"):
        open_device("m.so", "sm_80")
    there: Any = SimpleNamespace(exist=True)
    monkeypatch.setattr(tvm, "cuda", lambda n: there)
    assert open_device("m.so", "sm_80") is there


def test_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not loads("libnone.so.99")
    assert loads("libc.so.6")
    assert Path(runtime_of_tvm()).name == "libtvm_runtime_cuda.so"
    folder = tmp_path / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / RUNTIME).touch()
    places = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: places)
    assert pip_libraries(RUNTIME) == [str(folder / RUNTIME)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert pip_libraries(RUNTIME) == []
