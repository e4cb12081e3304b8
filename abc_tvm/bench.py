"""Time a compiled network beside other engines, in turns, in one process.

Against whom. An ABC network spells every convolution out as M·N convolutions, which no other
engine joins again, so timing that graph there flatters this compiler: ``straw_man`` in the result
says so. The honest opponent is a float network of the same architecture: pass it as
``float_model``, and the other engines run that instead.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from abc_tvm import frontend, stages
from abc_tvm.api import compile as compile_network
from abc_tvm.artifact import Artifact
from abc_tvm.errors import UserError
from abc_tvm.int8_twin import quantise
from abc_tvm.onnx_engine import OnnxEngine, random_inputs
from abc_tvm.report import Report
from abc_tvm.runtime import Session, load
from abc_tvm.stages import Model, Progress, Source
from abc_tvm.targets import Device
from abc_tvm.timing import Times, pinned, take_turns

OURS = "abc-tvm"
OPPONENTS = ("tvm-float", "onnxruntime", "onnxruntime-int8")


@dataclass(frozen=True)
class Result:
    """Times of one engine; ``network`` is ``"model"`` or ``"float model"``."""

    engine: str
    network: str
    times: Times


@dataclass(frozen=True)
class Comparison:
    """Outcome of :func:`bench`; ``device`` is the address of the one that it ran on, if remote."""

    results: tuple[Result, ...]
    threads: int
    processors: tuple[int, ...]
    shapes: dict[str, list[int]]
    straw_man: bool
    report: Report
    device: str | None = None

    @property
    def speedup(self) -> dict[str, float]:
        """Median time of each opponent over ours."""
        ours = self.results[0].times.median_ms
        return {r.engine: r.times.median_ms / ours for r in self.results[1:]}

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm bench --json`` prints."""
        return {
            "results": [
                {
                    "engine": r.engine,
                    "network": r.network,
                    "median_ms": r.times.median_ms,
                    "min_ms": r.times.min_ms,
                    "repeat": r.times.repeat,
                }
                for r in self.results
            ],
            "speedup": self.speedup,
            "threads": self.threads,
            "processors": list(self.processors),
            "inputs": self.shapes,
            "straw_man": self.straw_man,
            "bitserial_layers": sum(row.lowering == "bitserial" for row in self.report),
            "int8_layers": sum(row.lowering == "int8" for row in self.report),
            "target": self.report.target,
            "machine": machine_name() if self.device is None else self.device,
            "device": self.device,
            "versions": _versions(),
        }


def bench(
    model: Model,
    target: str | Device = "native",
    *,
    against: Sequence[str] = ("onnxruntime",),
    float_model: Model | None = None,
    batch: int = 1,
    threads: int = 1,
    repeat: int = 20,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compile a network and time it beside other engines.

    Args:
        model: Path of an ONNX file, or an ``onnx.ModelProto``.
        target: A device whose code runs on this machine.
        against: Names from ``OPPONENTS``. ``tvm-float`` is this compiler with every layer left
            in float; ``onnxruntime`` has all its graph optimisations on; ``onnxruntime-int8``
            runs a statically quantised form.
        float_model: What the opponents run instead of ``model``; its inputs must be the same.
        batch: Images of one run, where the model leaves the batch open.
        threads: Of every engine; the process is confined to as many processors.
        repeat: Measurements of each engine.
        lowering: As for ``abc_tvm.compile``.
        allow_int8: As for ``abc_tvm.compile``.
        progress: Called with the name of each stage as it begins.

    Raises:
        UserError: An unknown engine, or whatever compiling and running raise.
    """
    tell = progress or (lambda _: None)
    for name in against:
        if name not in OPPONENTS:
            raise UserError(f"against: unknown engine {name!r}; choose from {', '.join(OPPONENTS)}")
    available = len(os.sched_getaffinity(0))
    if not 1 <= threads <= available:
        raise UserError(f"threads: {threads} is not possible here; give 1 to {available}")
    source = stages.checked_source(model)
    opponent = source if float_model is None else stages.checked_source(float_model)
    network = "model" if float_model is None else "float model"
    standard = frontend.standard_onnx(opponent) if _any_onnx(against) else None
    fixed = fixed_batch(source, batch)
    artifact = compile_network(
        source, target, batch=fixed, lowering=lowering, allow_int8=allow_int8, progress=tell
    )
    arrays = random_inputs(artifact.info.inputs, batch)
    if standard is not None:
        set_batch(standard, batch)
    with pinned(threads) as processors, tempfile.TemporaryDirectory(prefix="abc-tvm-") as folder:
        ours = open_session(artifact, Path(folder, "network.so"), threads)
        calls: dict[str, Callable[[], object]] = {OURS: lambda: ours.run(arrays)}
        for name in against:
            tell(name)
            calls[name] = _call(
                name, opponent, standard, target, arrays, threads, Path(folder), batch
            )
        tell("measure")
        times = take_turns(calls, repeat)
    return Comparison(
        results=tuple(
            Result(name, "model" if name == OURS else network, t) for name, t in times.items()
        ),
        threads=threads,
        processors=processors,
        shapes={name: list(array.shape) for name, array in arrays.items()},
        straw_man=float_model is None and _any_onnx(against) and _spelled_out(artifact.report),
        report=artifact.report,
    )


def _any_onnx(against: Sequence[str]) -> bool:
    return any(name.startswith("onnxruntime") for name in against)


def _spelled_out(report: Report) -> bool:
    return any((layer.M or 1) * (layer.N or 1) > 1 for layer in report.binarized)


def _call(
    name: str,
    opponent: Source,
    standard: onnx.ModelProto | None,
    target: str | Device,
    arrays: dict[str, np.ndarray],
    threads: int,
    folder: Path,
    batch: int,
) -> Callable[[], object]:
    """What one run of an opponent is."""
    if name == "tvm-float":
        artifact = compile_network(
            opponent, target, batch=fixed_batch(opponent, batch), lowering="float"
        )
        session = open_session(artifact, folder / "float.so", threads)
        return lambda: session.run(arrays)
    if standard is None:
        raise UserError(f"against: {name} has no model to run")
    network = quantise(standard, arrays) if name == "onnxruntime-int8" else standard
    engine = OnnxEngine(network, threads=threads)
    return lambda: engine.run(arrays)


def open_session(artifact: Artifact, path: Path, threads: int) -> Session:
    """Save an artifact and load it, as a user would."""
    artifact.save(path)
    return load(path, threads)


def fixed_batch(model: Source, batch: int) -> int | None:
    """``batch`` where a model leaves the batch open, ``None`` where it fixes it."""
    source = model if isinstance(model, onnx.ModelProto) else frontend.load_onnx(model)
    parameters = {tensor.name for tensor in source.graph.initializer}
    for value in source.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in parameters and dims and dims[0].dim_value <= 0:
            return batch
    return None


def set_batch(model: onnx.ModelProto, batch: int) -> None:
    """Fix a symbolic first dimension of the inputs, in place."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value <= 0:
            dims[0].dim_value = batch


def machine_name() -> str:
    """The processor as Linux names it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("abc-tvm", "apache-tvm", "numpy", "onnx", "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
