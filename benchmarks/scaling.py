"""How the cost of a network grows: with threads, batch, channels, image size, and M·N.

    python benchmarks/scaling.py [--quick] [--out DIR]

ABC ResNet-18 (in the short form ResNet-8), one property varied at a time. All networks of a series
take turns. Thread counts run in a process each, because TVM's pool of threads cannot grow.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _report import BenchmarkReport, figure, run

import abc_tvm
from abc_tvm import zoo
from abc_tvm.artifact import Artifact
from abc_tvm.engines.engine import open_session
from abc_tvm.engines.onnx_engine import random_inputs
from abc_tvm.measure.timing import pinned, take_turns

Point = dict[str, Any]

FULL: dict[str, Any] = {
    "network": "resnet18",
    "batch": (1, 2, 4, 8),
    "width": (0.5, 1.0, 1.5, 2.0),
    "image": (64, 112, 224, 448),
    "bases": ((1, 1), (1, 2), (2, 2), (2, 3), (3, 3)),
    "repeat": 20,
}
SHORT: dict[str, Any] = {
    "network": "resnet8",
    "batch": (1, 4),
    "width": (1.0, 2.0),
    "image": (32, 64),
    "bases": ((1, 1), (2, 2), (3, 3)),
    "repeat": 6,
}
AXES = {
    "threads": "threads",
    "batch": "images of a run",
    "width": "channels, as a multiple",
    "image": "height and width, pixels",
    "bases": "M·N",
}


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    report = BenchmarkReport("scaling", __doc__)
    plan = SHORT if report.quick else FULL
    series: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in AXES:
            with report.console.status(name):
                series[name] = _series(name, plan, Path(folder))
            report.table(f"{plan['network']}: {AXES[name]}", _COLUMNS, _cells(series[name]))
    report.write(series, _plot(series, plan, report), network=plan["network"])


def _series(name: str, plan: dict[str, Any], folder: Path) -> list[Point]:
    build = partial(zoo.build, plan["network"], 1, 1, batch=1)
    if name == "threads":
        return _threads(build(), plan["repeat"], folder)
    if name == "bases":
        models = {m * n: partial(zoo.build, plan["network"], m, n, batch=1) for m, n in plan[name]}
    elif name == "batch":
        models = {count: partial(zoo.build, plan["network"], 1, 1, batch=count)
                  for count in plan[name]}  # fmt: skip
    else:
        word = "image_size" if name == "image" else name
        models = {value: partial(build, **{word: value}) for value in plan[name]}
    artifacts = {
        value: abc_tvm.compile(model(), lowering=_LOWERING) for value, model in models.items()
    }
    return _turns(name, artifacts, plan["repeat"], folder)


_LOWERING = "bitserial"
"""Bits everywhere: a curve along which the chooser changes its mind shows two things at once."""


def _turns(name: str, artifacts: dict[Any, Artifact], repeat: int, folder: Path) -> list[Point]:
    calls: dict[str, Callable[[], object]] = {}
    work: dict[str, float] = {}
    with pinned(1):
        for value, artifact in artifacts.items():
            session = open_session(artifact, folder / f"{name}{value}.so", 1)
            inputs = random_inputs(artifact.info.inputs, 1)
            calls[str(value)] = partial(session.run, inputs)
            images = next(iter(inputs.values())).shape[0]
            work[str(value)] = images * sum(
                layer.macs * (layer.M or 1) * (layer.N or 1) for layer in artifact.report
            )
        times = take_turns(calls, repeat)
    return [
        {"x": value, "macs": work[str(value)], **times[str(value)].json()} for value in artifacts
    ]


def _threads(model: Any, repeat: int, folder: Path) -> list[Point]:
    artifact = abc_tvm.compile(model, lowering=_LOWERING)
    path = folder / "threads.so"
    artifact.save(path)
    points = []
    available = len(os.sched_getaffinity(0))
    for threads in sorted({1, *(2**k for k in range(1, 8) if 2**k < available), available}):
        command = [sys.executable, "-m", "abc_tvm", "run", str(path), "--random", "--json"]
        command += ["--threads", str(threads), "--repeat", str(repeat * 5)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        timed = json.loads(done.stdout)
        point = {"x": threads, "macs": sum(layer.macs for layer in artifact.report)}
        points.append({**point, "median_ms": timed["median_ms"], "min_ms": timed["min_ms"]})
    return points


_COLUMNS = [
    "value",
    "multiply-adds, 10⁶",
    "median ms",
    "least ms",
    "time, x first",
    "work, x first",
]


def _cells(points: list[Point]) -> list[list[str]]:
    first = points[0]
    return [
        [
            f"{p['x']}",
            f"{p['macs'] / 1e6:.0f}",
            f"{p['median_ms']:.3f}",
            f"{p['min_ms']:.3f}",
            f"{p['median_ms'] / first['median_ms']:.2f}",
            f"{p['macs'] / first['macs']:.2f}",
        ]
        for p in points
    ]


def _plot(series: dict[str, list[Point]], plan: dict[str, Any], report: BenchmarkReport) -> Any:
    made = figure(15, 3.6)
    for axes, (name, points) in zip(made.subplots(1, len(AXES)), series.items(), strict=True):
        across = [p["x"] for p in points]
        axes.plot(across, [p["median_ms"] for p in points], "o-", color="#1b7837", label="measured")
        first = points[0]
        if name == "threads":
            ideal = [first["median_ms"] / p["x"] for p in points]
            label = "1 / threads"
        else:
            ideal = [first["median_ms"] * p["macs"] / first["macs"] for p in points]
            label = "in proportion to the multiply-adds"
        axes.plot(across, ideal, "--", color="#878787", linewidth=1, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(across, [str(x) for x in across])
        low, high = axes.get_ylim()
        ticks = [2.0**k for k in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(low, high)
        axes.set_xlabel(AXES[name])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    made.axes[0].set_ylabel("ms")
    made.suptitle(report.title(f"ABC {plan['network']}: how the cost grows"), fontsize=10)
    return made


if __name__ == "__main__":
    run(main)
