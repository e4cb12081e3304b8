"""The one place that orders the passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tvm
from tvm import relax

from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.generic import schedule_rest_of
from abc_tvm.targets import Device

from .canonicalise import Canonicalise
from .choose_lowering import ChooseLowering
from .collapse_bases import CollapseBases
from .context import Context
from .encode import Encode
from .fold_thresholds import FoldThresholds
from .fuse import Fuse
from .legal_ops import LEGAL
from .lower import Lower
from .recognise_activations import RecogniseActivations
from .recognise_weights import RecogniseWeights

Pass = Callable[[tvm.IRModule], tvm.IRModule]


def passes(
    context: Context,
    conv_names: list[str] | None = None,
    dense_names: list[str] | None = None,
) -> list[tuple[str, Pass]]:
    """Every pass with its name, in order."""
    return [
        ("canonicalise", Canonicalise(conv_names, dense_names)),
        ("collapse_bases", CollapseBases(context.refused)),
        ("recognise_weights", RecogniseWeights(context)),
        ("recognise_activations", RecogniseActivations(context)),
        ("choose_lowering", ChooseLowering(context)),
        ("fold_thresholds", FoldThresholds()),
        ("encode", Encode(context)),
        ("fuse", Fuse()),
        ("lower", Lower(context)),
        ("legalise", lambda mod: legalise(mod, context.device)),
    ]


def legalise(mod: tvm.IRModule, device: Device) -> tvm.IRModule:
    """TVM's own kernels for what is left."""
    return schedule_rest_of(relax.transform.LegalizeOps(LEGAL)(mod), family_of(device).rest)


def run(
    mod: tvm.IRModule,
    order: list[tuple[str, Pass]],
    *,
    dump: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> tvm.IRModule:
    """Run passes; ``dump`` gets the module after each as ``NN_name.py``."""
    for number, (name, step) in enumerate(order):
        if progress is not None:
            progress(name)
        mod = step(mod)
        if dump is not None:
            dump.mkdir(parents=True, exist_ok=True)
            (dump / f"{number:02d}_{name}.py").write_text(mod.script(), encoding="utf-8")
    return mod
