"""Instructions that a whole network executes on AArch64: binarized beside float.

    python benchmarks/arm_instructions.py [--target rpi4] [--image-size 224] [--json OUT.json]

No device and no clock: qemu's user mode runs the C form of both networks, and a plugin of its
counts what each function executes (``count_instructions.c``). Two runs in one process, less one
run, leave exactly one inference. The count is the same on every machine. It is not time: it says
nothing of caches, and a pair of instructions may or may not issue together.

Needs qemu with plugins and an AArch64 compiler (Debian: qemu-user, gcc-aarch64-linux-gnu).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

import abc_tvm
from abc_tvm import zoo
from abc_tvm.errors import MissingDependencyError
from abc_tvm.targets import load

PLUGIN = Path(__file__).with_name("count_instructions.c")
COMPILER = "aarch64-linux-gnu-gcc"
NAME = "net"
SHOWN = 12


@dataclass(frozen=True)
class Count:
    """Instructions of one inference, by function; ``macs`` of the network."""

    functions: dict[str, int]
    macs: int
    bit_layers: frozenset[str]

    @property
    def total(self) -> int:
        """All functions together."""
        return sum(self.functions.values())

    def groups(self) -> dict[str, int]:
        """Where they go: bits, float layers, and everything between."""
        sums = {"layers on bits": 0, "float layers": 0, "between the layers": 0}
        for name, count in self.functions.items():
            kernel = name.removeprefix(f"{NAME}_kernel_")
            if kernel == name:
                sums["between the layers"] += count
            elif kernel in self.bit_layers:
                sums["layers on bits"] += count
            else:
                sums["float layers"] += count
        return sums


def main() -> int:
    """Count, print tables on stderr, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--target", default="rpi4", help="an AArch64 target")
    parser.add_argument("--network", default="resnet18", help="a network of the zoo")
    parser.add_argument("-M", type=int, default=1, help="weight bases")
    parser.add_argument("-N", type=int, default=1, help="activation bases")
    parser.add_argument("--image-size", type=int, default=224, help="pixels")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    size, target = options.image_size, options.target
    with tempfile.TemporaryDirectory(prefix="abc-tvm-") as scratch:
        plugin = build_plugin(Path(scratch))
        bits = zoo.build(options.network, options.M, options.N, batch=1, image_size=size)
        real = zoo.build_float(options.network, batch=1, image_size=size)
        counts = {
            "binarized": count(bits, target, "auto", plugin, Path(scratch, "bitserial")),
            "float": count(real, target, "float", plugin, Path(scratch, "float")),
        }
    facts = {
        "network": f"{options.network} ({options.M},{options.N})",
        "target": target,
        "image_size": size,
        "ratio": counts["float"].total / counts["binarized"].total,
        "counts": {
            name: {
                "instructions": c.total,
                "macs": c.macs,
                "groups": c.groups(),
                "functions": dict(sorted(c.functions.items(), key=lambda item: -item[1])),
            }
            for name, c in counts.items()
        },
    }
    show(facts, counts)
    if options.json is not None:
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def build_plugin(folder: Path) -> Path:
    """The plugin, compiled for this machine.

    Raises:
        MissingDependencyError: A tool is missing.
    """
    for tool, package in (
        ("gcc", "gcc"),
        (COMPILER, "gcc-aarch64-linux-gnu"),
        ("qemu-aarch64", "qemu-user"),
    ):
        if shutil.which(tool) is None:
            raise MissingDependencyError(f"needs {tool} (Debian: apt install {package})")
    library = folder / "count.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", PLUGIN, "-o", library], check=True)
    return library


def count(model: onnx.ModelProto, target: str, lowering: str, plugin: Path, folder: Path) -> Count:
    """Instructions of one inference of ``model``'s C form, under qemu."""
    form = abc_tvm.compile_c(model, target, name=NAME, lowering=lowering)
    form.save(folder)
    files = [f"{NAME}_example.c", f"{NAME}.c", f"lib{NAME}.a"]
    build = [COMPILER, "-O2", "-static", *files, "-lm", "-o", "example"]
    subprocess.run(build, cwd=folder, check=True)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    np.random.default_rng(0).standard_normal(shape).astype(np.float32).tofile(folder / "in.bin")
    once, twice = (run(folder, plugin, load(target).cpu, repeat) for repeat in (1, 2))
    difference = {name: twice[name] - once.get(name, 0) for name in twice}
    own = {name: n for name, n in difference.items() if name.startswith(f"{NAME}_") and n}
    # memcpy and the like, called from the kernels; the example's own clock and loop are not ours.
    own["C library"] = sum(
        n for name, n in difference.items() if name.startswith(("__mem", "mem", "exp"))
    )
    layers = frozenset(
        _identifier(layer.name) for layer in form.report if layer.lowering == "bitserial"
    )
    return Count(own, sum(layer.macs for layer in form.report), layers)


def run(folder: Path, plugin: Path, cpu: str, repeat: int) -> Mapping[str, int]:
    """Instructions by function of the example program, which runs the network ``repeat`` times."""
    known = "max" if cpu == "generic" else cpu
    emulator = ["qemu-aarch64", "-cpu", known, "-plugin", f"{plugin},out={folder}/count.txt"]
    program = ["./example", "in.bin", "out.bin", str(repeat)]
    subprocess.run([*emulator, *program], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, int] = {}
    for line in (folder / "count.txt").read_text(encoding="utf-8").splitlines():
        number, name = line.split(" ", 1)
        found[name] = found.get(name, 0) + int(number)
    return found


def _identifier(layer: str) -> str:
    """The name of a layer's kernel: TVM makes an identifier of it."""
    return "".join(c if c.isalnum() else "_" for c in layer)


def show(facts: dict[str, object], counts: Mapping[str, Count]) -> None:
    """Tables for people."""
    console = Console(stderr=True)
    table = Table(
        title=f"{facts['network']}, {facts['image_size']} pixels, {facts['target']}: millions of "
        f"instructions, float / binarized = {facts['ratio']:.2f}"
    )
    table.add_column("where")
    for name in counts:
        table.add_column(name, justify="right")
    sides = list(counts.values())
    rows = [(group, [c.groups()[group] for c in sides]) for group in sides[0].groups()]
    rows.append(("all", [c.total for c in sides]))
    for label, values in rows:
        table.add_row(label, *(f"{v / 1e6:,.1f}" for v in values))
    each = [f"{c.total / c.macs:.4f}" for c in sides]
    table.add_row("instructions per multiply-add", *each)
    console.print(table)
    for name, c in counts.items():
        most = sorted(c.functions.items(), key=lambda item: -item[1])[:SHOWN]
        text = ", ".join(f"{n.removeprefix(f'{NAME}_')} {v / 1e6:,.1f}" for n, v in most)
        console.print(f"{name}: {text}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    try:
        code = main()
    except MissingDependencyError as error:
        Console(stderr=True).print(f"arm_instructions: error: {error}", soft_wrap=True)
        code = 2
    sys.exit(code)
