"""What is compiled without records is what the tuner calls the default."""

from __future__ import annotations

import pytest
import tvm_ffi

from abc_tvm import zoo
from abc_tvm.relay_passes.workload import BATCH, build
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from abc_tvm.tuning.network import tasks_of


@pytest.mark.parametrize("name", ["zen5", "haswell", "rpi4"])
def test_compiled_and_tuned_defaults_are_one_kernel(name: str) -> None:
    """ResNet-50's 1x1 convolutions to many channels have both orders of the loops."""
    device = load(name)
    tasks = tasks_of(zoo.build("resnet50", 1, 1, image_size=64, batch=1), device)
    for task in tasks:
        compiled = build(task.workload.function, scheduler_of(device), BATCH)
        chosen = task.workload.lowered(device, task.default)
        assert tvm_ffi.structural_equal(compiled.func, chosen.func), task.name
    orders = {task.default.order for task in tasks}
    assert orders == ({"weights", "pixels"} if name == "zen5" else {"weights"})
