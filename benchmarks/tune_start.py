"""How soon after the command ``abc-tvm tune`` has its first measurement on the disk.

    python benchmarks/tune_start.py [--quick] [--out DIR]

Each time in a process and a folder of its own: imports, reading the network and starting the
processes that measure are all counted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import BenchmarkReport, run

from abc_tvm import zoo
from abc_tvm.errors import UserError

NETWORKS = (("lenet", 3, 3), ("resnet18", 1, 1), ("resnet18", 3, 3), ("resnet50", 3, 3))
RUNS = 5
RECORDS = "*/database_tuning_record.json"


def main() -> None:
    """Start, wait, print a table, write JSON."""
    report = BenchmarkReport("tune_start", __doc__)
    rows = []
    for name, m, n in NETWORKS[:2] if report.quick else NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(zoo.build(name, m, n).SerializeToString())
            taken = [_first(path, Path(folder, str(i))) for i in range(1 if report.quick else RUNS)]
        rows.append({"network": f"{name} ({m},{n})", "seconds": taken})
    columns = ["network", "least s", "median s", "most s"]
    report.table(
        "from the command to the first measurement", columns, [_cells(row) for row in rows]
    )
    report.write(rows)


def _first(model: Path, records: Path) -> float:
    """Seconds until there is a record; the command is then ended."""
    command = [sys.executable, "-m", "abc_tvm", "tune", str(model), "-t", "native"]
    command += ["--trials", "1", "--records", str(records)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not any(file.stat().st_size for file in records.glob(RECORDS)):
            if process.poll() is not None:
                raise UserError(f"tune: {process.communicate()[1].decode().strip()}")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        process.kill()
    return seconds


def _cells(row: dict[str, Any]) -> list[str]:
    taken = row["seconds"]
    return [
        row["network"],
        *(f"{s:.1f}" for s in (min(taken), statistics.median(taken), max(taken))),
    ]


if __name__ == "__main__":
    run(main)
