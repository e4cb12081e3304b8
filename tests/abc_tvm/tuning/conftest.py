"""A small network whose two kernels tune in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abc_tvm import peaks
from abc_tvm.targets import Device, load
from abc_tvm.tuning.network import tasks_of
from abc_tvm.tuning.task import Task
from tests.abc_tvm.small_networks import network, write


@pytest.fixture(scope="session")
def device() -> Device:
    return load("native")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tuning") / "m.onnx", network())


@pytest.fixture(scope="session")
def tasks(model: Path, device: Device) -> list[Task]:
    return tasks_of(str(model), device, lowering="bitserial")


@pytest.fixture(autouse=True)
def _peaks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each run of the tuner: what the machine can do does not change meanwhile."""

    def measure(device: Device) -> dict[Any, float | None]:
        if device not in _peaks:
            _peaks[device] = _measure(device)
        return _peaks[device]

    monkeypatch.setattr(peaks, "measure", measure)


_measure = peaks.measure
_peaks: dict[Device, dict[Any, float | None]] = {}
