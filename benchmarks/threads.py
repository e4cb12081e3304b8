"""How whole networks scale with threads: each count in a process of its own, nothing beside it.

python benchmarks/threads.py [--quick] [--json OUT.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import abc_tvm
from abc_tvm import zoo

NETWORKS = (("resnet18", 1, 1), ("resnet18", 3, 3), ("bireal18", 1, 1))


def main() -> int:
    """Run every network with one thread and with all; print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    counts = sorted({1, len(os.sched_getaffinity(0))})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, m, n in NETWORKS:
            path = Path(folder, "network.so")
            abc_tvm.compile(zoo.build(name, m, n, batch=1)).save(path)
            for threads in counts:
                command = [sys.executable, "-m", "abc_tvm", "run", str(path), "--random", "--json"]
                command += ["--threads", str(threads)]
                command += ["--repeat", "30" if arguments.quick else "200"]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                timed = json.loads(out)
                timed.pop("artifact")
                rows.append({"network": f"{name} ({m},{n})", **timed})
    table = Table(title="one 224x224 image, ms")
    for column in ("network", "threads", "minimum", "median"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        cells = [f"{row[key]:.2f}" for key in ("min_ms", "median_ms")]
        table.add_row(row["network"], str(row["threads"]), *cells)
    Console(stderr=True).print(table)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
