"""Speed of the kernels as a share of what one core can do, all in one run.

    python benchmarks/kernels.py [--quick] [--out DIR]

Runs in one thread on one CPU. The peaks of the machine (loops on registers only) and the kernels
take turns, because machines are noisy: each round times everything once. Reported are the best
and the median round; a share of the peak compares best with best.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from typing import Any

os.environ["TVM_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

from _report import BenchmarkReport, figure, run
from layers import SHAPES, KernelLayer, Timer, bit_layer, float_layer, int8_layer

from abc_tvm.measure.peaks import (
    BITS_512,
    DOT_256,
    DOT_512,
    FMA_256,
    FMA_512,
    SHUFFLE_256,
    Peak,
    loops,
)
from abc_tvm.targets import load

SAMPLE_S = 0.004
"""About how long one sample takes, in seconds."""


@dataclass
class MeasuredKernel:
    """Something that takes turns with the rest. ``peak`` names the peak it is compared with."""

    name: str
    macs: int
    timer: Timer
    peak: str | None = None
    layer: KernelLayer | None = None
    seconds: list[float] = field(default_factory=list)
    number: int = 1

    def warm_up(self) -> None:
        self.number = max(1, round(SAMPLE_S / self.timer(1)))

    def sample(self) -> None:
        self.timer(max(1, self.number // 4))  # caches and clock get used to it
        self.seconds.append(self.timer(self.number))

    @property
    def gmacs(self) -> float:
        """Billions of multiply-accumulates a second, in the best round."""
        return self.macs / min(self.seconds) / 1e9


def peak_rows() -> list[MeasuredKernel]:
    """The peaks that this machine has."""
    native, haswell = load("native"), load("haswell")
    found: dict[Peak, Any] = dict.fromkeys(loops(native), native)
    if haswell.runs_here():
        found |= dict.fromkeys(loops(haswell), haswell)
    return [
        MeasuredKernel(peak.name, peak.macs, peak.build(device)) for peak, device in found.items()
    ]


def layer_rows() -> list[MeasuredKernel]:
    """Every kernel at every shape, for this machine and for the same machine with AVX2 alone."""
    rows = []
    native, haswell = load("native"), load("haswell")
    wide = native.vector_bits == 512
    for width, channels in SHAPES:
        first = bit_layer(native, width, channels)
        bits = BITS_512 if wide and not first.looked_up else SHUFFLE_256
        made = [
            (first, bits),
            (bit_layer(native, width, channels, 3, 3), bits),
            (float_layer(native, width, channels), FMA_512 if wide else FMA_256),
        ]
        on_int8 = int8_layer(native, width, channels)
        if on_int8 is not None:
            made.append((on_int8, DOT_512 if wide else DOT_256))
        if haswell.runs_here():
            made.append((bit_layer(haswell, width, channels), SHUFFLE_256))
            made.append((float_layer(haswell, width, channels), FMA_256))
        rows += [MeasuredKernel(x.name, x.macs, x.timer, peak.name, x) for x, peak in made]
    return sorted(rows, key=lambda row: row.name)


def report(rows: list[MeasuredKernel]) -> list[dict[str, Any]]:
    """One record a row: milliseconds, GMAC/s, share of its peak, ratio to 256-bit FMA."""
    best = {row.name: row.gmacs for row in rows if row.layer is None}
    records = []
    for row in rows:
        record: dict[str, Any] = {
            "name": row.name,
            "min_ms": min(row.seconds) * 1e3,
            "median_ms": statistics.median(row.seconds) * 1e3,
            "gmacs": row.gmacs,
            "rounds": len(row.seconds),
        }
        if row.layer is not None:
            tile = row.layer.tile
            record |= {
                "width": row.layer.width,
                "channels": row.layer.channels,
                "tile": [tile.rows, tile.columns, tile.blocks],
                "peak": row.peak,
                "of_peak": row.gmacs / best[row.peak] if row.peak in best else None,
                "times_fma_256": row.gmacs / best[FMA_256.name] if FMA_256.name in best else None,
            }
        records.append(record)
    return records


def cells(r: dict[str, Any]) -> list[str]:
    share, ratio = r.get("of_peak"), r.get("times_fma_256")
    return [
        r["name"],
        f"{r['width']}x{r['width']}x{r['channels']}" if "width" in r else "peak",
        "x".join(map(str, r.get("tile", []))),
        f"{r['min_ms']:.4f}",
        f"{r['median_ms']:.4f}",
        f"{r['gmacs']:.1f}",
        f"{share:.1%}" if share else "",
        f"{ratio:.1f}" if ratio else "",
    ]


def plot(records: list[dict[str, Any]], made: BenchmarkReport) -> Any:
    """Share of its peak of each kernel at each shape."""
    shares = [r for r in records if r.get("of_peak")]
    names = list(dict.fromkeys(r["name"] for r in shares))
    peaks = {r["name"]: r["gmacs"] for r in records}
    drawn = figure(10, 0.55 * len(names) * len(SHAPES) / 2 + 1.5)
    axes = drawn.subplots()
    for number, (width, channels) in enumerate(SHAPES):
        own = {r["name"]: r for r in shares if r["width"] == width}
        places = [place + 0.2 * (number - 1.5) for place in range(len(names))]
        heights = [own[name]["of_peak"] * 100 for name in names]
        bars = axes.barh(places, heights, 0.19, label=f"{width}²x{channels}")
        texts = [f"{own[n]['of_peak']:.0%}, {own[n]['gmacs']:.0f} GMAC/s" for n in names]
        axes.bar_label(bars, texts, padding=2, fontsize=7)
    own_peak = {r["name"]: r["peak"] for r in shares}
    labels = [f"{n}\npeak: {own_peak[n]}, {peaks[own_peak[n]]:.0f} GMAC/s" for n in names]
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    axes.axvline(100, color="black", linewidth=1)
    axes.set_xlim(0, 125)
    axes.invert_yaxis()
    axes.set_xlabel("% of the peak of its instructions, best rounds")
    axes.set_title(made.title("3x3 convolutions with zero padding"), fontsize=10)
    axes.legend(title="image x channels", fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def main() -> None:
    made = BenchmarkReport("kernels", __doc__)
    made.console.print("compiling, and checking results against NumPy ...")
    rows = peak_rows() + layer_rows()
    for row in rows:
        row.warm_up()
    for _ in range(10 if made.quick else 60):
        for row in rows:
            row.sample()
    records = report(rows)
    columns = ["kernel", "shape", "tile", "min ms", "median ms", "GMAC/s", "of peak", "x FMA 256"]
    made.table("one thread", columns, [cells(r) for r in records])
    made.write(records, plot(records, made))


if __name__ == "__main__":
    run(main)
