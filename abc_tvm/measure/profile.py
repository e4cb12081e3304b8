"""Where the time of a compiled network goes, kernel by kernel, against what the machine can do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from abc_tvm import stages
from abc_tvm.engines.onnx_engine import random_inputs
from abc_tvm.engines.open_batch import fixed_batch
from abc_tvm.errors import UserError
from abc_tvm.measure import facts
from abc_tvm.measure.kernel_plan import Kernel, NetworkPlan, compile_plan
from abc_tvm.measure.kernel_times import Timed, time_kernels
from abc_tvm.measure.machine_limits import Limits, measure_limits
from abc_tvm.measure.timing import Times, pinned
from abc_tvm.runtime import load
from abc_tvm.runtime.threads import check_threads
from abc_tvm.scratch import scratch
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device


@dataclass(frozen=True)
class Row:
    """One kernel call. ``macs`` count all images and every pair of planes that it computes.

    ``bytes`` are those of all tensors that it reads and writes, constants included. ``gmacs`` is
    the median rate, ``of_peak`` that rate over the machine's for this kind of
    kernel; both are ``None`` without a convolution, or where the machine's rate is not known.
    """

    kernel: Kernel
    times: Times
    macs: int
    bytes: int
    gmacs: float | None
    of_peak: float | None

    def json(self) -> dict[str, Any]:
        """The row as JSON; times in microseconds."""
        return {
            **asdict(self.kernel),
            "shape": list(self.kernel.shape),
            "median_us": self.times.median_ms * 1e3,
            "min_us": self.times.min_ms * 1e3,
            "p90_us": self.times.p90_ms * 1e3,
            "macs": self.macs,
            "bytes": self.bytes,
            "macs_per_byte": self.macs / self.bytes if self.macs and self.bytes else None,
            "gmacs": self.gmacs,
            "of_peak": self.of_peak,
        }


@dataclass(frozen=True)
class Profile:
    """Outcome of :func:`profile`. ``run`` times whole runs, without any stopwatch inside."""

    rows: tuple[Row, ...]
    run: Times
    limits: Limits
    plan: NetworkPlan
    threads: int
    processors: tuple[int, ...]
    shapes: dict[str, list[int]]

    @property
    def kernels_ms(self) -> float:
        """The sum of all kernels, each at its median."""
        return sum(row.times.median_ms for row in self.rows)

    @property
    def rest_ms(self) -> float:
        """What a whole run takes beyond its kernels: the virtual machine, inputs and outputs."""
        return self.run.median_ms - self.kernels_ms

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm profile --json`` prints."""
        report = self.plan.artifact.report
        return {
            "layers": [row.json() for row in self.rows],
            "kernels_ms": self.kernels_ms,
            "rest_ms": self.rest_ms,
            "run": self.run.json(),
            "peaks": self.limits.json(),
            "shares": dict(shares(self.rows)),
            "threads": self.threads,
            "processors": list(self.processors),
            "inputs": self.shapes,
            "tuned_kernels": self.plan.tuned,
            "bitserial_layers": len(report.binarized),
            "lowering": report.lowering,
            "target": report.target,
            **facts.here(),
        }


def profile(
    model: Model,
    target: str | Device = "native",
    *,
    batch: int = 1,
    threads: int = 1,
    repeat: int = 20,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    records: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Compile a network and time each of its kernels inside real runs.

    Args:
        model: Path of an ONNX file, or an ``onnx.ModelProto``.
        target: A device whose code runs on this machine.
        batch: Images of one run, where the model leaves the batch open.
        threads: Of a run; the process is confined to as many processors.
        repeat: Runs that are timed, with and without a stopwatch inside.
        lowering, allow_int8, records: As for ``abc_tvm.compile``.
        progress: Called with the name of each stage as it begins.

    Raises:
        UserError: Whatever compiling and running raise.
    """
    tell = progress or (lambda _: None)
    check_threads(threads)
    source = stages.checked_source(model)
    plan = compile_plan(
        source, target, batch=fixed_batch(source, batch), lowering=lowering,
        allow_int8=allow_int8, records=records, progress=tell,
    )  # fmt: skip
    with pinned(threads) as processors, scratch() as folder:
        tell("measure the machine")
        limits = measure_limits(plan.device, threads)
        tell("measure")
        file = Path(folder, "network.so")
        return profile_plan(plan, file, limits, batch, threads, processors, repeat)


def profile_plan(
    plan: NetworkPlan,
    file: Path,
    limits: Limits,
    batch: int,
    threads: int,
    processors: tuple[int, ...],
    repeat: int,
) -> Profile:
    """Profile a network that is compiled already; ``file`` gets its artifact.

    No other network may have been loaded from that path: the system's loader knows libraries by it.
    """
    plan.artifact.save(file)
    inputs = random_inputs(plan.artifact.info.inputs, batch)
    # A graph would hide the kernels from the stopwatch.
    watched = load(file, threads, cuda_graphs=False)
    run, timed = time_kernels(load(file, threads), watched, inputs, repeat)
    shapes = {name: list(array.shape) for name, array in inputs.items()}
    first = next(iter(shapes.values()), [])
    images = first[0] if first else 1
    rows = tuple(_rows(plan.kernels, timed, images, limits))
    return Profile(rows, run, limits, plan, threads, processors, shapes)


def _rows(
    kernels: Sequence[Kernel], timed: Sequence[Timed], images: int, limits: Limits
) -> Iterator[Row]:
    planned = iter(kernels)
    if sum(call.fused for call in timed) != len(kernels):
        raise UserError(
            "profile: the network runs other kernels than were planned; fix its batch with --batch"
        )
    for call in timed:
        kernel = next(planned) if call.fused else Kernel(call.symbol)
        macs = kernel.macs * kernel.pairs * images
        rate = macs / call.times.median_ms / 1e6 if macs and call.times.median_ms else None
        peak = limits.of(kernel.kind)
        share = rate / peak if rate is not None and peak is not None else None
        yield Row(kernel, call.times, macs, call.bytes, rate, share)


def shares(rows: Sequence[Row]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each kind of convolution: the share of the peak of all together, and the least one.

    The share of all is weighted by time: their multiply-adds over what the peak would do meanwhile.
    """
    for kind in dict.fromkeys(row.kernel.kind for row in rows):
        known = [row for row in rows if row.kernel.kind == kind and row.of_peak is not None]
        if not known:
            continue
        total = sum(row.times.median_ms for row in known)
        least = min(known, key=lambda row: row.of_peak or 0.0)
        yield (
            kind,
            {
                "of_peak": sum(row.times.median_ms * (row.of_peak or 0.0) for row in known) / total,
                "least": least.of_peak,
                "least_layer": least.kernel.name,
                "ms": total,
            },
        )
