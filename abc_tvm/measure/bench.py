"""Time a compiled network beside other engines, in turns, in one process.

Against whom. An ABC network spells every convolution out as M·N convolutions, which no other
engine joins again, so timing that graph there flatters this compiler: ``straw_man`` in the result
says so. The honest opponent is a float network of the same architecture: pass it as
``float_model``, and the other engines run that instead.

Before anything is timed, every engine's outputs are compared (:mod:`.engines.agreement`); one that
computes something else, or cannot run the network, is refused with the reason and not timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abc_tvm import stages
from abc_tvm.engines.agreement import CRITERION, Agreement
from abc_tvm.engines.engine import FLOAT, OPPONENTS, OURS, Engines, Refusal
from abc_tvm.errors import UserError
from abc_tvm.measure import facts
from abc_tvm.measure.machine_limits import measure_limits
from abc_tvm.measure.profile import Profile, profile_plan
from abc_tvm.measure.timing import PAUSE_S, WARM_S, Times, clock_loop, pinned, take_turns
from abc_tvm.report import Report
from abc_tvm.runtime.threads import check_threads
from abc_tvm.scratch import scratch
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device

CLOCK = "clock"


@dataclass(frozen=True)
class Result:
    """Times of one engine; ``network`` is ``"model"`` or ``"float model"``."""

    engine: str
    network: str
    times: Times


@dataclass(frozen=True)
class Comparison:
    """Outcome of :func:`bench`; ``device`` is the address of the one that it ran on, if remote.

    ``agreements`` has a finding for every engine whose outputs could be compared, ``refused`` what
    was not timed, and why. Our own result is the first; nothing is timed where it is refused.
    ``clock`` are the times of a fixed loop that took turns with the engines. ``profiles`` go by
    engine, ``tuned`` counts the kernels of an engine that were built from tuning records.
    """

    results: tuple[Result, ...]
    threads: int
    processors: tuple[int, ...]
    shapes: dict[str, list[int]]
    straw_man: bool
    report: Report
    device: str | None = None
    agreements: tuple[Agreement, ...] = ()
    refused: tuple[Refusal, ...] = ()
    clock: Times | None = None
    profiles: dict[str, Profile] = field(default_factory=dict)
    tuned: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def speedup(self) -> dict[str, float]:
        """Median time of each opponent over ours."""
        if not self.results:
            return {}
        ours = self.results[0].times.median_ms
        return {r.engine: r.times.median_ms / ours for r in self.results[1:]}

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm bench --json`` prints."""
        here = facts.here()
        if self.device is not None:
            here["machine"] = self.device
        clock = None
        if self.clock is not None:
            clock = {**self.clock.json(), "spread": self.clock.spread}
        return {
            "results": [
                {"engine": r.engine, "network": r.network, **r.times.json()} for r in self.results
            ],
            "speedup": self.speedup,
            "agreement": [finding.json() for finding in self.agreements],
            "criterion": CRITERION,
            "refused": [refusal.json() for refusal in self.refused],
            "clock": clock,
            "layers": {
                engine: [row.json() for row in profile.rows]
                for engine, profile in self.profiles.items()
            },
            "peaks": next((p.limits.json() for p in self.profiles.values()), None),
            "tuned_kernels": self.tuned,
            "threads": self.threads,
            "processors": list(self.processors),
            "inputs": self.shapes,
            "straw_man": self.straw_man,
            **self.report.layers_by_lowering(),
            "target": self.report.target,
            "device": self.device,
            "settings": self.settings,
            **here,
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
    records: str | os.PathLike[str] | None = None,
    layers: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compile a network and time it beside other engines.

    Args:
        model: Path of an ONNX file, or an ``onnx.ModelProto``.
        target: A device whose code runs on this machine.
        against: Names from ``OPPONENTS``. ``tvm-float`` is this compiler with every layer left
            in float; ``onnxruntime`` has all its graph optimisations on; ``onnxruntime-int8``
            runs a statically quantised form; ``torch`` is traced and optimised for inference.
        float_model: What the opponents run instead of ``model``; its inputs must be the same.
        batch: Images of one run, where the model leaves the batch open.
        threads: Of every engine; the process is confined to as many processors.
        repeat: Measurements of each engine.
        lowering: As for ``abc_tvm.compile``.
        allow_int8: As for ``abc_tvm.compile``.
        records: Folder of tuning records, for ``tvm-float`` as well as for us.
        layers: Time each kernel of ours, and of ``tvm-float``. The latter are timed in any case.
        progress: Called with the name of each stage as it begins.

    Raises:
        UserError: An unknown engine, or whatever compiling and running the model raise.
    """
    tell = progress or (lambda _: None)
    for name in against:
        if name not in OPPONENTS:
            raise UserError(f"against: unknown engine {name!r}; choose from {', '.join(OPPONENTS)}")
    check_threads(threads)
    source = stages.checked_source(model)
    other = None if float_model is None else stages.checked_source(float_model)
    with pinned(threads) as processors, scratch() as folder:
        engines = Engines(
            source, other, target, batch, threads, lowering, allow_int8, records, Path(folder), tell
        )
        engines.add(OURS)
        for name in against:
            tell(name)
            engines.add(name)
        calls: dict[str, Callable[[], object]] = dict(engines.calls)
        times: dict[str, Times] = {}
        profiles: dict[str, Profile] = {}
        if OURS in calls:
            tell("measure")
            times = take_turns({**calls, CLOCK: clock_loop}, repeat)
            watched = [n for n in calls if n in engines.plans] if layers else []
            watched += [FLOAT] if FLOAT in calls and FLOAT not in watched else []
            if watched:
                tell("measure layers")
                limits = measure_limits(engines.plans[OURS].device, threads)
                for name in watched:
                    plan, file = engines.plans[name], Path(folder, f"{name}-layers.so")
                    profiles[name] = profile_plan(
                        plan, file, limits, batch, threads, processors, repeat
                    )
    clock = times.pop(CLOCK, None)
    report = engines.plans[OURS].artifact.report
    return Comparison(
        results=tuple(Result(name, engines.network(name), t) for name, t in times.items()),
        threads=threads,
        processors=processors,
        shapes={name: list(array.shape) for name, array in engines.inputs.items()},
        straw_man=other is None and _spelled_out(report) and _any_other(against),
        report=report,
        agreements=tuple(engines.agreements),
        refused=tuple(engines.refused),
        clock=clock,
        profiles=profiles,
        tuned={name: plan.tuned for name, plan in engines.plans.items()},
        settings={
            "against": list(against),
            "batch": batch,
            "repeat": repeat,
            "lowering": lowering,
            "allow_int8": allow_int8,
            "records": None if records is None else os.fspath(records),
            "records_settings": engines.records_settings(),
            "order": "in turns; each turn after a pause and untimed calls",
            "pause_s": PAUSE_S,
            "warm_s": WARM_S,
        },
    )


def _any_other(against: Sequence[str]) -> bool:
    return any(name != FLOAT for name in against)


def _spelled_out(report: Report) -> bool:
    return any((layer.M or 1) * (layer.N or 1) > 1 for layer in report.binarized)
