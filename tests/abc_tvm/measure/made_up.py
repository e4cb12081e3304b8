"""Measurements that nobody took, and what a plot of them has to be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from abc_tvm.measure.kernel_plan import Kernel
from abc_tvm.measure.machine_limits import Limit, Limits
from abc_tvm.measure.profile import Profile, Row
from abc_tvm.measure.timing import Times
from abc_tvm.report import Layer, Report

LIMITS = Limits((Limit("float", "float32 FMA", 50.0),), 80.0, 10.0, 1)


def row(
    name: str, *shape: int, ms: float = 1.0, of_peak: float | None = None, kind: str = "float"
) -> Row:
    """A kernel of 1000 multiply-adds and bytes where it is of a lowering's kind."""
    macs = 0 if kind == "other" else 1000
    kernel = Kernel(name, kind, macs, shape=shape)
    return Row(kernel, Times.of([ms]), macs, 1000, 1.0 if macs else None, of_peak)


def report(*layers: tuple[int | None, int | None, str]) -> Report:
    """Of layers with M, N and a lowering."""
    rows = [
        Layer(f"l{place}", "conv2d", [8, 3, 3, 4], 288, m, n, lowering, "", 1, 1)
        for place, (m, n, lowering) in enumerate(layers)
    ]
    return Report(tuple(rows), "zen4", "auto")


def profile(*rows: Row, run_ms: float, limits: Limits = LIMITS) -> Profile:
    plan: Any = SimpleNamespace(artifact=SimpleNamespace(report=report()), tuned=0)
    return Profile(rows, Times.of([run_ms]), limits, plan, 1, (0,), {"x": [1, 4, 6, 6]})


def colours_of(path: Path) -> int:
    """How many colours a PNG file has."""
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(path)
    return len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))
