"""The one place that orders the passes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol

import tvm
from tvm import relax

from abc_tvm.errors import UserError
from abc_tvm.relay_passes.contracts import binary, canonical, codes, kernels
from abc_tvm.relay_passes.contracts.contract import (
    Contracts,
    check,
    check_signature,
    layers_have_their_own_names,
    nothing_is_dead,
    well_formed,
)
from abc_tvm.relay_passes.emit.legal_ops import LEGAL
from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from abc_tvm.relay_passes.passes.choose_lowering import ChooseLowering
from abc_tvm.relay_passes.passes.collapse_bases import CollapseBases
from abc_tvm.relay_passes.passes.encode import Encode
from abc_tvm.relay_passes.passes.fold_pools import FoldPools
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
        ("fold_pools", FoldPools()),
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


CANONICAL = (
    well_formed,
    canonical.convolutions_are_nhwc,
    canonical.no_transpose_between_convolutions,
    canonical.dense_layers_are_convolutions,
    canonical.constants_are_folded,
    layers_have_their_own_names,
    nothing_is_dead,
)
IN_LEVELS = (
    well_formed,
    binary.planes_are_signs,
    binary.steps_are_in_order,
    binary.binary_convolutions_read_steps,
    nothing_is_dead,
)
CONTRACTS: dict[str, Contracts] = {
    "canonicalise": Contracts(requires=(well_formed,), ensures=CANONICAL),
    "collapse_bases": Contracts(requires=CANONICAL, ensures=CANONICAL),
    "recognise_weights": Contracts.of(RecogniseWeights),
    "recognise_activations": Contracts.of(RecogniseActivations),
    "choose_lowering": Contracts(requires=IN_LEVELS, ensures=IN_LEVELS),
    "fold_pools": Contracts.of(FoldPools),
    "fold_thresholds": Contracts.of(FoldThresholds),
    "encode": Contracts(
        requires=IN_LEVELS,
        ensures=(
            well_formed,
            codes.no_binary_convolution_in_levels,
            codes.convolutions_read_codes,
            codes.codes_fit_their_readers,
            codes.products_fit_their_bits,
            codes.steps_are_read_as_floats,
            binary.steps_are_in_order,
            nothing_is_dead,
        ),
    ),
    "fuse": Contracts.of(Fuse),
    "lower": Contracts(
        requires=(kernels.main_calls_groups, kernels.groups_are_kernels),
        ensures=(well_formed, kernels.no_operator_of_ours, kernels.kernels_get_their_arguments),
    ),
    "legalise": Contracts(
        requires=(kernels.no_operator_of_ours,),
        ensures=(well_formed, kernels.main_calls_kernels, kernels.kernels_get_their_arguments),
    ),
}
"""By the name of a pass, in their order: what it requires of a module, and what it ensures."""

ORDER = tuple(CONTRACTS)
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
    checked: bool = False,
) -> tvm.IRModule:
    """Run passes; ``dump`` gets the module after each as ``NN_name.py``, from ``NN = first``.

    A file says so where its pass changed nothing.

    Raises:
        ContractError: ``checked``, and a pass was given or made what its contracts exclude.
        UserError: The dump cannot be written.
    """
    for number, (name, step) in enumerate(order, first):
        if progress is not None:
            progress(name)
        before = mod
        mod = run_checked(mod, name, step) if checked else step(mod)
        if dump is not None:
            note = f"# {name} changed nothing\n" if mod.same_as(before) else ""
            _write(dump, f"{number:02d}_{name}.py", note + mod.script())
    return mod


def run_checked(mod: tvm.IRModule, name: str, step: Pass) -> tvm.IRModule:
    """Run one pass between checks of its contracts; none may change the signature of ``main``.

    Raises:
        ContractError: It was given or has made what its contracts exclude.
    """
    contracts = CONTRACTS[name]
    check(mod, contracts.requires, f"before {name}")
    after = step(mod)
    check(after, contracts.ensures, f"after {name}")
    check_signature(mod, after, f"after {name}")
    return after


def _write(folder: Path, name: str, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: the dump cannot be written: {error.strerror}") from error
