"""What NVIDIA's driver says of this machine, and each way in which it says nothing."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets import driver


class Library:
    """The driver's C library with ``devices`` of a capability; calls in ``fails`` return 1."""

    def __init__(self, devices: int = 1, fails: tuple[str, ...] = ()) -> None:
        self.devices, self.fails = devices, fails
        self.attributes = {75: 8, 76: 6, 16: 84}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        return lambda *args: int(name in self.fails) or self.answer(name, *args)

    def answer(self, name: str, *args: Any) -> int:
        if name == "cuDeviceGetCount":
            args[0]._obj.value = self.devices
        elif name == "cuDeviceGetAttribute":
            args[0]._obj.value = self.attributes[args[1]]
        elif name == "cuDeviceGetName":
            args[0].value = b"a card \xff"[: args[1] - 1]
        return 0


def use(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)


def test_the_first_device(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Library(devices=2))
    assert driver.capability() == (8, 6, 84, "a card \ufffd")
    assert [driver.runs(arch) for arch in ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90")] == [
        False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (Library(fails=("cuInit",)), "the driver finds no device"),
        (Library(fails=("cuDeviceGetCount",)), "the driver finds no device"),
        (Library(devices=0), "the driver finds no device"),
        (Library(fails=("cuDeviceGet",)), "the driver does not open its first device"),
        (Library(fails=("cuDeviceGetAttribute",)), "does not describe its first device"),
    ],
)
def test_a_driver_without_a_device(
    library: Library, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, library)
    with pytest.raises(TargetError, match=f"target cuda: .*{reason}: name the arch") as caught:
        driver.capability()
    assert "\n" not in str(caught.value)
    assert not driver.runs("sm_80")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(TargetError, match=r"no NVIDIA driver \(libcuda.so.1\).*cuda-sm80"):
        driver.capability()
    assert not driver.runs("sm_80")


def test_code_runs_on_later_ones_of_the_same_major_number() -> None:
    assert driver.serves("sm_90", 9, 0) and driver.serves("sm_80", 8, 9)
    assert not driver.serves("sm_86", 8, 0), "of an earlier one"
    assert not driver.serves("sm_80", 9, 0) and not driver.serves("sm_90", 10, 0)
    assert driver.serves("sm_100", 10, 3) and not driver.serves("sm_100", 1, 0)
