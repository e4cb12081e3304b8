"""The C form of a network: its example program, compiled here or for AArch64, and run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from abc_tvm.deploy.c_form import CForm

from .values import Array

SECONDS = 60
CROSS = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static")
_TYPES = {"float": np.float32, "double": np.float64}
_PORT = re.compile(r"_OUT(\d+)_TYPE (\w+)\n.*\n.*_SHAPE \{([^}]*)\}")


def emulates() -> bool:
    """Whether programs for AArch64 can be compiled and run."""
    return all(shutil.which(program) for program in CROSS)


def run_c(
    form: CForm, folder: Path, inputs: Sequence[Array], outputs: Sequence[str], cross: bool
) -> dict[str, Array]:
    """Compile its example program, and run that once.

    Args:
        form: Named "net".
        folder: Its files go there.
        inputs: In the order of the graph.
        outputs: Their names, in the order of the graph.
        cross: For AArch64, under an emulator.
    """
    form.save(folder)
    compiler = [CROSS[0], "-static"] if cross else ["cc"]
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    _run([*compiler, "-O0", "-std=c99", *sources], folder)
    names = [f"in{n}" for n in range(len(inputs))]
    for name, array in zip(names, inputs, strict=True):
        array.tofile(folder / name)
    results = [f"out{n}" for n in range(len(outputs))]
    program = [CROSS[1], "./example"] if cross else ["./example"]
    _run([*program, *names, *results], folder)
    header = (folder / "net.h").read_text(encoding="utf-8")
    # A port of rank 0 has one element in C.
    ranks = [int(n) for n in re.findall(r"_OUT\d+_RANK (\d+)", header)]
    ports = _PORT.findall(header)
    made: dict[str, Array] = {}
    for name, rank, (number, kind, shape) in zip(outputs, ranks, ports, strict=True):
        data = np.fromfile(folder / f"out{number}", _dtype(kind))
        made[name] = data.reshape([int(n) for n in shape.split(",")][:rank])
    return made


def as_wanted(made: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, Array]:
    """C has no bool: bytes stand for it."""
    return {
        name: array.astype(bool) if wanted[name].dtype == bool else array
        for name, array in made.items()
    }


def _dtype(kind: str) -> type:
    return _TYPES[kind] if kind in _TYPES else getattr(np, kind.removesuffix("_t"))


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        text = " ".join((done.stdout + done.stderr).split())[:300]
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {text}")
