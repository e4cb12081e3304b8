"""Whole networks beside onnxruntime's float32 and int8 builds of the same architecture.

    python benchmarks/networks.py [--quick] [--json OUT.json] [--threads 1,2]

Every network takes turns with its opponents in one process, pinned to as many processors as it
has threads. The opponents run an ordinary float network of the same architecture (Conv, BN, ReLU;
``abc_tvm.zoo.build_float``): float32 with all of onnxruntime's optimisations, and int8 quantised
statically, per channel (QDQ). The ABC graph itself, whose M·N convolutions no other engine joins,
would be a straw man. Weights are random; times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from abc_tvm import zoo
from abc_tvm.bench import bench

NETWORKS = (("resnet18", 1, 1), ("resnet18", 3, 3), ("resnet18", 5, 5), ("bireal18", 1, 1))


def main() -> int:
    """Measure, print a table on stderr, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, one thread")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--threads", default="1,2", help="thread counts, with commas")
    arguments = parser.parse_args()
    counts = [1] if arguments.quick else [int(t) for t in arguments.threads.split(",")]
    repeat = 8 if arguments.quick else 40
    float_model = zoo.build_float("resnet18", batch=1)
    console = Console(stderr=True)
    rows = []
    for threads in counts:
        for name, m, n in NETWORKS:
            label = f"{name} ({m},{n})"
            with console.status(f"{label}, {threads} thread(s)"):
                result = bench(
                    zoo.build(name, m, n, batch=1),
                    against=("onnxruntime", "onnxruntime-int8"),
                    float_model=float_model,
                    threads=threads,
                    repeat=repeat,
                ).json()
            rows.append({"network": label, **result})
    _show(console, rows)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _show(console: Console, rows: list[dict]) -> None:  # type: ignore[type-arg]
    table = Table(title=f"224x224, batch 1, ms (minimum / median): {rows[0]['machine']}")
    for column in ("network", "threads", "abc-tvm", "float32", "int8", "x float32", "x int8"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        times = {r["engine"]: r for r in row["results"]}
        cells = [f"{t['min_ms']:.2f} / {t['median_ms']:.2f}" for t in times.values()]
        ours = times["abc-tvm"]["min_ms"]
        ratios = [times[e]["min_ms"] / ours for e in ("onnxruntime", "onnxruntime-int8")]
        table.add_row(
            row["network"], str(row["threads"]), *cells, *(f"{ratio:.2f}" for ratio in ratios)
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
