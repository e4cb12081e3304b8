"""Narrow groups on bytes with their NumPy meaning, for the tests of their kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.narrow_products import Narrow, narrow_products
from abc_tvm.compute.outputs import float_output
from abc_tvm.reference.conv import conv2d
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.scheduler import Scheduler
from tests.schedules.window_cases import placeholder

WIDTHS: list[dict[str, Any]] = [
    {"channels": (c, c), "kernel": (3, 3), "padding": (1, 1, 1, 1)}
    for c in (2, 31, 32, 33, 63, 64, 65)
]

CASES: list[dict[str, Any]] = [
    {"channels": (33, 33), "kernel": (3, 3), "padding": (0, 2, 1, 0), "stride": (2, 1)},
    {"channels": (40, 40), "kernel": (2, 3), "dilation": (2, 1), "batch": 2},
    {"channels": (33, 33), "kernel": (1, 5)},
    {"channels": (5, 5), "kernel": (9, 9), "padding": (4, 4, 4, 4)},
    {"channels": (33, 66), "groups": 33, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"channels": (20, 60), "groups": 20, "kernel": (3, 3), "padding": (1, 0, 1, 0)},
    {"channels": (11, 341), "groups": 11, "kernel": (1, 1)},
    {"channels": (34, 17), "groups": 17, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"channels": (99, 66), "groups": 33, "kernel": (3, 3), "padding": (1, 1, 0, 1), "batch": 2},
    {"channels": (64, 64), "groups": 32, "kernel": (3, 3), "stride": (2, 2)},
]
"""What is new in each: lopsided padding and stride, dilation, a row, a kernel of many taps, two,
three and 31 outputs for an input, two inputs, three, as many of both."""


@dataclass
class NarrowKernel:
    """A scheduled kernel, its arguments, its sums by NumPy ``[B, OH, OW, C]``, their kind."""

    func: tirx.PrimFunc
    arguments: list[np.ndarray]
    expected: np.ndarray
    narrow: Narrow


def narrow_kernel(
    case: dict[str, Any],
    scheduler: Scheduler,
    rng: np.random.Generator,
    weights: int,
    largest: int,
    dtype: str = "uint8",
) -> NarrowKernel:
    """A convolution of codes of at most ``largest``, its sums stored as floats.

    ``weights`` 1: signs; else whole numbers of at most that size, the ends among them.
    """
    channels, batch, size = case["channels"], case.get("batch", 1), case.get("size", (6, 7))
    more = {k: v for k, v in case.items() if k not in ("size", "channels", "batch")}
    window = Window(batch, *size, *channels, **{"groups": channels[0], **more})
    blocking = Blocking(channels[1])
    signed = dtype == "int8"
    zero = 0 if signed else largest // 2
    low = -largest if signed else 0
    codes = rng.choice(np.array([low, zero, largest - 1, largest]), (batch, *size, 1, channels[0]))
    some = [-1, 1] if weights == 1 else [-weights, 0, 1, weights - 1, weights]
    w = rng.choice(np.array(some), (channels[1], *window.kernel, window.group_in)).astype(np.int8)
    w[0], w[1] = some[0], some[-1]  # the sums of least and greatest value
    # Slots past the last channel hold anything.
    limits = np.iinfo(dtype)
    wide = rng.integers(limits.min, limits.max + 1, (*codes.shape[:4], code_slots(channels[0])))
    wide[..., : channels[0]] = codes
    wide = wide.astype(dtype)
    plan = scheduler.plan(window, blocking, 1, "int8")
    narrow = Narrow(w, largest, signed)
    table = narrow.table(blocking)
    inputs = [placeholder("A", wide), placeholder("W", table)]
    acc = narrow_products(*inputs, narrow, window, blocking, plan.tile, zero)
    pixels = (batch, window.out_height, window.out_width)
    out = float_output("y", *pixels, blocking, lambda at: acc[at].astype("float32"))
    func = scheduler.schedule(plan, te.create_prim_func([*inputs, out]))
    empty = np.zeros([int(n) for n in out.shape], np.float32)
    top, left, bottom, right = window.padding
    image = np.pad(
        codes.reshape(batch, *size, -1).astype(np.float32).transpose(0, 3, 1, 2),
        ((0, 0), (0, 0), (top, bottom), (left, right)),
        constant_values=zero,
    )
    expected = conv2d(
        image,
        w.transpose(0, 3, 1, 2).astype(np.float32),
        stride=window.stride,
        dilation=window.dilation,
        groups=window.groups,
    ).transpose(0, 2, 3, 1)
    return NarrowKernel(func, [wide, table, empty], expected - narrow.constant, narrow)


def choices(scheduler: Scheduler, case: dict[str, Any]) -> list[Choice]:
    """Every tile of the search space of a case."""
    channels = case["channels"]
    more = {k: v for k, v in case.items() if k not in ("size", "channels", "batch")}
    size = case.get("size", (6, 7))
    window = Window(1, *size, *channels, **{"groups": channels[0], **more})
    problem = scheduler.plan(window, Blocking(channels[1]), 1, "int8").problem
    space = scheduler.family.space(scheduler.machine, problem, 2)
    assert space is not None
    return list(space.points())


def asm_of(kernel: NarrowKernel, target: tvm.target.Target) -> list[str]:
    """The machine code of a kernel, line by line."""
    module = tvm.compile(kernel.func, target)
    return str(getattr(module, "mod", module).inspect_source("asm")).splitlines()
