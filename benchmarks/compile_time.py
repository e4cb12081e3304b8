"""How long compiling takes, and that it does not grow with the image.

python benchmarks/compile_time.py [--quick] [--json OUT.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import abc_tvm
from abc_tvm import zoo

SIZES = (64, 128, 224, 448)


def main() -> int:
    """Compile ABC ResNet-18 (3,3) for several image sizes; print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two sizes only")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    rows = []
    for size in SIZES[1:3] if arguments.quick else SIZES:
        model = zoo.build("resnet18", 3, 3, image_size=size)
        start = time.perf_counter()
        artifact = abc_tvm.compile(model)
        seconds = time.perf_counter() - start
        rows.append({"image": size, "seconds": seconds, "bytes": len(artifact.data)})
    table = Table(title="ABC ResNet-18 (3,3): import, passes, LLVM, linking")
    for column in ("image", "seconds", "artifact MB"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row["image"]), f"{row['seconds']:.1f}", f"{row['bytes'] / 1e6:.1f}")
    Console(stderr=True).print(table)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
