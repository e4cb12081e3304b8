"""Check a compiled network against onnxruntime.

*End to end*: the compiled file, loaded and run as a user would, against onnxruntime on the same
network in standard ONNX operators, its graph optimisations off, on the same inputs. All outputs,
their shapes and their types.

*Stretch by stretch*: one activation bit that falls on the other side of a threshold by rounding
moves everything behind it by one level, in either engine, so that outputs alone prove nothing of a
network with thresholds. So onnxruntime continues from the levels that the compiled network has
itself computed: cut at the input of every layer that reads few levels, it computes the next
levels, and the outputs, from the compiled network's levels before. Every bit and every output is
compared with onnxruntime's from the same bits. No form of the compiler's own takes part, and an
importer's fault shows like any other, where it is (``layers``).

Two right engines differ there by float32 rounding only, which :mod:`.verify.reference` bounds. The
verdict is in ``CRITERION``, its reasons in docs/verify.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm import frontend, stages
from abc_tvm.artifact import Artifact
from abc_tvm.checks.verify.bits import LayerBits, bit_inputs, tapped
from abc_tvm.checks.verify.compare import (
    DRIFT,
    MOST_DRIFT,
    ROUNDED,
    ROUNDED_FLIPS,
    ROUNDING,
    Tally,
    compare_round,
    difference,
    relative_error,
    scaled_error,
)
from abc_tvm.checks.verify.reads import Round
from abc_tvm.checks.verify.reference import with_outputs
from abc_tvm.checks.verify.taps import Points, find_points
from abc_tvm.compilation import Compilation
from abc_tvm.engines.onnx_engine import OnnxEngine, random_inputs
from abc_tvm.report import Report
from abc_tvm.runtime import Session, load
from abc_tvm.scratch import scratch
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device

__all__ = [
    "CRITERION",
    "DRIFT",
    "IMAGES",
    "MOST_DRIFT",
    "ROUNDING",
    "Verification",
    "difference",
    "relative_error",
    "scaled_error",
    "verify",
]

IMAGES = 4
"""Images of a random check, where the model leaves the batch open."""

ROUNDS = 100
"""Most random inputs of a small network, one after the other."""

ENOUGH = 1 << 20
"""Values that a random check compares at least, if ``ROUNDS`` inputs have so many."""

NOTHING = "nothing is binarized: every layer is compiled in float, and compared all the same"
UNSEEN = (
    "no activation bit could be compared: the ONNX graph has none of the binarized layers' levels; "
    "the outputs alone were"
)

CRITERION = (
    f"outputs have onnxruntime's shapes and types; onnxruntime, continuing from the compiled "
    f"network's own activation levels, gives the next levels and every output: the same level, an "
    f"output within {ROUNDING:g} of the largest, or a value between those that onnxruntime gives "
    f"when its own roundings are moved within their bounds; and end to end the relative error "
    f"(2-norm) is below {MOST_DRIFT:g}. Where layers are rounded to bytes (error_bound above 0): "
    f"at most {ROUNDED_FLIPS:g} of a layer's bits flipped and outputs within {ROUNDED:g}, from the "
    f"same levels. argmax_agreement and reference_drift inform; they are no part of the verdict"
)


@dataclass(frozen=True)
class Verification:
    """Outcome of :func:`verify`.

    ``max_abs_error``, ``relative_error`` (2-norm of the difference over that of the reference) and
    ``argmax_agreement`` (share of images) compare end to end. ``flipped_bits`` are those among
    ``checked_bits`` that onnxruntime has otherwise from the same levels before;
    ``unexplained_bits`` are those of them that rounding does not explain. ``forced_error`` is the
    largest output difference from onnxruntime on the same levels, relative to the largest output.
    ``reference_drift`` is the relative error of onnxruntime against itself on inputs one float32
    step away; 0 where the outputs are equal to rounding. ``faults`` says what failed, a line each.
    ``unchecked_layers`` are binarized ones whose levels are nowhere in the ONNX graph. Of a small
    network several random ``inputs`` are compared: the figures are those of the first that fails,
    or of the first.
    """

    passed: bool
    max_abs_error: float
    relative_error: float
    argmax_agreement: float
    flipped_bits: int
    checked_bits: int
    unexplained_bits: int
    forced_error: float
    reference_drift: float
    images: int
    inputs: int
    faults: tuple[str, ...]
    unchecked_layers: tuple[str, ...]
    layers: tuple[LayerBits, ...]
    report: Report
    artifact: Artifact

    @property
    def binarized_layers(self) -> int:
        """How many layers run on bits or bytes."""
        return len(self.report.binarized)

    @property
    def note(self) -> str:
        """What was not compared, where that is everything that is binarized."""
        if not self.binarized_layers:
            return NOTHING
        return "" if self.checked_bits else UNSEEN

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm verify --json`` prints."""
        kept = {k: v for k, v in self.__dict__.items() if k not in ("layers", "report", "artifact")}
        return {
            **kept,
            "faults": list(self.faults),
            "unchecked_layers": list(self.unchecked_layers),
            "target": self.report.target,
            "binarized_layers": self.binarized_layers,
            "note": self.note,
            **self.report.layers_by_lowering(),
            "error_bound": max((row.error_bound or 0.0 for row in self.report), default=0.0),
            "layers": [asdict(row) for row in self.layers],
            "criterion": CRITERION,
        }


