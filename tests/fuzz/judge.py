"""Compile a case, run it, and compare with onnxruntime, whose graph optimisations are off."""

from __future__ import annotations

import re
import subprocess
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import abc_tvm
from abc_tvm.errors import (
    CompilerFault,
    MissingDependencyError,
    SecondOpinionError,
    UserError,
)
from abc_tvm.targets import Device
from abc_tvm.targets import load as load_target

from .case import Case
from .onnx_node import CONTRACTIONS, RejectedError, execute, session
from .run_c import as_wanted, run_c
from .values import Array

TOLERANCE = 1e-4
"""Of the largest value of an output, where its arithmetic is not exact."""

ROUNDING = 2.0**-20
"""Of the largest value that a sum of an output was made of."""

LINEAR = CONTRACTIONS | {
    "Add", "Sub", "Sum", "Mean", "Mul", "Div", "Neg", "ReduceSum", "ReduceMean", "AveragePool",
    "GlobalAveragePool", "Identity", "Reshape", "Flatten", "Transpose", "Concat", "Slice", "Pad",
    "Squeeze", "Unsqueeze", "BatchNormalization",
}  # fmt: skip

_OURS = ("abc_tvm/", "relay_passes/", "schedules/", "targets/")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """``kind``: right, refused, wrong, error (an internal one, be it told as a refusal), opinion
    (the second opinion disagrees), crash, hang, or invalid (no case at all).

    ``cause`` groups like with like; ``detail`` is for people.
    """

    kind: str
    cause: str = ""
    detail: str = ""

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("right", "refused", "invalid")


class Unoptimised(Device):
    """A device whose code LLVM does not optimise: the same passes and loops, built three times
    as fast."""

    def host_target(self) -> Any:
        import tvm

        whole = super().host_target()
        options = {key: _plain(value) for key, value in dict(whole.attrs).items()}
        named = {"kind": whole.kind.name, "num-cores": self.cores, "opt-level": 0}
        return tvm.target.Target({**options, **named})


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else [str(v) for v in value]


@cache
def device(name: str, optimise: bool) -> Device:
    found = load_target(name)
    if optimise:
        return found
    return Unoptimised(**{f.name: getattr(found, f.name) for f in fields(found)})


def expected(case: Case) -> dict[str, Array]:
    """What onnxruntime computes. Raises ``RejectedError`` where it does not run the model."""
    model = case.standard
    return reference(model, case.inputs)


