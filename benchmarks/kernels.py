"""Speed of the kernels as a share of what one core can do, all in one run.

    python benchmarks/kernels.py [--json OUT] [--quick]

Runs in one thread on one CPU. The peaks of the machine (loops on registers only) and the kernels
take turns, because machines are noisy: each round times everything once. Reported are the best
and the median round; a share of the peak compares best with best.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["TVM_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

from layers import SHAPES, Layer, Timer, bit_layer, float_layer
from rich.console import Console
from rich.table import Table

from abc_tvm.peaks import BITS_512, FMA_256, FMA_512, SHUFFLE_256, Peak, loops
from abc_tvm.schedules.x86 import family
from abc_tvm.targets import load

SAMPLE_S = 0.004
"""About how long one sample takes, in seconds."""


@dataclass
class Measured:
    """Something that takes turns with the rest. ``peak`` names the peak it is compared with."""

    name: str
    macs: int
    timer: Timer
    peak: str | None = None
    layer: Layer | None = None
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


def peak_rows() -> list[Measured]:
    """The peaks that this machine has."""
    native, haswell = load("native"), load("haswell")
    found: dict[Peak, Any] = dict.fromkeys(loops(native), native)
    if haswell.runs_here():
        found |= dict.fromkeys(loops(haswell), haswell)
    return [Measured(peak.name, peak.macs, peak.build(device)) for peak, device in found.items()]


def layer_rows() -> list[Measured]:
    """Every kernel at every shape, for this machine and for the same machine with AVX2 alone."""
    rows = []
    native, haswell = load("native"), load("haswell")
    wide = native.vector_bits == 512
    bits = BITS_512 if wide and family(native) == "popcount" else SHUFFLE_256
    for width, channels in SHAPES:
        made = [
            (bit_layer(native, width, channels), bits),
            (bit_layer(native, width, channels, 3, 3), bits),
            (float_layer(native, width, channels), FMA_512 if wide else FMA_256),
        ]
        if haswell.runs_here():
            made.append((bit_layer(haswell, width, channels), SHUFFLE_256))
            made.append((float_layer(haswell, width, channels), FMA_256))
        rows += [Measured(x.name, x.macs, x.timer, peak.name, x) for x, peak in made]
    return sorted(rows, key=lambda row: row.name)


def report(rows: list[Measured]) -> list[dict[str, Any]]:
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


def show(records: list[dict[str, Any]], console: Console) -> None:
    table = Table(
        "kernel", "shape", "tile", "min ms", "median ms", "GMAC/s", "of peak", "x FMA 256"
    )
    for r in records:
        share, ratio = r.get("of_peak"), r.get("times_fma_256")
        table.add_row(
            r["name"],
            f"{r['width']}x{r['width']}x{r['channels']}" if "width" in r else "peak",
            "x".join(map(str, r.get("tile", []))),
            f"{r['min_ms']:.4f}",
            f"{r['median_ms']:.4f}",
            f"{r['gmacs']:.1f}",
            f"{share:.1%}" if share else "",
            f"{ratio:.1f}" if ratio else "",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the records to this file")
    parser.add_argument("--quick", action="store_true", help="few rounds: a rough look")
    arguments = parser.parse_args()
    console = Console(stderr=True, width=140)
    console.print("compiling, and checking results against NumPy ...")
    rows = peak_rows() + layer_rows()
    for row in rows:
        row.warm_up()
    for _ in range(10 if arguments.quick else 60):
        for row in rows:
            row.sample()
    records = report(rows)
    show(records, console)
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
