"""Whole networks beside the float and int8 builds of the same architecture.

    python benchmarks/networks.py [--quick] [--out DIR]

Every network takes turns with its opponents in one process, pinned to as many processors as it
has threads, and only after its outputs and theirs were found right. The opponents run an ordinary
float network of the same architecture (Conv, BN, ReLU; ``abc_tvm.zoo.build_float``): this
compiler's own float build, onnxruntime with all its optimisations, and onnxruntime's int8
(statically quantised, QDQ, per channel). The ABC graph itself, whose M·N convolutions no other
engine joins, would be a straw man. Weights are random; times do not depend on them.
"""

from __future__ import annotations

from typing import Any

from _report import BenchmarkReport, figure, run

from abc_tvm import zoo
from abc_tvm.measure.bench import bench

OPPONENTS = ("tvm-float", "onnxruntime", "onnxruntime-int8")
NETWORKS = (
    ("lenet", 1, 1, False),
    ("lenet", 3, 3, False),
    ("lenet", 5, 5, True),
    ("resnet18", 1, 1, False),
    ("resnet18", 1, 3, False),
    ("resnet18", 3, 3, False),
    ("resnet18", 3, 3, True),
    ("resnet18", 5, 5, True),
    ("resnet34", 1, 1, False),
    ("resnet34", 3, 3, True),
    ("resnet50", 1, 1, False),
    ("resnet50", 3, 3, True),
    ("bireal18", 1, 1, False),
)
"""Name, M, N, and whether the scales are on a grid, so that layers may run on bytes exactly."""

QUICK = (NETWORKS[0], NETWORKS[1], NETWORKS[3], NETWORKS[7])
TWINS = {"bireal18": "resnet18"}
"""Float twins that have another name."""


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    report = BenchmarkReport("networks", __doc__)
    rows: list[dict[str, Any]] = []
    for name, m, n, grid in QUICK if report.quick else NETWORKS:
        label = f"{name} ({m},{n}{', grid' if grid else ''})"
        with report.console.status(label):
            found = bench(
                zoo.build(name, m, n, batch=1, grid=grid),
                against=OPPONENTS,
                float_model=zoo.build_float(TWINS.get(name, name), batch=1),
                repeat=8 if report.quick else 25,
            ).json()
        rows.append({"network": label, **found})
        report.console.print(f"{label}: {_ratios(rows[-1])}")
    columns = [
        "network",
        "on bits",
        "on bytes",
        "abc-tvm ms",
        *(f"{name} ms" for name in OPPONENTS),
    ]
    columns += [f"x {name}" for name in OPPONENTS]
    report.table("batch 1, one thread, medians", columns, [_cells(row) for row in rows])
    report.write(rows, _plot(rows, report))


def _medians(row: dict[str, Any]) -> dict[str, float]:
    return {result["engine"]: result["median_ms"] for result in row["results"]}


def _ratios(row: dict[str, Any]) -> str:
    refused = [refusal["reason"] for refusal in row["refused"]]
    return ", ".join([f"{x:.2f} x {name}" for name, x in row["speedup"].items()] + refused)


def _cells(row: dict[str, Any]) -> list[str]:
    times = _medians(row)
    engines = ("abc-tvm", *OPPONENTS)
    cells = [row["network"], str(row["bitserial_layers"]), str(row["int8_layers"])]
    cells += [f"{times[name]:.3f}" if name in times else "" for name in engines]
    ratios = row["speedup"]
    return cells + [f"{ratios[name]:.2f}" if name in ratios else "" for name in OPPONENTS]


def _plot(rows: list[dict[str, Any]], report: BenchmarkReport) -> Any:
    made = figure(9, 0.5 * len(rows) + 1.8)
    axes = made.subplots()
    colours = {"tvm-float": "#92c5de", "onnxruntime": "#2166ac", "onnxruntime-int8": "#762a83"}
    for number, name in enumerate(OPPONENTS):
        places = [place + 0.27 * (number - 1) for place in range(len(rows))]
        ratios = [row["speedup"].get(name, 0.0) for row in rows]
        bars = axes.barh(places, ratios, height=0.25, color=colours[name], label=f"against {name}")
        axes.bar_label(bars, [f"{x:.1f}" if x else "" for x in ratios], padding=3, fontsize=7)
    labels = [f"{row['network']}: {_medians(row)['abc-tvm']:.2f} ms" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("abc-tvm is so many times as fast")
    axes.set_title(report.title("Networks (M, N), batch 1"), fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    return made


if __name__ == "__main__":
    run(main)
