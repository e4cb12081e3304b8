"""Convolutions on bytes by ``vpdpbusd``, against NumPy, and what the machine code is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.int8_products import int8_products, pack_quads
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import float_output
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import Device, load
from abc_tvm.targets.host import host_features
from tests.schedules.int8_cases import CASES, check
from tests.schedules.window_cases import call, placeholder

WIDE = load("zen4")
NARROW = replace(load("haswell"), name="avx-vnni", cpu="alderlake", cost=WIDE.cost)


@pytest.mark.parametrize("device", [WIDE, NARROW], ids=lambda d: d.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_byte_convolution(case: dict[str, Any], device: Device, rng: np.random.Generator) -> None:
    needed = {"avx512vnni", "avx512vpopcntdq"} if device is WIDE else {"avxvnni"}
    if not needed <= host_features():
        pytest.skip(f"this machine has no {' and '.join(needed)}")
    check(case, device, rng, lambda func, args: call(func, args, device.cpu))


@pytest.mark.parametrize("device", [WIDE, NARROW], ids=lambda d: d.name)
def test_one_dot_product_for_each_register_of_sums(device: Device) -> None:
    """A tap of the tile costs one ``vpdpbusd`` a register, and no multiplication of words."""
    window, blocking = Window(1, 8, 8, 64, 64, (3, 3)), Blocking(64)
    scheduler = scheduler_of(device)
    plan = scheduler.plan(window, blocking, 1, "int8")
    data = placeholder("A", np.zeros((1, 8, 8, 1, 64), np.uint8))
    weights = placeholder("W", pack_quads(np.zeros((64, 3, 3, 64), np.int8), blocking))
    acc = int8_products(data, weights, window, blocking, plan.tile)
    out = float_output("y", 1, 6, 6, blocking, lambda at: acc[at].astype("float32"))
    func = scheduler.schedule(plan, te.create_prim_func([data, weights, out]))
    module = tvm.compile(func, tvm.target.Target({"kind": "llvm", "mcpu": device.cpu}))
    lines = str(getattr(module, "mod", module).inspect_source("asm")).splitlines()
    dots = [line for line in lines if "vpdpbusd" in line]
    registers = (
        plan.tile.rows * plan.tile.columns * plan.tile.blocks * (32 * 32 // device.vector_bits)
    )
    assert dots and len(dots) % registers == 0
    assert not any("vpmulld" in line or "vpmaddwd" in line for line in lines)
