"""Damaged models: one line and exit 2, or what onnxruntime computes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

import abc_tvm
from abc_tvm.errors import UserError
from abc_tvm.runtime.container import Port, read_info
from abc_tvm.zoo import build

from .command_line import Judged, command, limit_addresses
from .graphs import draw
from .judge import Outcome, difference, reference
from .mutations import damage_bytes, damage_model
from .onnx_node import RejectedError
from .values import Array
from .workers import Task

BATCH = 2
"""Extent of an open dimension."""

MOST = 1 << 22
"""Elements of an input that is still filled."""


def make(seed: int, out: str | None) -> Task:
    """A task that damages a model in one way, and compiles and runs it."""
    limit_addresses()
    whole = build("lenet", 2, 2)

    def task(number: int) -> Outcome:
        rng = np.random.default_rng([seed, number, 16])
        model = whole if rng.random() < 0.05 else draw(seed, number // 4).model
        if rng.random() < 0.35:
            data = damage_bytes(rng, model.SerializeToString())
        else:
            data = damage_model(rng, model)
        with tempfile.TemporaryDirectory(prefix="abc-fuzz-") as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(data)
            outcome = _try(path, rng)
            if outcome.is_finding and out is not None:
                kept = Path(out, f"corrupt_{seed}_{number}.onnx")
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)
            return outcome

    return task


def _try(path: Path, rng: np.random.Generator) -> Outcome:
    library = path.with_suffix(".so")
    try:
        command("compile", str(path), "-t", "native", "-o", str(library))
        info = read_info(library)
        inputs = {port.name: _fill(port, rng) for port in info.inputs}
        if any(a.size > MOST for a in inputs.values()):
            return Outcome("right", detail="inputs too large to run")
        np.savez(path.with_suffix(".npz"), **_renamed(inputs))
        got = abc_tvm.load(library, threads=1).run(inputs)
    except Judged as judged:
        return judged.outcome
    except UserError as error:
        return Outcome("refused", "when run", str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  every other exception is a finding
        return Outcome("error", f"run: {type(error).__name__}", " ".join(str(error).split())[:300])
    return _compare(path, inputs, got)


def _renamed(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {f"x{n}": array for n, array in enumerate(inputs.values())}


def _fill(port: Port, rng: np.random.Generator) -> Array:
    shape = [extent if isinstance(extent, int) else BATCH for extent in port.shape]
    if int(np.prod(shape, dtype=np.float64)) > MOST:
        return np.zeros(MOST + 1, np.int8)
    drawn = rng.integers(0 if port.dtype.startswith(("u", "b")) else -4, 5, shape)
    return (drawn > 0) if port.dtype == "bool" else drawn.astype(port.dtype)


def _compare(path: Path, inputs: dict[str, Array], got: Mapping[str, Array]) -> Outcome:
    """With onnxruntime, where that takes the file and its values do not hang on rounding."""
    try:
        model = onnx.load(path)
        wanted = reference(model, inputs)
        moved = {
            name: a * (1 + 2e-6 * np.sign(a)).astype(a.dtype) if a.dtype.kind == "f" else a
            for name, a in inputs.items()
        }
        again = reference(model, moved)
    except (RejectedError, OSError, ValueError) as error:
        return Outcome("right", detail=f"no judge: {error}")
    for name, right in wanted.items():
        if name not in got:
            return Outcome("wrong", "an output is missing", name)
        if right.dtype.kind == "f" and not np.isfinite(right).all():
            continue
        if got[name].shape != right.shape or got[name].dtype != right.dtype:
            return Outcome("wrong", "shape or dtype", f"{got[name].shape} for {right.shape}")
        fault = difference(got[name], right, exact=False)
        if fault and not difference(again[name], right, exact=False):
            return Outcome("wrong", "values", f"{name}: {fault}")
    return Outcome("right")
