"""What networks take: weights, working memory, files; against the float build of the same graph.

    python benchmarks/size.py [--quick] [--out DIR]

Weights count as the kernels read them, packed and padded. Working memory is the arena of the C
form, which plans it statically (``abc-tvm compile --format c``): the most that lives at a time.
"""

from __future__ import annotations

from typing import Any

from _report import BenchmarkReport, figure, run

import abc_tvm
from abc_tvm import zoo
from abc_tvm.api import compile_c
from abc_tvm.cli.console import size

NETWORKS = (
    ("lenet", 1, 1),
    ("lenet", 3, 3),
    ("resnet18", 1, 1),
    ("resnet18", 3, 3),
    ("resnet50", 1, 1),
    ("bireal18", 1, 1),
)
QUICK = (("lenet", 1, 1), ("lenet", 3, 3))
TWINS = {"bireal18": "resnet18"}
KEYS = ("weights", "memory", "file")
NAMES = {"weights": "weights", "memory": "working memory", "file": "shared library"}


def main() -> None:
    """Compile, print a table, write JSON and a plot."""
    report = BenchmarkReport("size", __doc__)
    rows = []
    for name, m, n in QUICK if report.quick else NETWORKS:
        bits = _sizes(zoo.build(name, m, n, batch=1), "auto")
        floats = _sizes(zoo.build_float(TWINS.get(name, name), batch=1), "float")
        rows.append({"network": f"{name} ({m},{n})", "abc": bits, "float": floats})
    columns = ["network"]
    for key in KEYS:
        columns += [f"{NAMES[key]} MB", "float MB", "smaller by"]
    report.table("one image", columns, [_cells(row) for row in rows])
    report.write(rows, _plot(rows, report), threads=None)


def _sizes(model: Any, lowering: str) -> dict[str, int]:
    library = compile_c(model, name="network", lowering=lowering)
    artifact = abc_tvm.compile(model, lowering=lowering)
    return {
        "weights": int(library.weights),
        "memory": int(library.arena),
        "file": len(artifact.data),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    cells = [row["network"]]
    for key in KEYS:
        ours, theirs = row["abc"][key], row["float"][key]
        cells += [f"{ours / 1e6:.3f}", f"{theirs / 1e6:.3f}", f"{theirs / ours:.1f}x"]
    return cells


def _plot(rows: list[dict[str, Any]], report: BenchmarkReport) -> Any:
    made = figure(12, 0.5 * len(rows) + 2.2)
    all_axes = made.subplots(1, 3)
    for number, (axes, key) in enumerate(zip(all_axes, KEYS, strict=True)):
        places = range(len(rows))
        for shift, side, colour in ((-0.2, "abc", "#1b7837"), (0.2, "float", "#92c5de")):
            sizes = [row[side][key] / 1e6 for row in rows]
            name = "compiled, the chooser's lowering" if side == "abc" else "the float network"
            bars = axes.barh([p + shift for p in places], sizes, 0.38, color=colour, label=name)
            axes.bar_label(bars, [size(row[side][key]) for row in rows], padding=2, fontsize=7)
        axes.set_yticks(places, [row["network"] if not number else "" for row in rows])
        axes.set_xscale("log")
        most = max(row[side][key] for row in rows for side in ("abc", "float"))
        axes.set_xlim(min(row["abc"][key] for row in rows) / 2e6, most * 4e-6)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        axes.invert_yaxis()
        axes.set_xlabel(f"{NAMES[key]}, MB")
    made.suptitle(report.title("Sizes, one image", None), fontsize=10)
    made.legend(*all_axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center")
    return made


if __name__ == "__main__":
    run(main)
