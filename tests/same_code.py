"""Whether a change of the sources leaves every kernel as it was, without machine code.

    .venv/bin/python -m tests.same_code --write FILE      # on the tree before
    .venv/bin/python -m tests.same_code --compare FILE    # on the tree after

Small networks go through all passes for every shipped target, in every lowering; what is kept of
each is a structural hash of ``main`` (its constants included) and of every scheduled PrimFunc, the
report's rows and how many kernels a tuning record was found for. Of the distinct kernels the search
space is kept too: its default, every point, what the cost model sees of them, and the hash of
a few points' kernels. ``--targets``, ``--networks`` and ``--lowerings`` take a part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tvm_ffi
from tvm import relax, tirx

from abc_tvm import pretrained, zoo
from abc_tvm.compilation import Compilation
from abc_tvm.records.task import Task
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.relay_passes.rewrite import constant
from abc_tvm.targets import Device, load, names
from abc_tvm.tuning.network import Network
from tests.abc_tvm.small_networks import chain, network

NETWORKS: dict[str, Callable[[], Any]] = {
    "small": network,
    "small-real": lambda: network(binary=False),
    "chain": lambda: chain(33, 64, 40),
    "lenet-1-1": lambda: zoo.build("lenet", 1, 1),
    "lenet-3-3": lambda: zoo.build("lenet", 3, 3),
    "lenet-2-2-grid": lambda: zoo.build("lenet", 2, 2, grid=True, batch=1),
    "lenet-mnist": lambda: str(pretrained.path("lenet-mnist")),
    "resnet-fashion": lambda: str(pretrained.path("resnet-fashion")),
    "resnet18-1-1": lambda: zoo.build("resnet18", 1, 1, batch=1),
}
LARGE = {"resnet18-1-1": ("zen5", "haswell", "emeraldrapids")}
"""Networks for some targets alone: those of the records that ship."""

LOWERINGS = ("auto", "bitserial", "int8", "float")
POINTS = 3
"""Points of a search space, beside the default, whose kernels are made."""


def devices() -> dict[str, Device]:
    """The shipped targets, and the machine of the shipped records that is none of them."""
    features = ("-amx-bf16", "-amx-int8", "-amx-tile")
    emerald = replace(load("sapphirerapids"), cpu="emeraldrapids", features=features)
    return {**{name: load(name) for name in names()}, "emeraldrapids": emerald}


RENAMED = {
    "kernel_pool_bitserial": "kernel_pool_bits",
    "pool_bitserial": "pool_bits",
    "pool_int8": "pool_codes",
    " as int8,": " as bytes,",
    "int8 would take": "bytes would take",
    "but rounding to it may": "but rounding to them may",
    "bitserial ": "bits ",
}
"""What names and reports said otherwise before: new to old, so that a file of before serves."""


def in_old_words(text: str) -> str:
    for new, old in RENAMED.items():
        text = text.replace(new, old)
    return text


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def kernels_of(module: Any) -> dict[str, str]:
    """A hash of each function of a lowered module, constants included."""
    found = {}
    for gvar, function in module.functions_items():
        value = str(tvm_ffi.structural_hash(function))
        if not isinstance(function, tirx.PrimFunc):  # whose hash depends on the process
            constants: list[Any] = []
            relax.analysis.post_order_visit(function, partial(_constant, constants))
            value = digest((in_old_words(function.script(show_meta=False)), constants))
        found[in_old_words(str(gvar.name_hint))] = value
    return found


def _constant(found: list[Any], node: Any) -> None:
    array = constant(node)
    if array is not None:
        found.append((str(array.dtype), array.shape, digest(array.tobytes())))


def space_of(task: Task, device: Device) -> dict[str, str]:
    """What may be chosen for one kernel, and what a few choices make of it."""
    points = list(task.space.points())
    found = {
        "default": str(task.default.words()),
        "points": digest([point.words() for point in points]),
        "near": digest([point.words() for point in task.space.neighbours(task.default)]),
        "first": digest([point.words() for point in task.space.first(5)]),
        "workload": task.key,
    }
    if device.gpu is None:
        found["features"] = digest(task.space.features(points).tobytes())
    step = max(1, len(points) // POINTS)
    for point in [task.default, *points[step // 2 :: step]]:
        made = task.workload.lowered(device, point)
        constants = [digest((a.dtype, a.shape, a.tobytes())) for a in made.constants]
        found[str(point)] = digest((tvm_ffi.structural_hash(made.func), constants))
    return found


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """One network on one target in one lowering, and what becomes of it."""
    known = devices()
    for name in arguments.networks or NETWORKS:
        model = NETWORKS[name]()
        for target in arguments.targets or known:
            if target not in LARGE.get(name, known):
                continue
            device = known[target]
            for lowering in arguments.lowerings or LOWERINGS:
                if name in LARGE and lowering not in ("auto", "bitserial"):
                    continue
                allowed = 0.5 if lowering == "int8" else None
                whole = Compilation(
                    model, device, lowering=lowering, allow_int8=allowed, check=False, tuned=True
                )
                found: dict[str, Any] = kernels_of(whole.until(Phase.LOWERED))
                rows = [layer.row() for layer in whole.context.layers.values()]
                for row in rows:
                    row["reason"] = in_old_words(row["reason"])
                found["rows"] = digest(rows)
                found["records used"] = 0 if whole.records is None else whole.records.used
                yield f"{name} {target} {lowering}", found
            if name in LARGE:
                continue
            for lowering in ("bitserial", "int8", "float"):
                tuned = Network(model, device, allow_int8=0.5, lowering=lowering, threads=2)
                for task in tuned.tasks() if lowering != "float" else float_tasks(model, device):
                    yield f"{name} {target} {lowering} space {task.name}", space_of(task, device)


def float_tasks(model: Any, device: Device) -> list[Task]:
    return Network(model, device, lowering="float", threads=1).tasks()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE")
    for name in ("networks", "targets", "lowerings"):
        parser.add_argument(f"--{name}", nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.monotonic()
    known = json.loads(arguments.compare.read_text()) if arguments.compare else {}
    made: dict[str, dict[str, Any]] = {}
    equal = total = used = 0
    for case, found in cases(arguments):
        made[case] = found
        total += len(found)
        used += int(found.get("records used", 0))
        if arguments.compare:
            before = known.get(case, {})
            apart = [key for key in {**before, **found} if before.get(key) != found.get(key)]
            equal += sum(before.get(key) == value for key, value in found.items())
            for key in apart[:3]:
                print(f"{case}: {key}: {before.get(key)} is now {found.get(key)}")
    if arguments.write:
        arguments.write.write_text(json.dumps(made, indent=0, sort_keys=True))
    seconds = time.monotonic() - started
    print(f"{len(made)} cases, {total} values, {used} kernels with a record, {seconds:.0f} s")
    if arguments.compare:
        print(f"{equal} of {total} are equal")
    return 0 if not arguments.compare or equal == total else 1


if __name__ == "__main__":
    sys.exit(main())