def reference(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    values = execute(session(model), dict(inputs))
    names = [output.name for output in model.graph.output]
    return dict(zip(names, values, strict=True))


def judge(case: Case) -> Outcome:
    """The verdict on one case; the process may die of it."""
    try:
        wanted = expected(case)
    except RejectedError as error:
        return Outcome("invalid", "onnxruntime refuses it", str(error))
    if not all(np.isfinite(a).all() for a in wanted.values() if a.dtype.kind == "f"):
        return Outcome("invalid", "not finite")
    try:
        got = compiled(case, wanted)
    except UserError as error:
        return refusal(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  every other exception is a finding
        return internal(error)
    found = compare(got, wanted, case.exact)
    if found.cause == "values":
        return compare(got, wanted, case.exact, rounding(case.standard, case.inputs))
    return found


def compiled(case: Case, wanted: Mapping[str, Array]) -> dict[str, Array]:
    """What the compiled network computes; ``wanted`` knows the outputs' names."""
    build = case.build
    target = device(build.target, build.optimise)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="abc-fuzz-") as folder:
        warnings.simplefilter("ignore")
        if build.form == "c":
            form = abc_tvm.compile_c(case.model, target, name="net", lowering=build.lowering)
            order = [case.inputs[value.name] for value in case.model.graph.input]
            cross = target.triple.startswith("aarch64")
            return as_wanted(run_c(form, Path(folder), order, list(wanted), cross), wanted)
        artifact = abc_tvm.compile(case.model, target, lowering=build.lowering)
        path = Path(folder, "network.so")
        artifact.save(path)
        return dict(abc_tvm.load(path, threads=1).run(dict(case.inputs)))


def rounding(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, float]:
    """What rounding alone may change of each output: sums that cancel are smaller than their parts.

    From an output back through linear operators to the first tensors that are none of theirs: a
    few units in the last place of the largest float32 on that way.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    behind: dict[str, list[str]] = {}
    for output in model.graph.output:
        todo, found = [output.name], dict.fromkeys([output.name])
        while todo:
            node = made.get(todo.pop())
            if node is None or node.op_type not in LINEAR:
                continue
            for name in node.input:
                if name in made and name not in found:
                    found[name] = None
                    todo.append(name)
        behind[output.name] = list(found)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {
        name: _row_sum(made[name], stored)
        for found in behind.values()
        for name in found
        if name in made and made[name].op_type in CONTRACTIONS
    }
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    parts = [*(n for found in behind.values() for n in found), *(made[n].input[0] for n in sizes)]
    given = {value.name for value in model.graph.input} | set(stored)
    names = dict.fromkeys(name for name in parts if name not in known and name not in given)
    widened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    largest = {
        name: float(np.abs(a).max(initial=0)) if a.dtype.kind == "f" else 0.0
        for name, a in reference(widened, inputs).items()
    }
    largest |= {name: float(np.abs(a).max(initial=0)) for name, a in inputs.items()}
    for name, size in sizes.items():
        # Levels of both signs make a sum of zeros, too: at least as large as those of Sign.
        read = max(1.0, largest.get(made[name].input[0], 0.0))
        largest[name] = max(largest[name], size * read)
    return {name: ROUNDING * max(largest[n] for n in found) for name, found in behind.items()}


def _row_sum(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> float:
    """The largest sum of sizes of the weights of one output; 0 where they are no constant."""
    if len(node.input) < 2 or node.input[1] not in stored:
        return 0.0
    weight = np.abs(onnx.numpy_helper.to_array(stored[node.input[1]]).astype(np.float64))
    return max(float(weight.sum(a).max(initial=0)) for a in (tuple(range(1, weight.ndim)), 0))


def compare(
    got: Mapping[str, Array],
    wanted: Mapping[str, Array],
    exact: frozenset[str],
    rounding: Mapping[str, float] | None = None,
) -> Outcome:
    """Shapes, types and values of all outputs."""
    if list(got) != list(wanted):
        return Outcome("wrong", "names of the outputs", f"{list(got)} for {list(wanted)}")
    for name, right in wanted.items():
        array = got[name]
        if array.shape != right.shape:
            return Outcome("wrong", "shape", f"{name}: {array.shape} for {right.shape}")
        if array.dtype != right.dtype:
            return Outcome("wrong", "dtype", f"{name}: {array.dtype} for {right.dtype}")
        fault = difference(array, right, name in exact, (rounding or {}).get(name, 0.0))
        if fault:
            return Outcome("wrong", "values", f"{name}: {fault}")
    return Outcome("right")


def difference(array: Array, right: Array, exact: bool, rounding: float = 0.0) -> str:
    """What differs, or nothing."""
    a, b = np.atleast_1d(array.astype(np.float64)), np.atleast_1d(right.astype(np.float64))
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    distance[np.isnan(distance)] = np.inf
    largest = float(np.max(np.abs(b), initial=0.0))
    share = 2e-2 if right.dtype == np.float16 else TOLERANCE
    allowed = 0.0 if exact or right.dtype.kind != "f" else max(share * largest, rounding)
    bad = int(np.count_nonzero(distance > allowed))
    if not bad:
        return ""
    place = np.unravel_index(int(np.argmax(distance)), distance.shape)
    at = [int(n) for n in place]
    return f"{bad} of {a.size} differ, most at {at}: {a[place]!r} for {b[place]!r}"


def refusal(error: UserError) -> Outcome:
    """A refusal, or a finding where its message is not one line."""
    message = str(error)
    if isinstance(error, CompilerFault) and error.__cause__ is not None:
        return internal(error.__cause__)
    if isinstance(error, SecondOpinionError):
        return Outcome("opinion", reason(message), message)
    if isinstance(error, MissingDependencyError):
        return Outcome("error", reason(message), message)
    if not message or not message.isprintable():
        return Outcome("error", f"message of {type(error).__name__} is not one line", repr(message))
    return Outcome("refused", reason(message), message)


def reason(message: str) -> str:
    """A message without names and numbers, so that like reasons count as one."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "…", message)
    text = re.sub(r"\S*/\S+", "…", text)
    text = re.sub(r"\[[^]]*\]|\([^)]*\)", "…", text)
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", text)[:160]


def internal(error: BaseException) -> Outcome:
    """An exception that no user should see, with the last line of ours that it passed."""
    if isinstance(error, subprocess.TimeoutExpired):
        return Outcome("hang", "a child process", str(error)[:300])
    frames = traceback.extract_tb(error.__traceback__)
    names = [f.filename.removeprefix(f"{REPOSITORY}/") for f in frames]
    ours = [n for n, name in enumerate(names) if name.startswith(_OURS)]
    where = f"{names[ours[-1]]}:{frames[ours[-1]].lineno}" if ours else "outside"
    text = " ".join(str(error).split())
    return Outcome("error", f"{type(error).__name__} at {where}", text[-400:])
