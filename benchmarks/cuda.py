"""Everything on an NVIDIA GPU: four ResNet convolutions, and ABC ResNet-18, beside torch.

    python benchmarks/cuda.py [--quick] [--json OUT.json]

Bits for every (M, N), and bytes, whose time does not depend on them. Every kernel is checked
against NumPy before it is timed, and takes turns with its opponents: torch's float16 convolution
(cuDNN) and the int8 matrix product of the same size (cuBLAS, without im2col).
Without a GPU, or without a torch that uses it, it says so in one line, with exit code 2.
"""

from __future__ import annotations

if __name__ != "__main__":
    # torch looks for NVIDIA's package of this name, and from the scripts here finds this file.
    raise ImportError("benchmarks/cuda.py is a script, not NVIDIA's package")

import argparse
import ctypes
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from _cuda_layers import bit_layer, int8_layer
from rich.console import Console
from rich.table import Table

import abc_tvm
from abc_tvm import targets, zoo
from abc_tvm.errors import MissingDependencyError, UserError
from abc_tvm.schedules.cuda.tiles import gpu_of
from abc_tvm.targets import Device, driver

SHAPES = [(56, 64), (28, 128), (14, 256), (7, 512)]
BATCHES = [1, 8, 64, 256]
PAIRS = [(1, 1), (3, 3), (5, 5)]
BYTES = "int8"
ROUNDS = 7
_CLOCK_RATE = 13  # CUDA Driver API: CU_DEVICE_ATTRIBUTE_CLOCK_RATE, kHz


def main() -> int:
    """Measure, print tables on stderr, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and batches")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    try:
        device = targets.load("cuda")
        need_torch()
        result = measure(device, console, arguments.quick)
    except UserError as error:
        print(f"benchmarks/cuda.py: {error}", file=sys.stderr)
        return 2
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def need_torch() -> None:
    """Raises ``MissingDependencyError`` where torch does not use the GPU."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("needs PyTorch to compare with: pip install torch") from error
    if not torch.cuda.is_available():
        raise MissingDependencyError(
            "the installed PyTorch does not use the GPU; install a build for CUDA 13"
        )


def measure(device: Device, console: Console, quick: bool) -> dict[str, Any]:
    """All tables, and their rows."""
    shapes, batches = (SHAPES[1:2], [64]) if quick else (SHAPES, BATCHES)
    layers = [
        row
        for width, channels in shapes
        for batch in batches
        for row in layer_rows(device, console, width, channels, batch)
    ]
    title = f"3x3 convolutions, bits in, bits out: {device.description}"
    show(console, title, layers)
    networks = network_rows(console, [64] if quick else [1, 256])
    show(console, f"ResNet-18, 224x224: {device.description}", networks)
    *capability, sms, name = driver.capability()
    about = {"name": name, "capability": capability, "sms": sms, "target": gpu_of(device).arch}
    return {"device": about, "layers": layers, "networks": networks}


def layer_rows(
    device: Device, console: Console, width: int, channels: int, batch: int
) -> list[dict[str, Any]]:
    """One shape and batch: every (M, N), and bytes, beside float16 and int8, in turns."""
    import _cuda_torch as other

    with console.status(f"{width}x{width}x{channels}, batch {batch}"):
        made = {f"{m},{n}": bit_layer(device, width, channels, batch, m, n) for m, n in PAIRS} | {
            BYTES: int8_layer(device, width, channels, batch)
        }
        timers: dict[str, Any] = {name: layer.timer for name, layer in made.items()}
        timers["float16"] = other.half_convolution(width, channels, batch)
        timers["int8"] = other.int8_product(width, channels, batch)
        times = in_turns(timers)
    rows = []
    for name, layer in made.items():
        seconds = times[name]
        tops = layer.operations / seconds / 1e12
        rows.append(
            {
                "shape": f"{width}x{width}x{channels}",
                "batch": batch,
                "M,N": name,
                "tile": str(layer.tile),
                "ms": seconds * 1e3,
                "TOPS": tops,
                "share of peak": tops * 1e12 / peak(device, layer.tile.unit, name == BYTES),
                "x float16": times["float16"] / seconds,
                "x int8": times["int8"] / seconds,
            }
        )
    return rows


def network_rows(console: Console, batches: list[int]) -> list[dict[str, Any]]:
    """ABC ResNet-18, its build in float32, with and without CUDA graphs; torch's in float16."""
    import _cuda_torch as other
    import torch

    models = {
        "ABC (1,1)": (zoo.build("resnet18", 1, 1), "auto"),
        "ABC (3,3)": (zoo.build("resnet18", 3, 3), "auto"),
        "ABC (5,5) on a grid": (zoo.build("resnet18", 5, 5, grid=True), "auto"),
        "float32, this compiler": (zoo.build_float("resnet18"), "float"),
    }
    rows = []
    for batch in batches:
        with tempfile.TemporaryDirectory() as folder:
            sessions = {}
            for name, (model, lowering) in models.items():
                with console.status(f"compile {name}, batch {batch}"):
                    path = Path(folder, f"{len(sessions)}.so")
                    abc_tvm.compile(model, "cuda", batch=batch, lowering=lowering).save(path)
                    sessions[name] = abc_tvm.load(path)
                    plain = f"{name}, no CUDA graph"
                    sessions[plain] = abc_tvm.load(path, cuda_graphs=False)
            x = torch.randn(batch, 3, 224, 224, device="cuda")
            timers = {
                name: other.timed(partial(session.run, {"input": x}))
                for name, session in sessions.items()
            }
            timers["float16, torch"] = other.half_resnet18(batch)
            with console.status(f"ResNet-18, batch {batch}"):
                times = in_turns(timers, number=5)
            rows += [
                {
                    "network": name,
                    "batch": batch,
                    "ms": seconds * 1e3,
                    "images/s": batch / seconds,
                    "x float16": times["float16, torch"] / seconds,
                }
                for name, seconds in times.items()
            ]
    return rows


def in_turns(timers: dict[Any, Any], number: int = 20) -> dict[Any, float]:
    """The least seconds of each over rounds in which all take turns."""
    rounds = [{name: timer(number) for name, timer in timers.items()} for _ in range(ROUNDS)]
    return {name: min(taken[name] for taken in rounds) for name in timers}


def peak(device: Device, unit: str, on_int8: bool) -> float:
    """Published operations a second of ``unit`` ("tensor" or "cores") at the device's clock."""
    library = ctypes.CDLL("libcuda.so.1")
    khz = ctypes.c_int()
    library.cuDeviceGetAttribute(ctypes.byref(khz), _CLOCK_RATE, 0)
    gpu = gpu_of(device)
    tensor, cores = (gpu.tensor_quads, gpu.dp4a) if on_int8 else (gpu.tensor_words, gpu.popc)
    words = tensor if unit == "tensor" else cores
    return 2.0 * (4 if on_int8 else 32) * words * device.cores * khz.value * 1e3


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Rows of equal keys as a table."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
