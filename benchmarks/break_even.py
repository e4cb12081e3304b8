"""At which M·N bits stop winning, per target.

    python benchmarks/break_even.py [--quick] [--out DIR]

On this machine: 3x3 convolutions of ResNet-18 on bits for growing M·N, in turns with the float32
kernel of the same shape, one thread; the break-even is where the line from one measured M·N to the
next meets the float time, and where it meets that of the kernel on bytes. On Arm: cycles of the
inner loops by llvm-mca, as ``benchmarks/arm_static.py`` has them, float over bits; no cache, no
epilogue, no measurement. ``cost.pair`` of each target, by
which the compiler chooses, should be the inverse of the least of its break-evens.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

os.environ["TVM_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import arm_static
from _report import BenchmarkReport, figure, run
from layers import SHAPES, KernelLayer, bit_layer, float_layer, int8_layer

from abc_tvm.targets import Device, load

BASES = ((1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4), (5, 5))
QUICK = ((1, 1), (2, 2), (3, 3), (4, 4))
SAMPLE_S = 0.004


def main() -> None:
    """Measure, print tables, write JSON and a plot."""
    report = BenchmarkReport("break_even", __doc__)
    here = [load("native")]
    haswell = load("haswell")
    if haswell.runs_here() and not report.quick:
        here.append(haswell)
    measured = [row for device in here for row in _measure(device, report)]
    mca = arm_static.find_mca()
    static = [] if mca is None else _static(arm_static.measure(mca))
    if mca is None:
        report.console.print("no llvm-mca (Debian: apt install llvm-22): Arm is left out")
    columns = ["target", "shape", "bits win up to M·N", "against bytes", "1 / cost.pair"]
    report.table("break-even", columns, [_cells(row) for row in measured + static])
    report.write(measured + static, _plot(measured, static, report))


def _measure(device: Device, report: BenchmarkReport) -> list[dict[str, Any]]:
    """One record for each shape, every kernel checked against NumPy before it is timed."""
    bases = QUICK if report.quick else BASES
    rows = []
    for width, channels in SHAPES[::3] if report.quick else SHAPES:
        made: dict[str, KernelLayer] = {"float": float_layer(device, width, channels)}
        made |= {f"{m},{n}": bit_layer(device, width, channels, m, n) for m, n in bases}
        on_int8 = int8_layer(device, width, channels)
        if on_int8 is not None:
            made["bytes"] = on_int8
        best = _turns(made, 5 if report.quick else 20)
        floats, int8 = best.pop("float"), best.pop("bytes", None)
        pairs = [m * n for m, n in bases]
        times = list(best.values())
        rows.append(
            {
                "target": device.name if device.name != "native" else f"native: {device.cpu}",
                "kind": "measured",
                "width": width,
                "channels": channels,
                "float_ms": floats * 1e3,
                "bits_ms": {f"{m},{n}": best[f"{m},{n}"] * 1e3 for m, n in bases},
                "pairs": pairs,
                "break_even": crossing(pairs, times, floats),
                "bytes_ms": None if int8 is None else int8 * 1e3,
                "has_bytes": int8 is not None,
                "break_even_bytes": None if int8 is None else crossing(pairs, times, int8),
                "cost_pair": device.cost.pair,
            }
        )
    return rows


def crossing(pairs: list[int], times: list[float], rival: float) -> float | None:
    """Where the times, joined by lines, first reach ``rival``; ``None`` where they stay below.

    Below the first measured point they are taken to grow in proportion.
    """
    if times[0] >= rival:
        return pairs[0] * rival / times[0]
    for (x0, y0), (x1, y1) in pairwise(zip(pairs, times, strict=True)):
        if y1 >= rival:
            return x0 + (x1 - x0) * (rival - y0) / (y1 - y0)
    return None


def _turns(made: dict[str, KernelLayer], rounds: int) -> dict[str, float]:
    """The least time of each kernel, all taking turns."""
    numbers = {name: max(1, round(SAMPLE_S / layer.timer(1))) for name, layer in made.items()}
    best = dict.fromkeys(made, float("inf"))
    for _ in range(rounds):
        for name, layer in made.items():
            layer.timer(max(1, numbers[name] // 4))
            best[name] = min(best[name], layer.timer(numbers[name]))
    return best


def _static(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    devices = {core.name: load(core.device) for core in arm_static.CORES}
    return [
        {
            "target": f"{devices[r['core']].name}: {r['core']}",
            "kind": "static cycle counts",
            "width": r["width"],
            "channels": r["channels"],
            "float_cycles_per_mac": r["float_cycles_per_mac"],
            "bits_cycles_per_pair": r["cycles_per_mac"],
            "break_even": r["float_cycles_per_mac"] / r["cycles_per_mac"],
            "has_bytes": r["byte_cycles_per_mac"] is not None,
            "break_even_bytes": r["byte_cycles_per_mac"]
            and r["byte_cycles_per_mac"] / r["cycles_per_mac"],
            "cost_pair": devices[r["core"]].cost.pair,
        }
        for r in records
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['target']} ({row['kind']})",
        f"{row['width']}²x{row['channels']}",
        _number(row["break_even"], row),
        _number(row["break_even_bytes"], row) if row["has_bytes"] else "",
        f"{1 / row['cost_pair']:.1f}",
    ]


def _number(value: float | None, row: dict[str, Any]) -> str:
    return f"beyond {max(row['pairs'])}" if value is None else f"{value:.1f}"


def _plot(
    measured: list[dict[str, Any]], static: list[dict[str, Any]], report: BenchmarkReport
) -> Any:
    made = figure(13, 5)
    left, right = made.subplots(1, 2)
    first = measured[0]["target"]
    shown = [row for row in measured if row["target"] == first]
    for row in shown:
        relative = [ms / row["float_ms"] for ms in row["bits_ms"].values()]
        label = f"{row['width']}²x{row['channels']}: {_number(row['break_even'], row)}"
        left.plot(row["pairs"], relative, "o-", markersize=4, label=label)
    most = max(shown[0]["pairs"])
    left.axhline(1, color="#2166ac", linewidth=1)
    left.annotate("float32", (most, 1), ha="right", va="bottom", color="#2166ac")
    bounds = [r["bytes_ms"] / r["float_ms"] for r in shown if r["bytes_ms"]]
    if bounds:
        left.axhline(min(bounds), color="#762a83", linewidth=1)
        text = "levels coded as bytes"
        left.annotate(text, (most, min(bounds)), ha="right", va="bottom", color="#762a83")
    left.set(xlabel="M·N", ylabel="time, as a multiple of float32", ylim=(0, None))
    left.set_title(f"{first}, one thread", fontsize=10)
    left.legend(title="shape: break-even", fontsize=8, loc="upper left")
    rows = measured + static
    targets = list(dict.fromkeys(row["target"] for row in rows))
    for place, target in enumerate(targets):
        own = [row for row in rows if row["target"] == target]
        ends = [row["break_even"] or max(row["pairs"]) for row in own]
        colour = "#1b7837" if own[0]["kind"] == "measured" else "#878787"
        right.plot([min(ends), max(ends)], [place, place], "o-", color=colour, linewidth=5)
        span = f"{min(ends):.1f}"
        span += f" to {max(ends):.1f}" if f"{max(ends):.1f}" != span else ""
        text = f"{span}, {own[0]['kind']}"
        right.annotate(text, (max(ends) + 0.8, place), va="center", size=8)
    right.set_yticks(range(len(targets)), targets, fontsize=8)
    right.set_xlim(0, max(row["break_even"] or max(row["pairs"]) for row in rows) * 1.8)
    right.set_ylim(-0.6, len(targets) - 0.4)
    right.invert_yaxis()
    right.set_xlabel("M·N up to which bits beat float32 (least to most of the shapes)")
    made.suptitle(report.title("Where bits stop winning"), fontsize=10)
    return made


if __name__ == "__main__":
    run(main)
