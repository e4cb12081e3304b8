"""Accuracy over M and N: float networks, then ABC networks that begin from their weights.

    python benchmarks/accuracy.py [--preset smoke|cpu|long|gpu] [--datasets mnist,fashion]
                                  [--seeds 3] [--work DIR] [--data DIR] [--json OUT.json]
                                  [--plot OUT.png]

A LeNet on MNIST and a residual network on Fashion-MNIST, each in float and with every (M, N) in
{1, 3, 5}², on the full training and test sets (``_accuracy_data.py`` fetches them). Each network
is exported to ONNX, compiled, and run over the whole test set: the table and the plots show the
compiled network's accuracy and its latency, beside torch's. Every epoch leaves a checkpoint in
the work folder; the same command goes on where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from _accuracy_data import load
from _accuracy_networks import NETWORKS
from _accuracy_report import Run, evaluate, plot, table, write
from _accuracy_train import Settings, accuracy, is_finished, predict, train
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from abc_tvm.errors import UserError
from abc_tvm.nn import binarize

BASES = (1, 3, 5)
PRESETS = {
    "smoke": {"mnist": (1, 1), "fashion": (1, 1)},
    "cpu": {"mnist": (4, 2), "fashion": (6, 3)},
    "long": {"mnist": (6, 5), "fashion": (9, 6)},
    "gpu": {"mnist": (30, 40), "fashion": (60, 80)},
}
"""Epochs of the float network and of each ABC network. On two cores ``cpu`` takes about
twenty minutes, ``long`` three quarters of an hour; ``gpu`` is meant for a GPU."""

AUGMENT: dict[str, dict[str, Any]] = {"mnist": {"shift": 1}, "fashion": {"flip": True}}
RATE = 2e-3


def main() -> int:
    """Train what is missing, evaluate, show and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="how long to train")
    parser.add_argument("--datasets", default="mnist,fashion", help="names, with commas")
    parser.add_argument("--seeds", type=int, default=1, help="repeats of every ABC network")
    parser.add_argument("--work", type=Path, default=Path("accuracy"), help="checkpoints, networks")
    parser.add_argument("--data", type=Path, default=Path("accuracy/data"), help="data sets")
    parser.add_argument("--bases", default="", help="only these pairs, as 1x1,3x3")
    parser.add_argument("--trained", action="store_true", help="only what is trained already")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--plot", type=Path, help="draw accuracy over M, N and over latency")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    torch.set_num_threads(arguments.threads)
    device = "cuda" if arguments.preset == "gpu" and torch.cuda.is_available() else "cpu"
    work = arguments.work / arguments.preset
    work.mkdir(parents=True, exist_ok=True)
    names = arguments.datasets.split(",")
    data = {name: load(name, arguments.data) for name in names}
    pairs = [(m, n) for m in BASES for n in BASES]
    if arguments.bases:
        pairs = [(int(p[0]), int(p[2])) for p in arguments.bases.split(",")]
    runs: list[Run] = []
    with _progress(console) as progress:
        for seed in range(arguments.seeds):
            for name in names:
                place = (arguments.preset, work, device, arguments.trained)
                runs += _train_all(name, data[name], seed, pairs, *place, progress)
        bar = progress.add_task("export, compile, test", total=len(runs), note="")
        for run in runs:
            progress.update(bar, note=run.label)
            evaluate(run, data[run.dataset]["test"], work)
            progress.advance(bar)
    Console(stderr=True, width=console.width if console.is_terminal else 150).print(table(runs))
    if arguments.json is not None:
        write(runs, arguments.json, arguments.preset)
    if arguments.plot is not None:
        plot(runs, arguments.plot)
    return 0


def _train_all(
    name: str,
    data: dict[str, Any],
    seed: int,
    pairs: list[tuple[int, int]],
    preset: str,
    work: Path,
    device: str,
    only_trained: bool,
    progress: Progress,
) -> list[Run]:
    """The float network of this seed, and the ABC networks that begin from it."""
    epochs = PRESETS[preset][name]
    plain = NETWORKS[name]()
    runs = []
    for m, n in [(0, 0), *pairs]:
        label = f"{name}-float-{seed}" if m == 0 else f"{name}-M{m}N{n}-{seed}"
        torch.manual_seed(seed)
        if m == 0:
            network = plain = NETWORKS[name]()
        else:
            network = binarize(plain.cpu(), m, n, verbose=False)
        settings = Settings(epochs[m > 0], RATE, **AUGMENT[name])
        if only_trained and not is_finished(work / f"{label}.pt", settings):
            continue
        bar = progress.add_task(label, total=None, note="")

        def tell(done: int, total: int, note: str, bar: Any = bar) -> None:
            progress.update(bar, completed=done, total=total, note=note)

        outcome = train(network, data, settings, seed, work / f"{label}.pt", tell, device)
        progress.remove_task(bar)
        network.cpu()
        classes = predict(network, data["test"])
        found = accuracy(classes, data["test"])
        progress.console.print(f"{label}: {found:.2f} %, {outcome.seconds:.0f} s", highlight=False)
        runs.append(Run(name, m, n, seed, label, network, classes, found, outcome.seconds))
    return runs


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
    )


if __name__ == "__main__":
    try:
        code = main()
    except UserError as error:
        Console(stderr=True).print(f"accuracy.py: error: {error}", soft_wrap=True)
        code = 2
    except KeyboardInterrupt:
        Console(stderr=True).print("accuracy.py: interrupted; the same command goes on from here")
        code = 130
    sys.exit(code)
