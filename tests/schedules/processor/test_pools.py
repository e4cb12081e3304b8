"""Pooling on bits and bytes: every choice computes what the loops without a schedule do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import words
from abc_tvm.records.task import make_task
from abc_tvm.relay_passes.emit.pooling import alone
from abc_tvm.relay_passes.lowerings.coded_padding import packed_level
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from abc_tvm.relay_passes.workload import Workload, build, workload_of
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.processor.space import ProcessorSpace
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import Device, load
from abc_tvm.tuning.measure import compiled, operands, shapes
from tests import emulated


def pool(
    size: int,
    channels: int,
    kernel: tuple[int, int] = (2, 2),
    stride: tuple[int, int] = (2, 2),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    planes: tuple[int, int] = (1, 1),
    binary: bool = False,
    turned: int = 0,
    groups: int = 1,
    codes: tuple[int, ...] | None = None,
    batch: Any = 1,
) -> Any:
    """The private function of one pooling; with ``codes`` on bytes."""
    attrs: dict[str, Any] = {
        "kernel": [*kernel], "strides": [*stride], "padding": [*padding], "dilation": [1, 1],
        "groups": 1, "in_channels": channels, "out_channels": channels,
    }  # fmt: skip
    mask = const((np.arange(channels) < turned).astype(np.int8))
    image = (batch, size, size)
    blocks = words(channels // groups)
    if codes is not None:
        x = relax.Var("x", relax.TensorType([*image, groups, blocks * 32], "uint8"))
        return alone(make("pool_int8", [x, mask], **attrs, codes=[*codes]), "pool")
    x = relax.Var("x", relax.TensorType([*image, planes[0], groups, blocks], "uint32"))
    code = "binary" if binary else "unary"
    return alone(make("pool_bitserial", [x, mask], **attrs, code=code, planes=planes[1]), "pool")


def pad(channels: int, *, planes: int = 1, groups: int = 1, code: int | None = None) -> Any:
    """The private function of one padding; with ``code`` on bytes."""
    attrs: dict[str, Any] = {
        "kernel": [1, 1], "strides": [1, 1], "padding": [1, 0, 2, 3], "dilation": [1, 1],
        "groups": 1, "in_channels": channels, "out_channels": channels,
    }  # fmt: skip
    blocks = words(channels // groups)
    if code is not None:
        x = relax.Var("x", relax.TensorType([1, 5, 4, groups, blocks * 32], "uint8"))
        return alone(make("pad_int8", [x], **attrs, code=code), "pad")
    x = relax.Var("x", relax.TensorType([1, 5, 4, planes, groups, blocks], "uint32"))
    level = packed_level(np.arange(planes) % 2 == 0, channels, groups)
    attrs |= {"code": "thermometer", "planes": planes}
    return alone(make("pad_bitserial", [x, const(level)], **attrs), "pad")


CASES = {
    "padded": pad(33, planes=3),
    "padded_groups": pad(192, groups=2),
    "padded_int8": pad(65, code=7),
    "one_word": pool(7, 5),
    "three_words": pool(6, 96, (3, 3), padding=(1, 1, 1, 1)),
    "binary": pool(9, 65, (3, 2), (2, 1), (0, 1, 1, 0), planes=(3, 2), binary=True, turned=40),
    "unary": pool(8, 512, planes=(3, 3), turned=100),
    "groups": pool(5, 128, groups=2, stride=(1, 1), planes=(2, 2), turned=70),
    "int8": pool(7, 33, codes=()),
    "codes": pool(6, 160, (3, 3), padding=(1, 1, 1, 1), codes=(0, 3, 7, 9), turned=31),
}


def run(workload: Workload, lowered: Any, device: Device) -> np.ndarray:
    module = compiled(lowered, device).jit()
    tensors = [tvm.runtime.tensor(a) for a in operands(lowered, workload.problem.window)]
    module["main"](*tensors)
    (shape,) = shapes(lowered)
    return np.asarray(tensors[-1].numpy().reshape(shape))


def task_of(function: Any, device: Device, threads: int = 1) -> tuple[Workload, ProcessorSpace]:
    task = make_task(function, device, threads)
    assert task is not None and task.macs == 0
    assert isinstance(task.space, ProcessorSpace)
    return task.workload, task.space


@pytest.mark.parametrize("name", CASES)
def test_every_choice_computes_the_same(name: str) -> None:
    device = load("native")
    workload, space = task_of(CASES[name], device, threads=2)
    wanted = run(workload, workload.plain, device)
    assert wanted.any()
    for tile in space.tiles():
        for cut in space.knobs["cut"] if tile == space.default().tile else ("none",):
            found = run(workload, workload.lowered(device, Choice(tile, cut=cut)), device)
            np.testing.assert_array_equal(found, wanted, f"{tile} {cut}")


@pytest.mark.sweep("name", short=["binary", "codes", "padded"], full=[*CASES])
@pytest.mark.parametrize("target", ["rpi4", "rpi-armv7"])
def test_arm_computes_the_same(name: str, target: str) -> None:
    """In emulation, against this machine."""
    workload, space = task_of(CASES[name], load(target))
    wanted = run(workload, workload.plain, load("native"))
    for choice in (space.default(), Choice(Tile(columns=2, parts=4), cut="rows")):
        lowered = workload.lowered(load(target), choice)
        arrays = operands(lowered, workload.problem.window)
        func = lowered.func.with_attr("global_symbol", "main")
        found = emulated.call(func, arrays, load(target))[-1]
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("target", ["native", "rpi4", "rpi-armv7"])
@pytest.mark.parametrize("name", CASES)
def test_the_space(name: str, target: str) -> None:
    device = load(target)
    workload, space = task_of(CASES[name], device)
    points = list(space.points())
    assert points[0] == space.default() == space.first(1)[0]
    assert 6 <= len(points) == len({*points}) <= 24
    assert {point.cut for point in points} == {space.default().cut}
    assert {*space.neighbours(points[0])} <= {*points}
    assert np.isfinite(space.features(points)).all()
    _, threaded = task_of(CASES[name], device, threads=2)
    cuts = {point.cut for point in threaded.points()}
    assert cuts == {"none", "rows", "columns"} and next(threaded.points()) == points[0]
    default = build(CASES[name], scheduler_of(device), 1)
    chosen = workload.lowered(device, space.default())
    tvm.ir.assert_structural_equal(default.func, chosen.func)


def test_small_images_stay_in_the_callers_thread() -> None:
    device = load("native")
    assert task_of(pool(28, 64), device)[1].default().cut == "none"
    assert task_of(pool(224, 64, (3, 3)), device)[1].default().cut == "rows"


def test_an_open_batch_is_the_workload_of_one_image() -> None:
    device = load("native")
    opened = workload_of(pool(7, 5, batch=tvm.tirx.Var("n", "int64")), device)
    assert opened is not None
    tvm.ir.assert_structural_equal(opened.func, task_of(CASES["one_word"], device)[0].func)
