"""From trained networks to compiled ones, and to a table, JSON and plots."""

from __future__ import annotations

import datetime
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _accuracy_data import Split
from _accuracy_networks import normalise
from rich.table import Table
from torch import Tensor, nn

import abc_tvm
from abc_tvm.checks.verify.network import verify
from abc_tvm.engines.engine import open_session
from abc_tvm.files import write_atomically
from abc_tvm.frontend.torch_program import export_to_onnx
from abc_tvm.measure.facts import machine_name
from abc_tvm.measure.timing import pinned, take_turns
from abc_tvm.nn import export_onnx
from abc_tvm.nn.export import OPSET

REPEAT = 30
CHECKED_IMAGES = 200
PAPER = {
    (1, 1): 42.7, (3, 1): 49.1, (5, 1): 54.1, (3, 3): 61.0, (5, 3): 62.5, (3, 5): 63.1,
    (5, 5): 65.0, (0, 0): 69.3,
}  # fmt: skip
"""ResNet-18 on ImageNet, top-1 in per cent, M weight and N activation bases; (0, 0) is float.
Source: Lin, Zhao, Pan, NIPS 2017 (the paper's figures; not measured here)."""


@dataclass
class Run:
    """One trained network and what was found about it.

    Attributes:
        dataset, M, N, seed: which; M = N = 0 is the float network.
        label: name of its files in the work folder.
        network: the torch module, in evaluation.
        classes: what torch says of each test image.
        accuracy: torch's test accuracy in per cent.
        seconds: of training.
        found: figures of the compiled network, see :func:`evaluate`.
    """

    dataset: str
    M: int
    N: int
    seed: int
    label: str
    network: nn.Module
    classes: Tensor
    accuracy: float
    seconds: float
    found: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Everything but the network."""
        names = ("dataset", "M", "N", "seed", "accuracy", "seconds")
        return {**{name: getattr(self, name) for name in names}, **self.found}


def evaluate(run: Run, test: Split, work: Path) -> None:
    """Export, compile, run over the test set, count flipped bits, time one image.

    Fills ``run.found``: ``compiled_accuracy`` in per cent; ``different`` images, of which the
    compiled network names another class than torch; ``flipped_bits`` of ``checked_bits`` (the
    first seed, over 200 images); ``bitserial`` layers; ``median_ms`` and ``min_ms`` of one image
    with one thread, bits wherever the compiler finds them faster; ``weight_bytes``.
    """
    images = normalise(torch.as_tensor(test.images.copy())).numpy()
    path = work / f"{run.label}.onnx"
    if run.M:
        export_onnx(run.network, path, torch.as_tensor(images[:2]), dynamic_batch=True)
    else:
        export_float(run.network, path, torch.as_tensor(images[:2]))
    artifact = abc_tvm.compile(path, batch=1)
    with tempfile.TemporaryDirectory(prefix="abc-tvm-") as folder, pinned(1):
        session = open_session(artifact, Path(folder, "network.so"), 1)
        outputs = [session.run({"input": image[None]})["output"] for image in images]
        times = take_turns({"abc-tvm": lambda: session.run({"input": images[:1]})}, REPEAT, 10)
    classes = np.concatenate(outputs).argmax(1)
    layers = artifact.report.layers
    run.found = {
        "compiled_accuracy": 100 * float((classes == test.labels).mean()),
        "different": int((classes != run.classes.numpy()).sum()),
        "bitserial": sum(layer.lowering == "bitserial" for layer in layers),
        "layers": len(layers),
        "median_ms": times["abc-tvm"].median_ms,
        "min_ms": times["abc-tvm"].min_ms,
        "weight_bytes": artifact.report.json()["weight_bytes"],
    }
    if run.M and not run.seed:
        inputs = {"input": images[:CHECKED_IMAGES]}
        outcome = verify(path, inputs=inputs, batch=CHECKED_IMAGES, lowering="bitserial")
        run.found |= {
            "flipped_bits": outcome.flipped_bits,
            "checked_bits": outcome.checked_bits,
            "verified": outcome.passed,
        }


def export_float(network: nn.Module, path: Path, example: Tensor) -> None:
    """A float network as ONNX, with an open batch."""
    batch = torch.export.Dim("batch", min=1)
    options: dict[str, Any] = {
        "opset_version": OPSET,
        "input_names": ["input"],
        "output_names": ["output"],
        "dynamic_shapes": ({0: batch},),
    }
    proto = export_to_onnx(network.eval(), (example,), **options)
    write_atomically(path, proto.SerializeToString())


def table(runs: Sequence[Run]) -> Table:
    """All networks: accuracy over the seeds, beside the paper's on ImageNet, and latency."""
    title = f"test accuracy in %, one image with one thread: {machine_name()}"
    found = Table(title=title, title_justify="left")
    for name in ("data", "M", "N"):
        found.add_column(name)
    for name in ("torch", "± seeds", "compiled", "other class", "bits flipped", "ms (least)",
                 "bit layers", "paper, ImageNet"):  # fmt: skip
        found.add_column(name, justify="right")
    for (dataset, m, n), same in _grouped(runs).items():
        values = [run.accuracy for run in same]
        first = same[0].found
        flips = f"{first['flipped_bits']} / {first['checked_bits'] / 1e6:.1f} M" if m else ""
        found.add_row(
            dataset,
            str(m) if m else "float",
            str(n) if m else "",
            f"{np.mean(values):.2f}",
            f"{(max(values) - min(values)) / 2:.2f} ({len(values)})",
            f"{np.mean([run.found['compiled_accuracy'] for run in same]):.2f}",
            str(sum(run.found["different"] for run in same)),
            flips,
            f"{first['min_ms']:.3f}",
            f"{first['bitserial']} of {first['layers']}",
            f"{PAPER[m, n]:.1f}" if (m, n) in PAPER else "",
        )
    return found