def verify(
    model: Model,
    target: str | Device = "native",
    *,
    inputs: Mapping[str, np.ndarray] | None = None,
    batch: int | None = None,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Compile a network and compare it with onnxruntime.

    Args:
        model: Path of an ONNX file, an ``onnx.ModelProto``, or a ``torch.export.ExportedProgram``.
        target: A device whose code runs on this machine.
        inputs: ONNX input name to array; by default random ones, from ``seed``, several times
            where the network is small.
        batch: Fixes a symbolic batch dimension in the compiled network.
        lowering: As for ``abc_tvm.compile``.
        allow_int8: As for ``abc_tvm.compile``.
        seed: Of the random inputs.
        progress: Called with the name of each stage as it begins.

    Raises:
        UserError: As ``abc_tvm.compile``, ``abc_tvm.load`` and ``Session.run`` do, and where
            onnxruntime is missing or refuses the model.
    """
    from abc_tvm.relay_passes.pipeline import Phase

    tell = progress or (lambda _: None)
    source = stages.checked_source(model)
    standard = frontend.standard_onnx(source)
    whole = Compilation(
        source, target, batch=batch, lowering=lowering, allow_int8=allow_int8, progress=progress
    )
    canonical, encoded = whole.until(Phase.COLLAPSED), whole.until(Phase.ENCODED)
    artifact = whole.artifact()
    items = [] if lowering == "float" else bit_inputs(encoded, canonical)
    points = find_points(encoded, items, whole.imported.simple, standard)
    reference = OnnxEngine(
        with_outputs(standard, [*points.tensors, *points.weights]), optimise=False
    )
    instrumented: _Instrumented | None = None
    session = _load(artifact)
    tallies: list[Tally] = []
    for arrays in _inputs(artifact, inputs, batch, seed):
        tell("run")
        outputs = session.run(arrays)
        tell("onnxruntime")
        wanted = reference.run(arrays)
        tell("compare")
        if not tallies:
            points.settle(wanted)
            if points.points:
                instrumented = _Instrumented(whole, points)
        levels = [] if instrumented is None else instrumented.run(arrays)
        one = Round(arrays, outputs, wanted, [p.name for p in artifact.info.outputs], levels)
        tallies.append(compare_round(one, artifact.report, standard, points, reference))
        enough = not points.points or sum(tally.values for tally in tallies) >= ENOUGH
        if tallies[-1].faults or enough:
            break
        if len(tallies) == 1:  # a small network: more threads would wait for one another
            session = _load(artifact, 1)
    told = tallies[-1] if tallies[-1].faults else tallies[0]
    return _outcome(told, len(tallies), artifact)


def _outcome(tally: Tally, inputs: int, artifact: Artifact) -> Verification:
    rows = tuple(tally.rows.values())
    return Verification(
        passed=not tally.faults,
        max_abs_error=tally.max_abs_error,
        relative_error=tally.relative_error,
        argmax_agreement=tally.agreement,
        flipped_bits=sum(r.flipped_bits for r in rows),
        checked_bits=sum(r.checked_bits for r in rows),
        unexplained_bits=sum(r.unexplained_bits for r in rows),
        forced_error=tally.forced_error,
        reference_drift=tally.drift,
        images=tally.images,
        inputs=inputs,
        faults=tuple(tally.faults),
        unchecked_layers=tuple(sorted(tally.unchecked)),
        layers=rows,
        report=artifact.report,
        artifact=artifact,
    )


def _inputs(
    artifact: Artifact, inputs: Mapping[str, np.ndarray] | None, batch: int | None, seed: int
) -> Iterator[Mapping[str, np.ndarray]]:
    if inputs is not None:
        yield inputs
        return
    for number in range(ROUNDS):
        yield random_inputs(artifact.info.inputs, batch or IMAGES, seed + number)


def _load(artifact: Artifact, threads: int | None = None) -> Session:
    """The artifact as a user would have it: written to a file, and loaded."""
    with scratch() as folder:
        path = Path(folder, "network.so")
        artifact.save(path)
        return load(path, threads=threads)


class _Instrumented:
    """The kernels of the artifact, with what its layers read as further outputs."""

    def __init__(self, whole: Compilation, points: Points) -> None:
        import tvm
        from tvm import relax

        from abc_tvm.relay_passes.pipeline import Phase

        module = tapped(whole.until(Phase.ENCODED), [point.var for point in points.points])
        self._names = [str(name) for name in module["main"].attrs["input_names"]]
        lowered = whole.finish(module, Phase.ENCODED)
        self._where = tvm.cpu() if whole.device.gpu is None else tvm.cuda()
        executable = stages.build(lowered, whole.device)
        self._machine = relax.VirtualMachine(executable, self._where)

    def run(self, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The network's outputs, then the levels, or bits, of each point."""
        import tvm

        values = (np.ascontiguousarray(arrays[n]).reshape(arrays[n].shape) for n in self._names)
        given = (tvm.runtime.tensor(value, self._where) for value in values)
        return [item.numpy() for item in self._machine["main"](*given)]
