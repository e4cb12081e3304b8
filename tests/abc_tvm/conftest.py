"""A small network whose two kernels tune in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.records.task import Task
from abc_tvm.targets import Device, load
from abc_tvm.tuning.network import tasks_of
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
