"""Published families of binarized networks: what is recognised, whether it is equal, how fast.

    python benchmarks/families.py [FAMILY ...] [--size N] [--width W] [--json] [--quick] [--out DIR]

Each network of ``abc_tvm.zoo.families()`` is written in the spelling of its usual exporter,
compiled for this machine and judged by onnxruntime without graph optimisations: the classes and
outputs of eight images, and every activation bit from the same bits before
(``abc_tvm.checks.verify``). In deep networks one bit that flips by rounding moves everything behind
it; how far onnxruntime's own optimisations move the outputs stands beside ours. What is not equal
is not timed. Then it takes turns, on one processor, with onnxruntime on the same graph (float32,
all its optimisations) and with this compiler's float build of an ordinary network of the same
architecture, Relu in the place of every quantizer. Weights are random; times do not depend on them.
A layer *should be low* where its input is a step function and its weights have few values.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _report import BenchmarkReport, figure, run

import abc_tvm
from abc_tvm import frontend, stages, zoo
from abc_tvm.artifact import Artifact
from abc_tvm.checks.verify.network import Verification, verify
from abc_tvm.engines.engine import open_session
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.errors import UserError
from abc_tvm.measure.timing import Times, pinned, take_turns
from abc_tvm.report import Layer
from abc_tvm.scratch import scratch

OURS, SAME, TWIN = "abc-tvm", "onnxruntime", "float network"
IMAGES = 8
SEED = 1
"""Of the images: another than the one that the statistics come from."""
QUICK = ("quicknet-small", "irnet20", "unet", "tcresnet8", "transformer")
NO_ROW = "not among the layers of the report"


def main() -> None:
    """Compile, compare and time; print tables, write JSON and a plot."""
    report = BenchmarkReport("families", __doc__, _options)
    given = report.arguments
    unknown = set(given.families) - set(zoo.families())
    if unknown:
        known = ", ".join(zoo.families())
        raise UserError(f"no family {', '.join(sorted(unknown))}; choose from {known}")
    names = given.families or (QUICK if report.quick else zoo.families())
    abc_tvm.compile(zoo.build("lenet", batch=1))  # imports, whose time is not counted
    rows = []
    for name in names:
        with report.console.status(name):
            rows.append(_measure(name, given.size, given.width, 8 if report.quick else 25))
        report.console.print(_line(rows[-1]))
    report.table(
        "layers: bits + bytes + float, and those that should be low",
        ["family", "bits", "bytes", "float", "should be low", "are", "not, and why"],
        [_layer_cells(row) for row in rows],
    )
    report.table(
        f"against onnxruntime without optimisations, {IMAGES} images; files",
        [
            "family", "same class", "largest error", "its own optimised", "flipped bits", "of",
            "unseen layers", "passed", "compile s", "file MB", "packed weights MB", "as float32 MB",
        ],
        [_equal_cells(row) for row in rows],
    )  # fmt: skip
    report.table(
        "one image, one thread, minima",
        ["family", f"{OURS} ms", f"{SAME} ms", f"{TWIN} ms", f"x {SAME}", f"x {TWIN}"],
        [_time_cells(row) for row in rows],
    )
    settings = {"size": given.size, "width": given.width, "images": IMAGES, "seed": SEED}
    report.write(rows, _plot(rows, report), settings=settings)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="by default all")
    parser.add_argument("--size", type=int, metavar="N", help="of the input, by default its own")
    parser.add_argument("--width", type=float, default=1.0, help="multiplies channels")
    parser.add_argument("--json", action="store_true", help="print the JSON as well")


def _measure(name: str, size: int | None, width: float, repeat: int) -> dict[str, Any]:
    model = zoo.build(name, image_size=size, width=width, batch=1)
    start = time.process_time()
    artifact = abc_tvm.compile(model)
    seconds = time.process_time() - start
    images = zoo.sample(name, IMAGES, image_size=size, seed=SEED)
    row = {
        "family": name,
        "input": list(images.shape[1:]),
        **_layers(model, artifact),
        "compile_s": seconds,
        "file_bytes": len(artifact.data),
        "weight_bytes": sum(layer.weight_bytes for layer in artifact.report),
        "float_weight_bytes": sum(layer.float_weight_bytes for layer in artifact.report),
    }
    standard = frontend.standard_onnx(stages.checked_source(model))
    reference = OnnxEngine(standard, optimise=False)
    with pinned(1), scratch() as folder:
        session = open_session(artifact, Path(folder, "ours.so"), 1)
        optimised = OnnxEngine(standard, threads=1)
        wanted, found, itself = (
            [run({"input": x})["output"] for x in np.split(images, IMAGES)]
            for run in (reference.run, session.run, optimised.run)
        )
        row |= {"images": IMAGES, **_agreement(found, wanted)}
        row["onnxruntime_itself"] = _agreement(itself, wanted)
        row |= _bits(verify(model, inputs={"input": images[:1]}))
        times: dict[str, Times] = {}
        if row["passed"]:
            twin = zoo.build_float(name, image_size=size, width=width, batch=1)
            made = abc_tvm.compile(twin, lowering="float")
            float_session = open_session(made, Path(folder, "float.so"), 1)
            x = {"input": images[:1]}
            times = take_turns(
                {
                    OURS: lambda: session.run(x),
                    SAME: lambda: optimised.run(x),
                    TWIN: lambda: float_session.run(x),
                },
                repeat,
            )
    least = {key: found.min_ms for key, found in times.items()}
    row["times"] = {key: found.json() for key, found in times.items()}
    row["speedup"] = {key: ms / least[OURS] for key, ms in least.items() if key != OURS}
    return row


def _layers(model: onnx.ModelProto, artifact: Artifact) -> dict[str, Any]:
    """What became of the layers, and of those that should be low."""
    rows: dict[str, Layer] = {layer.name: layer for layer in artifact.report}
    should = zoo.binarized_layers(model)
    left = {
        name: rows[name].reason if name in rows else NO_ROW
        for name in should
        if name not in rows or rows[name].lowering == "float"
    }
    others = {
        name: layer.reason
        for name, layer in rows.items()
        if layer.lowering == "float" and name not in left
    }
    return {
        **artifact.report.layers_by_lowering(),
        "float_layers": sum(layer.lowering == "float" for layer in rows.values()),
        "should_be_low": len(should),
        "are_low": len(should) - len(left),
        "left_in_float": left,
        "other_float_layers": others,
        "second_opinion": artifact.report.second_opinion,
    }


def _agreement(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, Any]:
    """Of outputs, image by image; the classes are along axis 1."""
    pairs = list(zip(found, wanted, strict=True))
    same = [bool((ours.argmax(1) == theirs.argmax(1)).all()) for ours, theirs in pairs]
    errors = [float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs]
    return {"same_class": sum(same), "largest_error": max(errors)}


def _bits(checked: Verification) -> dict[str, Any]:
    return {
        "flipped_bits": checked.flipped_bits,
        "unexplained_bits": checked.unexplained_bits,
        "checked_bits": checked.checked_bits,
        "unchecked_layers": list(checked.unchecked_layers),
        "passed": checked.passed,
        "faults": list(checked.faults),
    }


def _line(row: dict[str, Any]) -> str:
    ratios = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in row["speedup"].items())
    low = f"{row['are_low']} of {row['should_be_low']} low"
    return f"{row['family']}: {low}, {ratios or 'not timed: ' + '; '.join(row['faults'])}"


def _layer_cells(row: dict[str, Any]) -> list[str]:
    reasons = Counter(row["left_in_float"].values())
    why = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
    counts = ("bitserial_layers", "int8_layers", "float_layers", "should_be_low", "are_low")
    return [row["family"], *(str(row[key]) for key in counts), why]


def _equal_cells(row: dict[str, Any]) -> list[str]:
    itself = row["onnxruntime_itself"]
    megabytes = ("file_bytes", "weight_bytes", "float_weight_bytes")
    return [
        row["family"],
        f"{row['same_class']} of {row['images']}",
        f"{row['largest_error']:.1e}",
        f"{itself['same_class']}, {itself['largest_error']:.1e}",
        str(row["flipped_bits"]),
        str(row["checked_bits"]),
        str(len(row["unchecked_layers"])),
        "yes" if row["passed"] else "no",
        f"{row['compile_s']:.1f}",
        *(f"{row[key] / 1e6:.2f}" for key in megabytes),
    ]


def _time_cells(row: dict[str, Any]) -> list[str]:
    times, ratios = row["times"], row["speedup"]
    cells = [f"{times[key]['min_ms']:.3f}" if key in times else "" for key in (OURS, SAME, TWIN)]
    cells += [f"{ratios[key]:.2f}" if key in ratios else "" for key in (SAME, TWIN)]
    return [row["family"], *cells]


def _plot(rows: list[dict[str, Any]], report: BenchmarkReport) -> Any:
    made = figure(9, 0.5 * len(rows) + 1.8)
    axes = made.subplots()
    for number, (name, colour) in enumerate(((SAME, "#2166ac"), (TWIN, "#92c5de"))):
        places = [place + 0.4 * (number - 0.5) for place in range(len(rows))]
        ratios = [row["speedup"].get(name, 0.0) for row in rows]
        bars = axes.barh(places, ratios, height=0.36, color=colour, label=f"against {name}")
        axes.bar_label(bars, [f"{x:.1f}" if x else "" for x in ratios], padding=3, fontsize=7)
    labels = [f"{row['family']}: {row['are_low']} of {row['should_be_low']} low" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("abc-tvm is so many times as fast")
    axes.set_title(report.title("Families, one image"), fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    return made


if __name__ == "__main__":
    run(main)
