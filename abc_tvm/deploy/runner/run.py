#!/usr/bin/env python3
"""Run a network that abc-tvm compiled: needs TVM's wheel and NumPy, and nothing of abc-tvm.

python3 run.py NETWORK.so -i IN.npz [-o OUT.npz] [--threads T] [--repeat R] [--number N]

The keys of IN.npz are the names of the inputs; NETWORK.ports beside the network lists them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

Port = tuple[str, str, list[int]]


def main() -> int:
    """Parse the command line, run, print the times."""
    arguments = parse()
    inputs, outputs, binarized = read_ports(arguments.network.with_suffix(".ports"))
    if arguments.random:
        generator = np.random.default_rng(0)
        arrays = {
            name: generator.standard_normal([arguments.batch if d < 0 else d for d in shape])
            .astype(dtype)
            for name, dtype, shape in inputs
        }  # fmt: skip
    else:
        arrays = read_arrays(arguments.input)
    check(arrays, inputs, binarized)

    # TVM reads these when it is loaded, and at the first parallel loop.
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    import tvm
    from tvm.runtime.vm import VirtualMachine

    library = tvm.runtime.load_module(str(arguments.network.resolve()))
    network = VirtualMachine(library, tvm.cpu())["main"]
    tensors = [tvm.runtime.tensor(np.ascontiguousarray(arrays[name])) for name, _, _ in inputs]
    result = network(*tensors)
    if arguments.output:
        single = hasattr(result, "numpy")
        results = [result.numpy()] if single else [item.numpy() for item in result]
        names = [name for name, _, _ in outputs]
        np.savez(arguments.output, **dict(zip(names, results, strict=True)))
    times = [measure(network, tensors, arguments.number) for _ in range(arguments.repeat)]
    print(
        f"{arguments.network}: median {statistics.median(times):.3f} ms, least {min(times):.3f} ms "
        f"({arguments.repeat} x {arguments.number} runs, {arguments.threads} threads)"
    )
    return 0


def parse() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("network", type=Path, metavar="NETWORK.so")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-i", "--input", metavar="IN.npz")
    source.add_argument("--random", action="store_true", help="random inputs, always the same")
    parser.add_argument("-o", "--output", metavar="OUT.npz")
    parser.add_argument("--batch", type=int, default=1, help="images of --random")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--number", type=int, default=1)
    return parser.parse_args()


def read_ports(path: Path) -> tuple[list[Port], list[Port], bool]:
    """Inputs and outputs (name, dtype, shape; -1 is the open batch), and whether on bits."""
    sides: dict[str, list[Port]] = {"input": [], "output": []}
    binarized = False
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        refuse(f"{path}: {error.strerror}; it belongs beside the network")
    for line in lines:
        side, *rest = line.split(" ", 3)
        binarized = binarized or side == "binarized"
        if side in sides:
            dtype, rank, tail = rest
            *shape, name = tail.split(" ", int(rank))
            sides[side].append((name, dtype, [int(d) for d in shape]))
    return sides["input"], sides["output"], binarized


def read_arrays(path: str) -> dict[str, Any]:
    """The arrays of an .npz file."""
    try:
        with np.load(path) as file:
            return dict(file)
    except OSError as error:
        refuse(f"{path}: {error.strerror or error}")
    except (ValueError, TypeError, zipfile.BadZipFile) as error:
        refuse(f"{path}: is no .npz file of arrays ({str(error).splitlines()[0]})")


def check(arrays: dict[str, Any], inputs: list[Port], binarized: bool) -> None:
    """Leave with one line where an array is not what the network takes."""
    for name, dtype, shape in inputs:
        if name not in arrays:
            refuse(f"input {name!r} is missing")
        array = arrays[name]
        fits = len(array.shape) == len(shape) and all(
            want in (-1, have) for have, want in zip(array.shape, shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            refuse(
                f"input {name!r}: {array.dtype} {list(array.shape)} was given and "
                f"{dtype} {shape} is needed"
            )
        if binarized and array.dtype.kind == "f" and not np.isfinite(array).all():
            refuse(f"input {name!r}: NaN or infinity; bits need finite numbers")


def refuse(message: str) -> NoReturn:
    """Leave with one line and exit code 2."""
    print(f"run.py: error: {message}", file=sys.stderr)
    sys.exit(2)


def measure(network: Any, tensors: list[Any], number: int) -> float:
    """Milliseconds of one run, as the average of ``number``."""
    start = time.perf_counter()
    for _ in range(number):
        network(*tensors)
    return (time.perf_counter() - start) * 1e3 / number


if __name__ == "__main__":
    sys.exit(main())
