"""How long compiling takes, and that it does not grow with the image.

python benchmarks/compile_time.py [--quick] [--out DIR]
"""

from __future__ import annotations

import time
from typing import Any

from _report import BenchmarkReport, figure, run

import abc_tvm
from abc_tvm import zoo

SIZES = (64, 128, 224, 448)
BASES = ((1, 1), (3, 3), (5, 5))
NETWORKS = ("lenet", "resnet18", "resnet34", "resnet50")


def main() -> None:
    """Compile, print a table, write JSON and a plot."""
    report = BenchmarkReport("compile_time", __doc__)
    cases = [("resnet18", 3, 3, size) for size in SIZES]
    cases += [("resnet18", m, n, 224) for m, n in BASES if (m, n) != (3, 3)]
    cases += [(name, 3, 3, 28 if name == "lenet" else 224) for name in NETWORKS[::3]]
    if report.quick:
        cases = [("lenet", 3, 3, 28), ("resnet18", 3, 3, 64), ("resnet18", 3, 3, 224)]
    _compile("lenet", 1, 1, 28)  # imports, which are not counted
    rows = [_compile(*case) for case in cases]
    columns = ["network", "image", "import s", "passes s", "LLVM, link s", "all s", "artifact MB"]
    cells = [
        [
            row["network"], str(row["image"]),
            *(f"{row[key]:.1f}" for key in ("import_s", "passes_s", "build_s", "seconds")),
            f"{row['bytes'] / 1e6:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    report.table("compiling for this machine", columns, cells)
    report.write(rows, _plot(rows, report))


def _compile(name: str, m: int, n: int, size: int) -> dict[str, Any]:
    model = zoo.build(name, m, n, image_size=size)
    marks: dict[str, float] = {}
    start = time.perf_counter()
    artifact = abc_tvm.compile(model, progress=lambda s: marks.setdefault(s, time.perf_counter()))
    end = time.perf_counter()
    return {
        "network": f"{name} ({m},{n})",
        "image": size,
        "import_s": marks["canonicalise"] - start,
        "passes_s": marks["build"] - marks["canonicalise"],
        "build_s": end - marks["build"],
        "seconds": end - start,
        "bytes": len(artifact.data),
    }


def _plot(rows: list[dict[str, Any]], report: BenchmarkReport) -> Any:
    made = figure(8, 0.4 * len(rows) + 1.6)
    axes = made.subplots()
    labels = [f"{row['network']}, {row['image']}²" for row in rows]
    left = [0.0] * len(rows)
    for key, name, colour in (
        ("import_s", "import", "#92c5de"),
        ("passes_s", "passes, scheduling", "#1b7837"),
        ("build_s", "LLVM, link", "#878787"),
    ):
        axes.barh(labels, [row[key] for row in rows], left=left, color=colour, label=name)
        left = [x + row[key] for x, row in zip(left, rows, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(report.title("Compile time", None), fontsize=10)
    axes.legend(fontsize=8)
    return made


if __name__ == "__main__":
    run(main)
