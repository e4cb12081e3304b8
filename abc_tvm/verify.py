"""Check a compiled network against onnxruntime.

*End to end*: the compiled file, loaded and run as a user would, against onnxruntime on the same
network in standard ONNX operators, its graph optimisations off, on the same inputs.

*Bit by bit* (see ``abc_tvm.verify_bits``): before every binarized layer, the bits that the shipped
kernels compute are compared with those of the network in float, each layer starting from the
float network's own bits. ``flipped_bits`` counts the differences among ``checked_bits``. Where the
compared value is an integer sum they are zero; elsewhere float32 sums in another order may carry a
value across its threshold.

A single such bit moves everything behind it by one level, in either engine. How much that is in
this network is measured on onnxruntime alone: ``reference_drift`` is how far its own outputs move
when every float input moves to the next float32 number. The verdict is in ``CRITERION``.

A network that passes by its bits need not give onnxruntime's outputs: read ``relative_error`` and
``argmax_agreement`` beside ``passed``. Tried on ABC ResNet-18 with M = N = 3, random weights and
noise as images: 9 of 20 million bits flipped, the outputs were 0.08 (2-norm) from onnxruntime's,
and 3 of 4 images kept their argmax. onnxruntime with its graph optimisations on is as far from
itself without them: 0.08, and 3 of 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm import frontend, stages
from abc_tvm.api import BEFORE_KERNELS, assemble, device_of
from abc_tvm.artifact import Artifact
from abc_tvm.onnx_engine import OnnxEngine, random_inputs
from abc_tvm.report import Report
from abc_tvm.runtime import load
from abc_tvm.scratch import scratch
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device
from abc_tvm.verify_bits import LayerBits, bit_inputs, compare, float_form, forced_form

IMAGES = 4
"""Images of a random check, where the model leaves the batch open."""

ROUNDING = 1e-4
"""Largest difference, relative to the largest output, that float32 rounding may explain."""

FLIP_RATE = 1e-4
FEW_FLIPS = 2
DRIFT = 0.1
ROUNDED = 0.05
ROUNDED_FLIPS = 0.01
MOST_DRIFT = 0.7
"""Outputs of unrelated networks are about 1.4 apart: nothing near that passes."""

CRITERION = (
    f"every output within {ROUNDING:g} of the largest value; or, for each binarized layer, at most "
    f"{FLIP_RATE:g} of the bits flipped (or {FEW_FLIPS}), outputs within {ROUNDING:g} when all "
    f"layers read the same bits, and end to end the same argmax everywhere or a relative error "
    f"(2-norm) of at most {DRIFT:g} or reference_drift, but below {MOST_DRIFT:g}. Where layers are "
    f"rounded to bytes (error_bound above 0): at most {ROUNDED_FLIPS:g} of a layer's bits flipped, "
    f"outputs within {ROUNDED:g} when all layers read the same bits, and end to end below "
    f"{MOST_DRIFT:g}"
)


@dataclass(frozen=True)
class Verification:
    """Outcome of :func:`verify`.

    ``max_abs_error``, ``relative_error`` (2-norm of the difference over that of the reference) and
    ``argmax_agreement`` (share of images) compare end to end. ``forced_error`` is the largest
    output difference relative to the largest output when all layers read the same bits; 0 where
    no layer is binarized. ``reference_drift`` is the relative error of onnxruntime against itself
    on inputs one float32 step away; 0 where the outputs are equal to rounding.
    """

    passed: bool
    max_abs_error: float
    relative_error: float
    argmax_agreement: float
    flipped_bits: int
    checked_bits: int
    forced_error: float
    reference_drift: float
    images: int
    layers: tuple[LayerBits, ...]
    report: Report
    artifact: Artifact

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm verify --json`` prints."""
        kept = {k: v for k, v in self.__dict__.items() if k not in ("layers", "report", "artifact")}
        return {
            **kept,
            "target": self.report.target,
            "bitserial_layers": sum(row.lowering == "bitserial" for row in self.report),
            "int8_layers": sum(row.lowering == "int8" for row in self.report),
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
        inputs: ONNX input name to array; by default random ones, from ``seed``.
        batch: Fixes a symbolic batch dimension in the compiled network.
        lowering: As for ``abc_tvm.compile``.
        allow_int8: As for ``abc_tvm.compile``.
        seed: Of the random inputs.
        progress: Called with the name of each stage as it begins.

    Raises:
        UserError: As ``abc_tvm.compile``, ``abc_tvm.load`` and ``Session.run`` do, and where
            onnxruntime is missing or refuses the model.
    """
    tell = progress or (lambda _: None)
    device = device_of(target)
    context = stages.make_context(device, lowering, allow_int8)
    source = stages.checked_source(model)
    standard = frontend.standard_onnx(source)
    reference = OnnxEngine(standard, optimise=False)
    tell("import")
    imported = stages.import_model(source, batch)
    order = imported.passes(context)
    names = [name for name, _ in order]
    collapsed = names.index("collapse_bases") + 1
    fuse = names.index("fuse")
    canonical = stages.apply(imported, order[:collapsed], progress=tell)
    encoded = stages.apply(imported, order[collapsed:fuse], module=canonical, progress=tell)
    lowered = stages.apply(imported, order[fuse:], module=encoded, progress=tell)
    artifact = assemble(imported, context, lowered, tell)
    arrays = (
        inputs if inputs is not None else random_inputs(artifact.info.inputs, batch or IMAGES, seed)
    )
    tell("run")
    outputs = _run_artifact(artifact, arrays)
    tell("onnxruntime")
    wanted = reference.run(arrays)
    rows: tuple[LayerBits, ...] = ()
    forced_error = 0.0
    if BEFORE_KERNELS in names:
        tell("compare bits")
        kernels = order[fuse:]
        found = bit_inputs(encoded, canonical)
        if found:
            whole = float_form(canonical, [item.layer for item in found])
            plain = _execute(imported, whole, kernels, device, arrays, [])
            count = len(artifact.info.outputs)
            levels = plain[count:]
            packed = [
                item.bits.pack(item.bits.encode(v)[0])
                for item, v in zip(found, levels, strict=True)
            ]
            forced = forced_form(encoded, found)
            got = _execute(imported, forced, kernels, device, arrays, packed)
            rows = tuple(
                compare(item, level, bits)
                for item, level, bits in zip(found, levels, got[count:], strict=True)
            )
            pairs = zip(got[:count], plain[:count], strict=True)
            forced_error = max(scaled_error(a, b) for a, b in pairs)
    drift = 0.0
    if any(scaled_error(outputs[name], wanted[name]) > ROUNDING for name in wanted):
        moved = reference.run({name: _next(array) for name, array in arrays.items()})
        drift = max(relative_error(moved[name], wanted[name]) for name in wanted)
    return _judge(artifact, outputs, wanted, rows, forced_error, drift)


def _judge(
    artifact: Artifact,
    outputs: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    rows: tuple[LayerBits, ...],
    forced_error: float,
    drift: float,
) -> Verification:
    names = [port.name for port in artifact.info.outputs]
    same_shapes = all(outputs[n].shape == wanted[n].shape for n in names)
    error = max(float(difference(outputs[n], wanted[n]).max(initial=0)) for n in names)
    scaled = max(scaled_error(outputs[n], wanted[n]) for n in names)
    relative = max(relative_error(outputs[n], wanted[n]) for n in names)
    first = names[0]
    agreement = _agreement(outputs[first], wanted[first])
    few = all(r.flipped_bits <= max(FEW_FLIPS, FLIP_RATE * r.checked_bits) for r in rows)
    allowed = min(max(DRIFT, drift), MOST_DRIFT)
    close = agreement == 1.0 or relative <= allowed
    if artifact.report.rounded:
        few = all(r.flipped_bits <= ROUNDED_FLIPS * r.checked_bits for r in rows)
        by_bits = few and forced_error <= ROUNDED and relative < MOST_DRIFT
    else:
        by_bits = bool(rows) and few and forced_error <= ROUNDING and close
    return Verification(
        passed=same_shapes and (scaled <= ROUNDING or by_bits),
        max_abs_error=error,
        relative_error=relative,
        argmax_agreement=agreement,
        flipped_bits=sum(r.flipped_bits for r in rows),
        checked_bits=sum(r.checked_bits for r in rows),
        forced_error=forced_error,
        reference_drift=drift,
        images=len(wanted[first]) if wanted[first].ndim else 1,
        layers=rows,
        report=artifact.report,
        artifact=artifact,
    )


def _run_artifact(artifact: Artifact, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with scratch() as folder:
        path = Path(folder, "network.so")
        artifact.save(path)
        return load(path).run(arrays)


def _execute(
    imported: stages.Imported,
    module: Any,
    kernels: list[tuple[str, Any]],
    device: Device,
    arrays: Mapping[str, np.ndarray],
    more: list[np.ndarray],
) -> list[np.ndarray]:
    import tvm
    from tvm import relax

    lowered = stages.apply(imported, kernels, module=module)
    where = tvm.cpu() if device.gpu is None else tvm.cuda()
    machine = relax.VirtualMachine(stages.build(lowered, device), where)
    names = [str(name) for name in module["main"].attrs["input_names"]]
    values = [arrays[name] for name in names] + more
    result = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(v), where) for v in values))
    return [item.numpy() for item in result]


def _next(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32:
        return array
    return np.nextafter(array, np.float32(np.inf))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences float64; 0 where both are the same infinity or NaN."""
    if a.shape != b.shape:
        return np.array([np.inf])
    with np.errstate(invalid="ignore"):
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    same = (a == b) | ((a != a) & (b != b))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def scaled_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest value of ``b``."""
    largest = float(np.abs(b[np.isfinite(b)].astype(np.float64)).max(initial=0))
    worst = float(difference(a, b).max(initial=0))
    return 0.0 if worst == 0 else worst / max(largest, 1e-30)


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """2-norm of the difference over that of ``b``."""
    worst = float(np.linalg.norm(difference(a, b)))
    finite = b[np.isfinite(b)].astype(np.float64)
    return 0.0 if worst == 0 else worst / max(float(np.linalg.norm(finite)), 1e-30)


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of images whose largest output has the same index."""
    if a.shape != b.shape or b.size == 0:
        return 0.0
    rows = b.shape[0] if b.ndim > 1 else 1
    same = a.reshape(rows, -1).argmax(1) == b.reshape(rows, -1).argmax(1)
    return float(same.mean())
