"""What tuning finds that the default rule misses, and which search finds it sooner.

    python benchmarks/tuning.py [held-out] [network] [shipped] [order] [--trials N] [--json OUT]

``held-out``: layers of shapes that the rule was not fitted to, on this machine and on its AVX2
half. Both searches (hill-climbing by rank, and the learned cost model) get the same number of
trials and share measurements, so that an equal choice has an equal time; then the best of both and
the default are timed in turns. ``network``: tunes ABC ResNet-18 (3, 3), and times the network
compiled with records beside the one without, in turns. ``shipped``: whole networks with the records
that ship and without any, in turns. ``order``: layers of ABC ResNet-50 (1, 1) whose default is rows
of pixels first, beside the same with blocks of weights first. One thread.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ["TVM_NUM_THREADS"] = "1"

import numpy as np
from _heldout import HELD_OUT, Shape, network
from rich.console import Console
from rich.table import Table

import abc_tvm
from abc_tvm import zoo
from abc_tvm.artifact import Artifact
from abc_tvm.compilation import Compilation
from abc_tvm.measure import peaks
from abc_tvm.measure.timing import take_turns
from abc_tvm.records.manifest import Manifest
from abc_tvm.records.records import typical
from abc_tvm.schedules.choice import ORDERS, Choice
from abc_tvm.schedules.space import Space
from abc_tvm.targets import Device, load
from abc_tvm.tuning import tune
from abc_tvm.tuning.learned import Learned
from abc_tvm.tuning.measure import Bench, WrongResult, in_turns
from abc_tvm.tuning.network import tasks_of
from abc_tvm.tuning.search import next_choice
from abc_tvm.tuning.tuner import ROUNDS

TURNS = 16
SHIPPED = (("resnet18", 1, 1), ("resnet18", 3, 3), ("resnet50", 1, 1), ("resnet50", 3, 3))
RESULTS = Path(__file__).parent / "results" / "tuning.json"
Propose = Callable[[Space, Mapping[Choice, float]], Choice | None]


def held_out(shapes: list[Shape], device: Device, trials: int, console: Console) -> list[Any]:
    """One row a shape."""
    learned = Learned(0)
    best = peaks.measure(device)
    searches: dict[str, Propose] = {
        "climbing": lambda space, seen: next_choice(space, seen, 0),
        "learned": learned.next,
    }
    rows = []
    for shape in shapes:
        row = {"shape": shape.name, "target": device.name, **one(shape, device, trials, searches)}
        peak = best[tune.PEAKS[row["kind"]]]
        row["tuned_of_peak"] = row["gmacs"] / peak if peak else None
        rows.append(row)
        console.print(f"{device.name}, {shape.name}: default at {row['default_of_tuned']:.0%}")
    return rows


def one(shape: Shape, device: Device, trials: int, searches: dict[str, Propose]) -> dict[str, Any]:
    """Search, then time the default and the best in turns."""
    lowering = "bitserial" if shape.M else "auto"
    task = tasks_of(network(shape), device, lowering=lowering)[-1]
    bench, known = Bench(task, device), {}

    def measured(choice: Choice) -> float:
        if choice not in known:
            try:
                known[choice] = min(bench.build(choice).seconds(ROUNDS))
            except (WrongResult, RuntimeError, ValueError):
                known[choice] = float("inf")
        return known[choice]

    found = {}
    for name, propose in searches.items():
        seen: dict[Choice, float] = {}
        path = []
        while len(seen) < trials and (choice := propose(task.space, seen)) is not None:
            seen[choice] = measured(choice)
            path.append(min(seen.values()) * 1e6)
        found[name] = path
    default = task.default
    ranked = sorted(known, key=lambda choice: known[choice])[:3]
    finalists = list(dict.fromkeys([default, *ranked]))
    taken = in_turns([bench.build(choice) for choice in finalists], TURNS)
    times = dict(zip(finalists, taken, strict=True))
    tuned = min(times, key=lambda choice: typical(times[choice]))
    before, after = typical(times[default]), typical(times[tuned])
    return {
        "kind": task.workload.problem.kind,
        "points": sum(1 for _ in task.space.points()),
        "default_us": before * 1e6,
        "tuned_us": after * 1e6,
        "default_of_tuned": after / before,
        "gmacs": task.macs / after / 1e9,
        "default": str(default),
        "tuned": str(tuned),
        "best_us_by_trial": found,
    }


def show_held_out(rows: list[Any], trials: int, console: Console) -> None:
    marks = sorted({max(1, trials // 4), trials // 2, trials})
    table = Table(title="held-out layers")
    columns = ["target", "layer", "points", "default µs", "tuned µs", "default of tuned",
               "of peak", *(f"climb/learned µs at {n}" for n in marks), "tuned choice"]  # fmt: skip
    for name in columns:
        table.add_column(name)
    for row in rows:
        paths = row["best_us_by_trial"]
        steps = [
            "/".join(f"{path[min(n, len(path)) - 1]:.1f}" for path in paths.values()) for n in marks
        ]
        share = row["tuned_of_peak"]
        table.add_row(
            row["target"], row["shape"], str(row["points"]), f"{row['default_us']:.1f}",
            f"{row['tuned_us']:.1f}", f"{row['default_of_tuned']:.0%}",
            f"{share:.0%}" if share else "", *steps, row["tuned"],
        )  # fmt: skip
    console.print(table)
    for n in marks:
        ratios = [
            np.log(row["best_us_by_trial"]["climbing"][min(n, len(c)) - 1])
            - np.log(row["best_us_by_trial"]["learned"][min(n, len(d)) - 1])
            for row in rows
            for c, d in [(row["best_us_by_trial"]["climbing"], row["best_us_by_trial"]["learned"])]
        ]
        gain = float(np.exp(np.mean(ratios)))
        wins = sum(r > 0.005 for r in ratios), sum(r < -0.005 for r in ratios)
        console.print(
            f"after {n} trials: climbing takes {gain:.3f}x the time of learned (geometric mean); "
            f"learned is ahead on {wins[0]} layers, climbing on {wins[1]}, of {len(rows)}"
        )


def resnet(device: Device, trials: int, console: Console) -> dict[str, Any]:
    """Tune ABC ResNet-18 (3, 3), compile it with and without records, and time both in turns."""
    model = zoo.build("resnet18", 3, 3, batch=1)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"trials": trials, "seconds": None, "seed": 0, "threads": 1, "batch": None,
                    "lowering": "auto"}  # fmt: skip
        begun = time.monotonic()
        with tune.tuner(model, device, folder, settings, tell=console.print) as tuner:
            tuner.run()
        seconds = time.monotonic() - begun
        artifacts = {
            "default": without_records(model, device),
            "tuned": abc_tvm.compile(model, device, records=folder),
        }
        sessions = {}
        for name, artifact in artifacts.items():
            path = Path(folder, f"{name}.so")
            artifact.save(path)
            sessions[name] = abc_tvm.load(path, threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    times = take_turns(
        {name: lambda s=s: s.run({"input": x}) for name, s in sessions.items()}, repeat=30
    )
    layers = [
        {
            "layer": row.task.name,
            "times": row.task.count,
            "kind": row.task.workload.problem.kind,
            "default_us": row.before * 1e6 if row.before else None,
            "tuned_us": row.after * 1e6 if row.after else None,
            "of_peak": tuner.share(row),
            "choice": str(row.winner),
        }
        for row in tuner.rows
    ]
    return {
        "tune_seconds": seconds,
        "measured": tuner.measured,
        "default_ms": times["default"].min_ms,
        "tuned_ms": times["tuned"].min_ms,
        "gain": times["default"].min_ms / times["tuned"].min_ms,
        "lowerings": tuner.lowerings(),
        "layers": layers,
    }


def shipped(device: Device, console: Console) -> list[dict[str, Any]]:
    """Networks with the records that ship and without any, in turns."""
    rows = []
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    for name, m, n in SHIPPED:
        model = zoo.build(name, m, n, batch=1)
        made = {"default": without_records(model, device), "tuned": abc_tvm.compile(model, device)}
        sessions = {}
        with tempfile.TemporaryDirectory() as folder:
            for kind, artifact in made.items():
                path = Path(folder, f"{kind}.so")
                artifact.save(path)
                sessions[kind] = abc_tvm.load(path, threads=1)
        times = take_turns(
            {kind: lambda s=s: s.run({"input": x}) for kind, s in sessions.items()}, repeat=30
        )
        row: dict[str, Any] = {"network": f"{name} ({m},{n})"}
        for kind, taken in times.items():
            row |= {f"{kind}_ms": taken.min_ms, f"{kind}_median_ms": taken.median_ms}
        rows.append(row)
        console.print(f"{row['network']}: {row['default_ms']:.2f} ms, tuned {row['tuned_ms']:.2f}")
    return rows


def orders(device: Device, console: Console) -> list[dict[str, Any]]:
    """Layers whose default order is rows of pixels, beside the same with weights first."""
    rows = []
    for task in tasks_of(zoo.build("resnet50", 1, 1, batch=1), device):
        if task.workload.problem.kind != "bitserial" or task.default.order != "pixels":
            continue
        bench = Bench(task, device)
        both = [bench.build(replace(task.default, order=order)) for order in ORDERS]
        times = [typical(taken) * 1e6 for taken in in_turns(both, TURNS)]
        rows.append(
            {"layer": task.name, **{f"{o}_us": t for o, t in zip(ORDERS, times, strict=True)}}
        )
        console.print(f"{task.name}: {times[0]:.1f} us weights first, {times[1]:.1f} pixels first")
    return rows


def without_records(model: Any, device: Device) -> Artifact:
    """Compiled with default schedules: not even records that ship."""
    return Compilation(model, device).artifact()


def show_network(facts: dict[str, Any], console: Console) -> None:
    table = Table(title="ABC ResNet-18 (3, 3)")
    for name in ("layer", "times", "kind", "default µs", "tuned µs", "of peak", "choice"):
        table.add_column(name)
    for row in facts["layers"]:
        cells = [row["default_us"], row["tuned_us"]]
        table.add_row(
            row["layer"], str(row["times"]), row["kind"],
            *("" if cell is None else f"{cell:.1f}" for cell in cells),
            f"{row['of_peak']:.0%}" if row["of_peak"] else "", row["choice"],
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{facts['measured']} choices in {facts['tune_seconds']:.0f} s; default "
        f"{facts['default_ms']:.2f} ms, tuned {facts['tuned_ms']:.2f} ms: {facts['gain']:.3f}x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["held-out", "network"])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--target", action="append", help="held-out: native, haswell (both)")
    parser.add_argument("--layer", action="append", help="held-out: only layers of this name")
    parser.add_argument("--json", type=Path, default=RESULTS, help="figures are added to this file")
    arguments = parser.parse_args()
    console = Console(stderr=True, width=200)
    facts: dict[str, Any] = {}
    if arguments.json.exists():
        facts = json.loads(arguments.json.read_text())
    facts |= {
        "machine": Manifest.here(load("native")).machine,
        "cpu": load("native").cpu,
        "date": datetime.date.today().isoformat(),
        "versions": {name: metadata.version(name) for name in ("abc-tvm", "apache-tvm", "numpy")},
        "threads": 1,
        "trials": arguments.trials,
    }
    if "held-out" in arguments.what:
        rows = []
        shapes = [s for s in HELD_OUT if not arguments.layer or s.name in arguments.layer]
        for name in arguments.target or ["native", "haswell"]:
            device = load(name)
            if device.runs_here():
                rows += held_out(shapes, device, arguments.trials, console)
        fresh = {(row["target"], row["shape"]) for row in rows}
        old = [r for r in facts.get("held_out", []) if (r["target"], r["shape"]) not in fresh]
        facts["held_out"] = old + rows
        show_held_out(facts["held_out"], arguments.trials, console)
    if "network" in arguments.what:
        facts["resnet18_3_3"] = resnet(load("native"), arguments.trials, console)
        show_network(facts["resnet18_3_3"], console)
    if "shipped" in arguments.what:
        facts["shipped"] = shipped(load("native"), console)
    if "order" in arguments.what:
        facts["order"] = orders(load("native"), console)
    arguments.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