def write(runs: Sequence[Run], path: Path, preset: str) -> None:
    """Everything as JSON."""
    value = {
        "machine": machine_name(),
        "date": datetime.date.today().isoformat(),
        "preset": preset,
        "torch": torch.__version__,
        "paper_imagenet_top1": {f"M{m}N{n}": top1 for (m, n), top1 in PAPER.items()},
        "runs": [run.json() for run in runs],
    }
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def plot(runs: Sequence[Run], path: Path) -> None:
    """Accuracy over N with a line for each M, beside the paper's; accuracy over latency."""
    from matplotlib.figure import Figure

    groups = _grouped(runs)
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    columns = [*datasets, "paper"]
    figure = Figure(figsize=(4.2 * len(columns), 7.2), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)
    for column, name in enumerate(columns):
        cell = axes[0, column]
        if name == "paper":
            points = {key: (top1, 0.0) for key, top1 in PAPER.items()}
            cell.set_title("the paper: ResNet-18, ImageNet")
        else:
            points = {
                (m, n): (
                    float(np.mean([r.accuracy for r in same])),
                    float(np.ptp([r.accuracy for r in same])) / 2,
                )
                for (dataset, m, n), same in groups.items()
                if dataset == name
            }
            cell.set_title({"mnist": "LeNet, MNIST", "fashion": "ResNet, Fashion-MNIST"}[name])
            _front(axes[1, column], groups, name)
        for m in (1, 3, 5):
            chosen = sorted((n, *points[m, n]) for M, n in points if m == M)
            if chosen:
                ns, means, spans = zip(*chosen, strict=True)
                cell.errorbar(ns, means, spans, marker="o", capsize=3, label=f"M = {m}")
        if (0, 0) in points:
            cell.axhline(points[0, 0][0], color="black", linestyle=":", label="float")
        cell.set_xticks((1, 3, 5))
        cell.set_xlabel("N, activation bases")
        cell.set_ylabel("accuracy, %")
        cell.legend()
    axes[1, -1].axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())


def _front(cell: Any, groups: dict[tuple[str, int, int], list[Run]], name: str) -> None:
    """Accuracy over latency; networks that no other beats in both are joined."""
    points = []
    for (dataset, m, n), same in groups.items():
        if dataset == name:
            accuracy = float(np.mean([run.found["compiled_accuracy"] for run in same]))
            points.append((same[0].found["min_ms"], accuracy, f"({m},{n})" if m else "float"))
    points.sort()
    best = [p for i, p in enumerate(points) if all(q[1] < p[1] for q in points[:i])]
    cell.plot([p[0] for p in best], [p[1] for p in best], color="tab:orange", label="best of both")
    cell.scatter([p[0] for p in points], [p[1] for p in points], zorder=3)
    for x, y, label in points:
        cell.annotate(label, (x, y), xytext=(4, -10), textcoords="offset points", fontsize=8)
    cell.set_xlabel("one image, one thread, compiled: ms")
    cell.set_ylabel("accuracy of the compiled network, %")
    cell.margins(0.12)
    cell.legend()


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, int, int], list[Run]]:
    groups: dict[tuple[str, int, int], list[Run]] = {}
    for run in sorted(runs, key=lambda r: (r.dataset != "mnist", r.M, r.N, r.seed)):
        groups.setdefault((run.dataset, run.M, run.N), []).append(run)
    return groups
