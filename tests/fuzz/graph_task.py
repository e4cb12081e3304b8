"""The fuzzer of graphs: draw, judge, reduce."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx

from abc_tvm import compilation
from abc_tvm.records.records import RecordSet
from abc_tvm.targets import Device

from .case import Build, Case
from .findings import operators_of, write_case
from .graphs import TARGETS, draw
from .judge import Outcome, judge
from .reduce import reduce
from .workers import Task


def targets_here() -> tuple[str, ...]:
    """Those of ``TARGETS`` whose code this machine runs."""
    from abc_tvm.targets import load

    return tuple(name for name in TARGETS if load(name).runs_here())


def make(seed: int, out: str | None) -> Task:
    """A task that tries graph ``number``, and reduces what it finds.

    The cause of a wrong result is the set of operators of the smallest graph. Before a graph is
    tried it lies in ``out`` as ``trying-PID``, for the parent to find if the process dies.
    """
    targets = targets_here()
    _read_shipped_records_once()
    folder = Path(out) if out else None

    def task(number: int) -> Outcome:
        case = draw(seed, number, targets)
        outcome = judge(case)
        if not outcome.is_finding:
            return outcome
        smallest = reduce(case, judge, 40.0)
        final = judge(smallest)
        if not final.is_finding:
            smallest, final = case, outcome
        if final.kind == "wrong":
            final = Outcome("wrong", f"{final.cause}: {operators_of(smallest)}", final.detail)
        place = ""
        if folder is not None:
            place = f" -> {write_case(smallest, final, folder)}"
        return Outcome(final.kind, final.cause, f"{asdict(case.build)} {final.detail}{place}")

    return task


def _read_shipped_records_once() -> None:
    """Reading those of one device takes most of a second, which every graph would take."""
    read = compilation.open_records
    known: dict[str, RecordSet] = {}

    def remembered(device: Device, folder: object, tell: object) -> RecordSet:
        if device.name not in known:
            known[device.name] = read(device, None, lambda _: None)
        return known[device.name]

    compilation.open_records = remembered  # type: ignore[assignment]


def again(folder: Path) -> Iterator[tuple[str, Outcome]]:
    """Every written case, tried once more."""
    for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        case = load_case(folder, entry)
        yield entry["file"], judge(case)


def load_case(folder: Path, entry: dict[str, object]) -> Case:
    """A written case. Of a dialect its standard form."""
    path = folder / str(entry["file"])
    standard = path.with_suffix(".standard.onnx")
    with np.load(path.with_suffix(".npz")) as data:
        inputs = {name: data[name] for name in data.files}
    model = onnx.load(path)
    expansions = {}
    if standard.exists():
        # The whole standard graph stands for the first dialect node, nothing for the others.
        reference = list(onnx.load(standard).graph.node)
        own = {name for node in model.graph.node if not node.domain for name in node.output}
        rest = [node for node in reference if not own.intersection(node.output)]
        for node in model.graph.node:
            if node.domain:
                end = next(n for n, r in enumerate(rest) if node.output[0] in r.output)
                expansions[node.output[0]] = rest[: end + 1]
                rest = rest[end + 1 :]
    build = Build(**entry["build"])  # type: ignore[arg-type]
    exact = frozenset(entry["exact"])  # type: ignore[call-overload]
    return Case(str(entry["label"]), model, inputs, exact, build, expansions)
