"""The one place that orders the passes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol

import tvm
from tvm import relax

from abc_tvm.errors import UserError
from abc_tvm.relay_passes.emit.legal_ops import LEGAL
from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from abc_tvm.relay_passes.passes.choose_lowering import ChooseLowering
from abc_tvm.relay_passes.passes.collapse_bases import CollapseBases
from abc_tvm.relay_passes.passes.encode import Encode
from abc_tvm.relay_passes.passes.fold_thresholds import FoldThresholds
from abc_tvm.relay_passes.passes.fuse import Fuse
from abc_tvm.relay_passes.passes.lower import Lower
from abc_tvm.relay_passes.passes.recognise_activations import RecogniseActivations
from abc_tvm.relay_passes.passes.recognise_weights import RecogniseWeights
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.generic import schedule_rest_of
from abc_tvm.targets import Device

from .context import Context


class Pass(Protocol):
    """A module in, a module out. A pass that changes nothing returns the very module."""

    def __call__(self, mod: tvm.IRModule, /) -> tvm.IRModule: ...


class Phase(Enum):
    """States of a module that others ask for by name; each is named by the last pass before it.

    With ``lowering="float"`` nothing is recognised, and passes of recognition are left out.
    """

    IMPORTED = "import"
    COLLAPSED = "collapse_bases"
    """What was stored, in the form that recognition reads."""
    RECOGNISED = "recognise_activations"
    """Planes and steps: all that does not depend on what a device or a record says."""
    ENCODED = "encode"
    """Every layer has its lowering and reads codes: the last phase with one operator a layer."""
    FUSED = "fuse"
    """One function for each kernel."""
    LOWERED = "legalise"
    """Scheduled kernels, ready for machine code."""


def passes(
    context: Context,
    conv_names: list[str] | None = None,
    dense_names: list[str] | None = None,
) -> list[tuple[str, Pass]]:
    """Every pass with its name, in order."""
    canonicalise = Canonicalise(conv_names, dense_names)
    layers = RecogniseWeights(context, canonicalise.dense)
    start: list[tuple[str, Pass]] = [
        ("canonicalise", canonicalise),
        ("collapse_bases", CollapseBases(context.refused)),
    ]
    recognition: list[tuple[str, Pass]] = [
        ("recognise_weights", layers),
        ("recognise_activations", RecogniseActivations(context)),
        ("choose_lowering", ChooseLowering(context)),
        ("fold_thresholds", FoldThresholds()),
        ("encode", Encode(context)),
    ]
    if context.lowering == "float":
        recognition = [("recognise_weights", _only_looking(layers, context))]
    return [
        *start,
        *recognition,
        ("fuse", Fuse()),
        ("lower", Lower(context)),
        ("legalise", lambda mod: legalise(mod, context.device)),
    ]


def until(order: list[tuple[str, Pass]], phase: Phase) -> int:
    """How many passes of ``order`` lead to ``phase``: all before the first that comes after it."""
    later = ORDER if phase is Phase.IMPORTED else ORDER[ORDER.index(phase.value) + 1 :]
    return next((i for i, (name, _) in enumerate(order) if name in later), len(order))


ORDER = (
    "canonicalise",
    "collapse_bases",
    "recognise_weights",
    "recognise_activations",
    "choose_lowering",
    "fold_thresholds",
    "encode",
    "fuse",
    "lower",
    "legalise",
)
"""The names of all passes."""


def _only_looking(layers: RecogniseWeights, context: Context) -> Pass:
    """The rows of the report for layers that all stay in float."""

    def look(mod: tvm.IRModule) -> tvm.IRModule:
        layers(mod)
        for layer in context.layers.values():
            if layer.M is not None:
                layer.reason = "lowering=float was asked for"
        return mod

    return look


def legalise(mod: tvm.IRModule, device: Device) -> tvm.IRModule:
    """TVM's own kernels for what is left."""
    return schedule_rest_of(relax.transform.LegalizeOps(LEGAL)(mod), family_of(device).rest)


def run(
    mod: tvm.IRModule,
    order: list[tuple[str, Pass]],
    *,
    dump: Path | None = None,
    progress: Callable[[str], None] | None = None,
    first: int = 0,
) -> tvm.IRModule:
    """Run passes; ``dump`` gets the module after each as ``NN_name.py``, from ``NN = first``.

    A file says so where its pass changed nothing.

    Raises:
        UserError: The dump cannot be written.
    """
    for number, (name, step) in enumerate(order, first):
        if progress is not None:
            progress(name)
        before = mod
        mod = step(mod)
        if dump is not None:
            note = f"# {name} changed nothing\n" if mod.same_as(before) else ""
            _write(dump, f"{number:02d}_{name}.py", note + mod.script())
    return mod


def _write(folder: Path, name: str, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: the dump cannot be written: {error.strerror}") from error
