"""Inner loops for Raspberry Pi, by static analysis: cycles and instructions per multiply-add.

    python benchmarks/arm_static.py [--json OUT]

Compiles the four 3x3 convolutions of ResNet-18 for Cortex-A53, A72 and A76, cuts the inner loop
out of the machine code, and asks ``llvm-mca`` what a turn takes when it repeats. Beside it: our own
float32 loop, the sequence that Larq Compute Engine publishes, and the bound: three vector
instructions (``eor``, ``cnt`` and an addition) for 128 binary products, on the vector pipes that
the core has. This is LLVM's model of the cores and no measurement: caches and the rest of the
kernel are not in it. LLVM models the A76 as an A57; its model of the Neoverse N1, the same core for
servers, is shown as well.

Needs llvm-mca (Debian: apt install llvm-22). Ends with 1 where a figure misses its mark.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lce_sequence
import numpy as np
import tvm
from rich.console import Console
from rich.table import Table
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import bit_output, float_output
from abc_tvm.schedules.families import code_type
from abc_tvm.schedules.neon.microkernel import BEGIN, END
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device, load

SHAPES = [(56, 64), (28, 128), (14, 256), (7, 512)]
PAIRS_PER_VECTOR = 128
NEWEST = 30


@dataclass(frozen=True)
class Core:
    """A model of llvm-mca. ``pipes`` take a 128-bit vector instruction each cycle."""

    name: str
    device: str
    model: str
    pipes: int
    most: float
    """What the loop may take of the bound."""


# Arm Cortex-A72 and A76 software optimisation guides (UAN 0016, SWOG 307215): two pipes for
# vector instructions, F0 and F1, V0 and V1. The A53 as in LLVM's AArch64SchedA53.td: one.
CORES = [
    Core("Cortex-A53", "rpi3", "cortex-a53", 1, 1.3),
    Core("Cortex-A72", "rpi4", "cortex-a72", 2, 1.15),
    Core("Cortex-A76", "rpi5", "cortex-a76", 2, 1.15),
    Core("Cortex-A76 as Neoverse N1", "rpi5", "neoverse-n1", 2, 1.15),
]
TIMES_FLOAT_ON_A72 = 8.5


@dataclass(frozen=True)
class Loop:
    """Instructions of one turn of a loop, and the multiply-adds that it does."""

    body: list[str]
    macs: int

    def cycles(self, mca: str, model: str) -> float:
        """Cycles per multiply-add, in the long run."""
        first, last = (self._total(mca, model, turns) for turns in (100, 300))
        return (last - first) / 200 / self.macs

    def _total(self, mca: str, model: str, turns: int) -> int:
        command = [mca, "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod"]
        jump = f"{self.body[-1].split()[0]} turn"
        done = subprocess.run(
            [*command, f"-iterations={turns}"],
            input="\n".join(["turn:", *self.body[:-1], jump]),
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
        if found is None:
            raise RuntimeError(f"{mca} failed: {done.stderr[:300]}")
        return int(found[1])

    @property
    def instructions(self) -> float:
        """Instructions per multiply-add."""
        return len(self.body) / self.macs


def find_mca() -> str | None:
    """The newest llvm-mca on this machine."""
    names = [f"llvm-mca-{n}" for n in range(NEWEST, 14, -1)]
    return next((path for name in names if (path := shutil.which(name))), shutil.which("llvm-mca"))


def bit_loop(device: Device, width: int, channels: int) -> Loop:
    """The inner loop of a binary convolution, M = N = 1."""
    window, blocking, made = _frame(device, width, channels)
    plan = made.plan(window, blocking, 1, "bitserial")
    words = channels // 32
    bits = te.placeholder((1, width, width, 1, 1, words), "uint32", name="bits")
    tables: list[te.Tensor] = []
    planes = np.zeros((blocking.blocks, 3, 3, words, 1, 32), np.uint32)
    acc = made.family.sums(plan, bits, planes, _collect(tables))
    limits = te.placeholder((channels,), "int32", name="thresholds")
    out = bit_output(
        "y",
        1,
        width,
        width,
        blocking,
        lambda p, at: acc[(*at[:5], 0, 0, at[5])] <= limits[blocking.slot(at)],
        1,
    )
    func = te.create_prim_func([bits, *tables, limits, out])
    body = _inner(device, made.schedule(plan, func))
    return Loop(body, PAIRS_PER_VECTOR * _count(body, "cnt"))


def float_loop(device: Device, width: int, channels: int) -> Loop:
    """The inner loop of the same convolution in float32."""
    window, blocking, made = _frame(device, width, channels)
    plan = made.plan(window, blocking, 1, "float")
    data = te.placeholder((1, width, width, 1, channels), "float32", name="data")
    tables: list[te.Tensor] = []
    weights = np.zeros((blocking.blocks, 3, 3, channels, 32), np.float32)
    acc = made.family.sums(plan, data, weights, _collect(tables))
    out = float_output("y", 1, width, width, blocking, lambda at: acc[at])
    func = te.create_prim_func([data, *tables, out])
    body = _inner(device, made.schedule(plan, func))
    return Loop(body, 4 * _count(body, "fmla"))


def int8_loop(device: Device, width: int, channels: int) -> Loop | None:
    """The inner loop of the same convolution on bytes; ``None`` without dot products."""
    code = code_type(device)
    if code is None:
        return None
    window, blocking, made = _frame(device, width, channels)
    plan = made.plan(window, blocking, 1, "int8")
    codes = te.placeholder((1, width, width, 1, channels), code, name="codes")
    tables: list[te.Tensor] = []
    weights = np.zeros((channels, 3, 3, channels), np.int8)
    acc = made.family.sums(plan, codes, weights, _collect(tables))
    out = float_output("y", 1, width, width, blocking, lambda at: acc[at].astype("float32"))
    func = te.create_prim_func([codes, *tables, out])
    body = _inner(device, made.schedule(plan, func))
    return Loop(body, 16 * _count(body, "sdot"))


def _frame(device: Device, width: int, channels: int) -> tuple[Window, Blocking, Scheduler]:
    window = Window(1, width, width, channels, channels, (3, 3), (1, 1), (1, 1, 1, 1))
    return window, Blocking(channels), scheduler_of(device)


def _collect(tables: list[te.Tensor]) -> Any:
    def table(array: np.ndarray, name: str) -> te.Tensor:
        tables.append(te.placeholder(array.shape, str(array.dtype), name=name))
        return tables[-1]

    return table


def _inner(device: Device, func: Any) -> list[str]:
    module = tvm.compile(func, device.tvm_target())
    text = str(getattr(module, "mod", module).inspect_source("asm"))
    loop = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    return [line.strip() for line in loop.splitlines() if line.strip()]


def _count(body: list[str], mnemonic: str) -> int:
    return sum(line.split()[0] == mnemonic for line in body)


def measure(mca: str) -> list[dict[str, Any]]:
    """One record for each core and shape."""
    lce = Loop(lce_sequence.loop(), lce_sequence.PAIRS)
    records = []
    for core in CORES:
        device = load(core.device)
        bound = 3 / core.pipes / PAIRS_PER_VECTOR
        for width, channels in SHAPES:
            bits, floats = (make(device, width, channels) for make in (bit_loop, float_loop))
            on_int8 = int8_loop(device, width, channels)
            taken, theirs = bits.cycles(mca, core.model), lce.cycles(mca, core.model)
            records.append(
                {
                    "core": core.name,
                    "width": width,
                    "channels": channels,
                    "cycles_per_mac": taken,
                    "instructions_per_mac": bits.instructions,
                    "spills": sum("[sp" in line for line in bits.body),
                    "of_bound": taken / bound,
                    "most_of_bound": core.most,
                    "lce_cycles_per_mac": theirs,
                    "lce_instructions_per_mac": lce.instructions,
                    "lce_of_bound": theirs / bound,
                    "float_cycles_per_mac": floats.cycles(mca, core.model),
                    "float_instructions_per_mac": floats.instructions,
                    "byte_cycles_per_mac": on_int8 and on_int8.cycles(mca, core.model),
                }
            )
    return records


def misses(records: list[dict[str, Any]]) -> list[str]:
    """What is above its mark."""
    found = []
    for r in records:
        at = f"{r['core']}, {r['width']}x{r['width']}x{r['channels']}"
        if r["of_bound"] > r["most_of_bound"]:
            found.append(f"{at}: {r['of_bound']:.3f} of the bound, not {r['most_of_bound']}")
        # The N1 is a second opinion on the A76.
        if r["cycles_per_mac"] > r["lce_cycles_per_mac"] * 1.0005 and "N1" not in r["core"]:
            found.append(f"{at}: slower than Larq Compute Engine's sequence")
        ratio = r["float_cycles_per_mac"] / r["cycles_per_mac"]
        if r["core"] == "Cortex-A72" and ratio < TIMES_FLOAT_ON_A72:
            found.append(f"{at}: {ratio:.1f} times faster than float, not {TIMES_FLOAT_ON_A72}")
        if r["spills"]:
            found.append(f"{at}: {r['spills']} spills")
    return found


def show(records: list[dict[str, Any]], console: Console) -> None:
    names = ("cycles", "instr", "of bound", "LCE of bound", "LCE instr", "float cycles")
    ratios = ("float / bits", "float / bytes")
    table = Table("core", "shape", *names, *ratios, title="per 1000 multiply-adds")
    for r in records:
        table.add_row(
            r["core"],
            f"{r['width']}x{r['width']}x{r['channels']}",
            f"{1e3 * r['cycles_per_mac']:.2f}",
            f"{1e3 * r['instructions_per_mac']:.1f}",
            f"{r['of_bound']:.3f}",
            f"{r['lce_of_bound']:.3f}",
            f"{1e3 * r['lce_instructions_per_mac']:.1f}",
            f"{1e3 * r['float_cycles_per_mac']:.0f}",
            f"{r['float_cycles_per_mac'] / r['cycles_per_mac']:.1f}",
            f"{r['float_cycles_per_mac'] / r['byte_cycles_per_mac']:.1f}"
            if r["byte_cycles_per_mac"]
            else "",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the records to this file")
    arguments = parser.parse_args()
    console = Console(stderr=True, width=140)
    mca = find_mca()
    if mca is None:
        console.print("skipped: there is no llvm-mca (Debian: apt install llvm-22)")
        return
    version = subprocess.run([mca, "--version"], capture_output=True, text=True, check=True).stdout
    known = re.search(r"LLVM version (\S+)", version)
    records = measure(mca)
    show(records, console)
    if arguments.json:
        facts = {"llvm": known[1] if known else "unknown", "results": records}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n")
    found = misses(records)
    for line in found:
        console.print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
