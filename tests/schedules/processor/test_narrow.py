"""Narrow groups on bytes: every type of sums at its limits, every choice, and the machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.narrow import NarrowProducts
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device, load
from tests import emulated
from tests.schedules.narrow_cases import CASES, WIDTHS, asm_of, choices, narrow_kernel
from tests.schedules.window_cases import Run, call

LIMITS: dict[str, list[tuple[int, int, str]]] = {
    "uint8": [(1, 13, "int8"), (1, 14, "int16"), (14, 255, "int16"), (127, 255, "int32")],
    "int8": [(1, 13, "int8"), (1, 14, "int16"), (28, 127, "int16"), (127, 127, "int32")],
}
"""By the type of codes: the largest weight, the largest code, the type of 3x3 sums."""

NATIVE = load("native")
NEEDED = {"channels": (65, 65), "kernel": (3, 3), "padding": (1, 1, 1, 1)}


def run(device: Device) -> Run:
    if device is NATIVE:
        return lambda func, args: call(func, args, device.cpu)
    return lambda func, args: emulated.call(func, args, device)


def check(
    case: dict[str, Any],
    scheduler: Scheduler,
    rng: np.random.Generator,
    limits: tuple[int, int],
    dtype: str,
    device: Device = NATIVE,
) -> str:
    """Every sum is NumPy's; returns the type of the sums."""
    kernel = narrow_kernel(case, scheduler, rng, *limits, dtype)
    *_, found = run(device)(kernel.func, kernel.arguments)
    np.testing.assert_array_equal(found.reshape(kernel.expected.shape), kernel.expected)
    return kernel.narrow.dtype


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("number", range(4))
def test_types_of_sums(dtype: str, number: int, rng: np.random.Generator) -> None:
    """The least type that holds every sum, and one more than that would not."""
    *limits, wanted = LIMITS[dtype][number]
    assert check(NEEDED, scheduler_of(NATIVE), rng, (limits[0], limits[1]), dtype) == wanted


@pytest.mark.parametrize("case", [*WIDTHS, *CASES], ids=str)
@pytest.mark.parametrize("limits", [(1, 2), (3, 9)], ids=["signs", "numbers"])
def test_shapes(case: dict[str, Any], limits: tuple[int, int], rng: np.random.Generator) -> None:
    check(case, scheduler_of(NATIVE), rng, limits, "uint8")


@pytest.mark.parametrize("name", ["rpi4", "rpi-armv7"])
@pytest.mark.parametrize("case", [WIDTHS[3], CASES[0], CASES[5], CASES[8]], ids=str)
@pytest.mark.parametrize("limits", [(1, 1), (5, 100), (127, 127)], ids=["int8", "int16", "int32"])
def test_emulated(
    name: str, case: dict[str, Any], limits: tuple[int, int], rng: np.random.Generator
) -> None:
    device = load(name)
    check(case, scheduler_of(device), rng, limits, "int8", device)


@pytest.mark.parametrize("case", [NEEDED, CASES[0], CASES[5]], ids=str)
def test_every_choice(case: dict[str, Any], rng: np.random.Generator) -> None:
    found = choices(scheduler_of(NATIVE), case)
    assert len({choice.tile for choice in found}) > 4
    for choice in found:
        check(case, scheduler_of(NATIVE, choice), rng, (3, 9), "uint8")


@pytest.mark.parametrize(
    ("name", "width", "columns"),
    [("zen4", 56, 8), ("zen4", 14, 2), ("zen4", 1, 1), ("rpi4", 56, 2)],
)
def test_the_default_tile(name: str, width: int, columns: int) -> None:
    """Columns share loads as far as registers go, and as long as few are surplus."""
    device = load(name)
    window = Window(1, 8, width, 64, 64, (3, 3), padding=(1, 1, 1, 1), groups=64)
    plan = scheduler_of(device).plan(window, Blocking(64), 1, "int8")
    assert (plan.tile.rows, plan.tile.columns) == (1, columns)
    assert plan.choice.order == "pixels"


def test_a_problem_is_narrow_by_its_lanes() -> None:
    """Groups that lie one after the other are of dot products, whatever their width."""
    device, window = load("zen4"), Window(1, 8, 8, 64, 64, (3, 3), groups=64)
    scheduler = scheduler_of(device)
    beside, apart = (
        scheduler.plan(window, Blocking(64, groups), 1, "int8").problem for groups in (1, 64)
    )
    assert beside.narrow and not apart.narrow
    family = scheduler.family
    assert isinstance(family, Processor)
    assert isinstance(family.nest_of(beside), NarrowProducts)
    assert not isinstance(family.nest_of(apart), NarrowProducts)


@pytest.mark.parametrize(
    ("name", "limits", "wanted", "unwanted"),
    [
        ("zen4", (1, 1), ("vpxor", "vpaddb"), ("vpmull", "vpmovzx")),
        ("zen4", (3, 15), ("vpmullw", "vpaddw"), ("vpmulld", "vpmovzxbd")),
        ("haswell", (3, 15), ("vpmullw", "vpaddw"), ("vpmulld", "vpmovzxbd")),
        ("rpi4", (1, 1), ("eor", "add"), ("mul", "mla")),
        ("rpi4", (3, 15), ("smlal", "smlal2"), ("mla\t", "sxtl2")),
    ],
)
def test_machine_code(
    name: str,
    limits: tuple[int, int],
    wanted: tuple[str, ...],
    unwanted: tuple[str, ...],
    rng: np.random.Generator,
) -> None:
    """A vector of bytes or of 16-bit words at once, and nothing of 32 bits."""
    device = load(name)
    dtype = scheduler_of(device).family.narrow
    assert dtype is not None
    case = {"channels": (64, 64), "kernel": (3, 3), "padding": (1, 1, 1, 1)}
    kernel = narrow_kernel(case, scheduler_of(device), rng, *limits, dtype)
    lines = asm_of(kernel, device.tvm_target())
    for word in wanted:
        assert sum(word in line for line in lines) >= 9, word
    for word in unwanted:
        assert not any(f"\t{word}" in line and "16b" in line for line in lines), word
