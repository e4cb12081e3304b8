"""A network's distinct kernels: each once, in the order of its first use, by every name."""

from __future__ import annotations

from pathlib import Path

from abc_tvm.targets import Device
from abc_tvm.tuning.network import Network, tasks_of
from tests.abc_tvm.small_networks import chain, network


def test_equal_layers_are_one_task(device: Device) -> None:
    """Of four convolutions of 8 channels the two in the middle: bits in, bits out."""
    tasks = tasks_of(chain(8, 8, 8, 8, 8), device, lowering="bitserial")
    keys = [task.key for task in tasks]
    assert len(set(keys)) == len(keys)
    assert max(task.count for task in tasks) == 2
    names = [name for task in tasks for name in task.names]
    assert len(set(names)) == len(names)


def test_in_the_order_of_their_first_use(device: Device) -> None:
    tasks = tasks_of(network(), device, lowering="bitserial")
    kinds = [task.workload.problem.kind for task in tasks]
    assert kinds[-2:] == ["bitserial", "bitserial"]
    assert [task.macs for task in tasks][-2] > [task.macs for task in tasks][-1]


def test_it_is_read_once_and_lowered_again(device: Device) -> None:
    one = Network(network(), device, lowering="bitserial")
    imported = one.whole.imported
    first, second = one.tasks(), one.tasks()
    assert [t.key for t in first] == [t.key for t in second]
    assert one.whole.imported is imported
    assert first[0] is not second[0]


def test_a_path_or_a_model(device: Device, model: Path) -> None:
    by_path = tasks_of(str(model), device, lowering="bitserial")
    assert [t.key for t in by_path] == [
        t.key for t in tasks_of(network(), device, lowering="bitserial")
    ]


def test_floats_are_tasks_of_their_own(device: Device) -> None:
    bits, floats = (
        {t.key for t in tasks_of(network(), device, lowering=way)} for way in ("bitserial", "float")
    )
    assert floats and not bits & floats


def test_what_there_was_to_choose_between(device: Device) -> None:
    tasks, rivals, taken = Network(network(), device).lowered(None)
    assert tasks and rivals.keys() <= taken.keys() == {"block/conv1", "block/conv2"}
    assert set(taken.values()) <= {"bitserial", "int8", "float"}
    costs = [both.costs for both in rivals.values()]
    assert costs and all(cost["float"] == 1.0 and len(cost) > 1 for cost in costs)
